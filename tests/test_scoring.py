"""From probabilities of words to results: each function against numbers worked out by hand, and its symmetries."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mllm_iqa.checkpoints import IntervalCard
from mllm_iqa.levels import LEVELS, SEVERITIES
from mllm_iqa.scoring import (
    consistent_text,
    contradictions,
    geometric_mean,
    interval_of,
    main_kind,
    normalised,
    severity_of,
    winner_of,
)
from mllm_iqa.taxonomy import FAMILIES, FAMILY_OF, KINDS
from mllm_iqa.types import Interval

probabilities = st.floats(0, 1)


def distribution(size: int) -> st.SearchStrategy[np.ndarray]:
    raw = st.lists(st.floats(1e-6, 1), min_size=size, max_size=size)
    return raw.map(lambda values: np.array(values) / sum(values))


# Interval


def test_the_interval_of_a_calibrated_model_by_hand() -> None:
    card = IntervalCard(coverage=0.8, multiplier=1.5, calibrated_on="some photographs")
    # 3 -+ 1.5 * .4
    assert interval_of(3.0, 0.4, card) == Interval(pytest.approx(2.4), pytest.approx(3.6), 0.8, "some photographs")


def test_without_a_calibration_it_is_the_normal_one_and_says_so() -> None:
    interval = interval_of(3.0, 0.5, None)
    # 90 % of a normal distribution lie within 1.645 standard deviations.
    assert (interval.low, interval.high) == (pytest.approx(3 - 0.82243, abs=1e-5), pytest.approx(3.82243, abs=1e-5))
    assert (interval.coverage, interval.source) == (0.9, "level distribution (uncalibrated)")


@given(st.floats(1, 5), st.floats(0, 2))
def test_the_interval_holds_the_score_and_stays_on_the_scale(mos: float, std: float) -> None:
    interval = interval_of(mos, std, None)
    assert 1 <= interval.low <= mos <= interval.high <= 5


# Softmax over the candidates


def test_normalised_by_hand() -> None:
    # .1, .3 of .4 in all, and .2, .2 of .4.
    np.testing.assert_allclose(normalised(np.log([[0.1, 0.3], [0.2, 0.2]])), [[0.25, 0.75], [0.5, 0.5]], rtol=1e-12)


def test_normalised_of_hopeless_candidates_is_finite() -> None:
    np.testing.assert_allclose(normalised(np.array([-2000.0, -2000.0 + np.log(3)])), [0.25, 0.75], rtol=1e-9)


@given(st.lists(st.floats(-50, 0), min_size=1, max_size=8), st.floats(-100, 100))
def test_normalised_sums_to_one_and_forgets_a_common_offset(logprobs: list[float], offset: float) -> None:
    probs = normalised(np.array(logprobs))
    assert probs.sum() == pytest.approx(1)
    np.testing.assert_allclose(normalised(np.array(logprobs) + offset), probs, rtol=1e-9, atol=1e-12)


# Which kind


def kinds(**values: float) -> np.ndarray:
    """Probabilities aligned with KINDS; names with _ for a space."""
    given = {name.replace("_", " "): p for name, p in values.items()}
    assert set(given) <= set(KINDS)
    return np.array([given.get(kind, 0.0) for kind in KINDS])


def test_similar_kinds_win_together_against_one_more_probable() -> None:
    # Blur sums to .2 + .15 + .1 = .45, more than pixelation's .35 and than clean, .2; of it lens blur is the best.
    probs = kinds(lens_blur=0.2, gaussian_blur=0.15, motion_blur=0.1, pixelation=0.35)
    assert main_kind(0.2, probs) == "lens blur"


def test_damage_that_is_more_probable_than_none_is_named_although_no_family_alone_is() -> None:
    # Families .26, .24 and .1 against clean .4: with .6 something is wrong, and the blurs win, .16 + .1.
    probs = kinds(lens_blur=0.16, jitter=0.1, pixelation=0.24, overexposure=0.1)
    assert main_kind(0.4, probs) == "lens blur"
    assert main_kind(0.55, 0.75 * probs) is None


def test_equal_to_clean_is_clean() -> None:
    assert main_kind(0.5, kinds(pixelation=0.5)) is None


def test_a_family_already_found_is_passed_over() -> None:
    probs = kinds(lens_blur=0.7, gaussian_noise=0.1, color_noise=0.12, pixelation=0.08)
    assert main_kind(0.0, probs) == "lens blur"
    assert main_kind(0.0, probs, frozenset({"blur"})) == "color noise"
    assert main_kind(0.0, probs, frozenset({"blur", "noise"})) == "pixelation"


def test_nothing_left_is_none() -> None:
    assert main_kind(0.0, kinds(lens_blur=1.0), frozenset({"blur"})) is None


@given(distribution(1 + len(KINDS)), st.sampled_from(KINDS))
def test_the_kind_chosen_is_the_most_probable_of_its_family(probs: np.ndarray, raised: str) -> None:
    chosen = main_kind(float(probs[0]), probs[1:])
    if chosen is not None:
        rivals = [p for kind, p in zip(KINDS, probs[1:], strict=True) if FAMILY_OF[kind] == FAMILY_OF[chosen]]
        assert probs[1 + KINDS.index(chosen)] == max(rivals)
        assert probs[0] < 0.5
        families = {f: sum(p for k, p in zip(KINDS, probs[1:], strict=True) if FAMILY_OF[k] == f) for f in FAMILIES}
        assert sum(rivals) == pytest.approx(max(families.values()))
    else:
        assert probs[0] >= 0.5
    certain = np.where(np.array(KINDS) == raised, 1.0, 0.0)
    assert main_kind(0.0, certain) == raised


def test_a_wrong_number_of_kinds_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        main_kind(0.0, np.ones(3))


# Severity


@pytest.mark.parametrize(
    ("probs", "severity"),
    [
        ([1, 0, 0, 0, 0], 1),
        ([0, 0, 0, 0, 1], 5),
        ([0.5, 0.5, 0, 0, 0], 1),  # of two equals the milder
        ([0, 0, 0.25, 0.5, 0.25], 4),
        ([0.4, 0, 0, 0, 0.6], 5),  # not the mean
        ([0.4, 0.05, 0.25, 0.3, 0], 3),  # not the most probable one
        ([0.1] * 3 + [0.3, 0.4], 4),  # sums that floating point leaves a little short of a half
    ],
)
def test_severity_is_the_median(probs: list[float], severity: int) -> None:
    assert severity_of(np.array(probs)) == severity


@pytest.mark.parametrize(
    ("none", "severity"),
    [(0.0, 3), (0.1, 3), (0.2, 2), (0.3, 2), (0.4, 1), (0.499, 1)],
)
def test_damage_that_may_not_be_there_is_milder(none: float, severity: int) -> None:
    # .2 slight, .2 moderate, .6 obvious. With .2 clean: .2 + .8 * .4 = .52 are at most moderate; with .4 clean
    # .4 + .6 * .2 = .52 are at most slight.
    assert severity_of(np.array([0.2, 0.2, 0.6, 0, 0]), none) == severity


@given(distribution(6))
def test_no_severity_is_nearer_on_average_where_clean_is_severity_0(probs: np.ndarray) -> None:
    none, words = float(probs[0]), probs[1:]
    if none < 0.5 - 1e-6 and words.sum() > 1e-6:
        distance = np.abs(np.arange(1, 6)[:, None] - np.arange(6)) @ probs
        assert distance[severity_of(words / words.sum(), none) - 1] <= distance.min() + 1e-6


@given(distribution(5))
def test_no_other_severity_is_nearer_on_average(probs: np.ndarray) -> None:
    distance = np.abs(np.arange(1, 6)[:, None] - np.arange(1, 6)) @ probs  # expected, of each answer
    assert distance[severity_of(probs) - 1] <= distance.min() + 1e-6


# Winner


def test_the_winner_by_hand() -> None:
    # When b stands first, "first better" is for b: a gets (.6 + .5) / 2, b (.3 + .4) / 2, tie .1.
    winner, probs, flip = winner_of(np.array([0.6, 0.3, 0.1]), np.array([0.4, 0.5, 0.1]))
    assert (winner, flip) == ("a", False)
    assert probs == {"a": pytest.approx(0.55), "b": pytest.approx(0.35), "tie": pytest.approx(0.1)}


def test_a_model_that_prefers_the_first_place_flips() -> None:
    # a: (.7 + .4) / 2 = .55, b: (.2 + .5) / 2 = .35; alone, the second order would say b.
    winner, probs, flip = winner_of(np.array([0.7, 0.2, 0.1]), np.array([0.5, 0.4, 0.1]))
    assert (winner, flip) == ("a", True)
    assert probs["a"] == pytest.approx(0.55)


def test_a_tie_needs_no_flip() -> None:
    assert winner_of(np.array([0.2, 0.3, 0.5]), np.array([0.3, 0.1, 0.6]))[::2] == ("tie", False)


@given(distribution(3), distribution(3))
def test_exchanging_the_pictures_exchanges_the_winner(forward: np.ndarray, backward: np.ndarray) -> None:
    winner, probs, flip = winner_of(forward, backward)
    other, exchanged, other_flip = winner_of(backward, forward)
    assert other == {"a": "b", "b": "a", "tie": "tie"}[winner]
    assert exchanged == {"a": probs["b"], "b": probs["a"], "tie": probs["tie"]}
    assert flip == other_flip
    assert sum(probs.values()) == pytest.approx(1)
    assert probs[winner] == max(probs.values()) or probs["a"] == probs["b"]


@given(distribution(3))
def test_a_picture_ties_with_itself(probs: np.ndarray) -> None:
    # Both orders show the model the same: what it prefers is a place, not a picture.
    assert winner_of(probs, probs)[0] == "tie"


# Confidence


def test_the_geometric_mean_by_hand() -> None:
    assert geometric_mean([0.9]) == pytest.approx(0.9)
    assert geometric_mean([0.5, 0.125]) == pytest.approx(0.25)  # sqrt(1/16)
    assert geometric_mean([1.0, 0.8, 0.0]) == 0.0


def test_the_geometric_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no probabilities"):
        geometric_mean([])


@given(st.lists(probabilities, min_size=1, max_size=6))
def test_the_geometric_mean_lies_between_the_least_and_the_greatest(values: list[float]) -> None:
    assume(min(values) == 0 or min(values) > 1e-300)
    slack = 1e-9
    assert min(values) * (1 - slack) <= geometric_mean(values) <= max(values) * (1 + slack)


# Text that agrees with its numbers


@pytest.mark.parametrize(
    ("sentence", "wrong"),
    [
        ("The quality is good.", []),
        ("The quality is excellent.", ["excellent"]),
        ("Goodness, a badly lit fairground.", []),  # parts of words are no level words
        ("Poor light and BAD focus.", ["poor", "bad"]),
        ("It shows lens blur.", []),
        ("It shows Motion Blur and jpeg compression.", ["motion blur", "JPEG compression"]),
        ("A slight veil, slightly soft.", ["slight"]),
        ("Jitters are no jitter.", ["jitter"]),
        ("", []),
    ],
)
def test_contradictions_by_hand(sentence: str, wrong: list[str]) -> None:
    assert contradictions(sentence, "good", ["lens blur"]) == wrong


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_contradicts_every_other_level(level: str) -> None:
    for own in LEVELS:
        assert contradictions(f"It is {level}.", own, ()) == ([] if own == level else [level])


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_contradicts_where_it_was_not_found(kind: str) -> None:
    assert kind in contradictions(f"There is {kind} here.", "fair", ())
    assert contradictions(f"There is {kind} here.", "fair", [kind]) == []


def test_contradicting_sentences_and_a_cut_off_end_are_left_out() -> None:
    text = " Edges are soft. The quality is bad! Is there jitter? It is fine for most uses. The picture is bri"
    assert consistent_text(text, "fair", ["lens blur"]) == "Edges are soft. It is fine for most uses."


def test_foreign_sentences_are_left_out_as_wholes() -> None:
    text = "Edges are soft. Edges are soft and wide. The picture is bright."
    assert consistent_text(text, "fair", (), foreign={"Edges are soft."}) == (
        "Edges are soft and wide. The picture is bright."
    )


@pytest.mark.parametrize("text", ["", "   ", "no end", "It is excellent."])
def test_nothing_may_be_left(text: str) -> None:
    assert consistent_text(text, "fair", ()) == ""


words = st.lists(st.sampled_from([*LEVELS, *SEVERITIES, *KINDS, "edges", "soft", "the"]), min_size=1, max_size=4)
sentences = st.builds(lambda parts, end: " ".join(parts) + end, words, st.sampled_from([".", "!", "?"]))


@given(st.lists(sentences, max_size=5), st.sampled_from(LEVELS), st.sets(st.sampled_from(KINDS), max_size=2))
def test_what_is_left_never_contradicts_and_stays_when_asked_again(
    text: list[str], level: str, found: set[str]
) -> None:
    kept = consistent_text(" ".join(text), level, sorted(found))
    assert contradictions(kept, level, sorted(found)) == []
    assert consistent_text(kept, level, sorted(found)) == kept
