"""Templated conversations: soft labels, where they are read, that all words come from the prompts, what is unknown."""

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from mllm_iqa.data_build.instructions import (
    ASSUMED_STD,
    SAME_WITHIN,
    Conversation,
    Judged,
    compare,
    comparison_label,
    distortion,
    group_conversations,
    look,
    presence,
    rate,
    rate_reference,
    refusal,
    single_picture,
    why,
)

from mllm_iqa.levels import LEVELS, SEVERITIES, VALUES, soft_label
from mllm_iqa.prompt_files import load_prompt
from mllm_iqa.taxonomy import FAMILIES, FAMILY_OF, KINDS

Findings = tuple[tuple[str, int], ...]

BLURRED: Findings = (("gaussian blur", 4),)
TWICE: Findings = (("JPEG compression", 5), ("underexposure", 2))


# What people ask for in words of their own.
TYPED = (
    *("rate.v1", "distortion.v1", "compare.v1", "appearance.v1", "reason.v1", "chat.v1"),
    *(f"presence.v1/{family}" for family in FAMILIES),
)


def judged(mos: float = 3.0, findings: Findings | None = (), grey: int = 120) -> Judged:
    return Judged(np.full((32, 32, 3), grey, np.uint8), findings, mos)


def as_typed(key: str) -> set[str]:
    """Every way in which a wording of people's own may be spelled."""
    typed = load_prompt("typed.v3")
    wordings = [*typed.wordings(key)]
    for frame in ("is", "has") if key.startswith("presence.v1/") else ():
        words = typed.wordings(f"{key}/{frame}")
        wordings += [f.format(word=w) for f in typed.wordings(f"presence.v1/{frame}") for w in words]
    return {w for q in wordings for w in (q, q.lower(), q.rstrip(".?!"), q.lower().rstrip(".?!"))}


def spelled(question: str) -> str:
    """The same for every way of spelling it."""
    return question.lower().rstrip(".?!")


def region() -> list[Judged]:
    """The crops of a region, their reference, and a crop of another region, as `group_conversations` takes them."""
    return [
        judged(2.1, BLURRED, 90),
        judged(1.2, TWICE, 30),
        judged(4.6, (), 200),
        judged(4.6, (), 120),
        judged(3.4, (("color noise", 1),), 60),
    ]


def many(count: int = 300) -> list[tuple[Conversation, list[Judged]]]:
    """Conversations of every sort, each with its pictures."""
    out: list[tuple[Conversation, list[Judged]]] = []
    for n in range(count):
        rng = np.random.default_rng(n)
        out += [(c, region()) for c in group_conversations(region(), 3, 4, rng)]
        photos = [judged(float(rng.uniform(1, 5)), None), judged(float(rng.uniform(1, 5)), ())]
        out += [(c, photos) for k, p in enumerate(photos) for c in single_picture(k, p, rng)]
        out.append((compare(0, 1, photos, rng), photos))
    return out


@pytest.fixture(scope="module")
def everything() -> list[tuple[Conversation, list[Judged]]]:
    return many()


# The word that is read


def test_every_task_occurs(everything: list[tuple[Conversation, list[Judged]]]) -> None:
    assert {c.task for c, _ in everything} == {
        "rate.v1",
        "rate_reference.v1",
        "distortion.v1",
        "presence.v1",
        "appearance.v1",
        "chat.v1",
        "compare.v1",
        "compare_reference.v1",
        "reason.v1",
    }


def test_read_at_points_at_a_candidate_after_the_prefix(everything: list[tuple[Conversation, list[Judged]]]) -> None:
    with_label = 0
    for c, _ in everything:
        if c.read_at < 0:
            assert (c.candidates, c.probs) == ((), ())
            continue
        with_label += 1
        assert c.answer[: c.read_at] == load_prompt(c.task).answer_prefix
        (spoken,) = [w for w in c.candidates if re.match(rf"{w}\b", c.answer[c.read_at :])]
        assert c.probs[c.candidates.index(spoken)] > 0, "a word was said that the soft label rules out"
        assert len(c.probs) == len(c.candidates) == len(set(c.candidates))
        assert min(c.probs) >= 0
        assert sum(c.probs) == pytest.approx(1, abs=1e-9)
        assert all(w.startswith(" ") for w in c.candidates)
    assert with_label > 1000


def test_only_ratings_and_comparisons_are_read(everything: list[tuple[Conversation, list[Judged]]]) -> None:
    read = {c.task for c, _ in everything if c.read_at >= 0}
    assert read == {"rate.v1", "rate_reference.v1", "compare.v1", "compare_reference.v1"}
    assert all(c.read_at >= 0 for c, _ in everything if c.task in read)


def test_pictures_are_named_by_valid_indices(everything: list[tuple[Conversation, list[Judged]]]) -> None:
    for c, pictures in everything:
        assert set(c.images) <= set(range(len(pictures)))
        assert len(set(c.images)) == len(c.images), "a picture is compared with itself"
        asked = {"reason.v1": (1, 2), "chat.v1": (1, 2)}.get(c.task, (load_prompt(c.task).images,))
        assert len(c.images) in asked


# Rating


def test_the_level_is_a_soft_label_with_the_mean_of_the_raters() -> None:
    for mos in (1.0, 1.3, 2.75, 3.0, 4.6, 5.0):
        c = rate(0, judged(mos), np.random.default_rng(0), reason=False)
        assert c.candidates == (" excellent", " good", " fair", " poor", " bad")
        assert np.array(c.probs) @ VALUES == pytest.approx(mos, abs=1e-6)
        np.testing.assert_allclose(c.probs, soft_label(mos, ASSUMED_STD))


def test_a_soft_label_by_hand() -> None:
    # mos 3, std .5: by symmetry no tilt. Phi(1) - Phi(-1) = .6827 at 3, Phi(-1) - Phi(-3) = .1573 beside it,
    # Phi(-3) = .0013 at the ends.
    c = rate(0, judged(3.0), np.random.default_rng(0), reason=False)
    np.testing.assert_allclose(c.probs, [0.00135, 0.15731, 0.68269, 0.15731, 0.00135], atol=1e-5)


@pytest.mark.parametrize(("mos", "level"), [(5.0000004, "excellent"), (0.9999996, "bad")])
def test_a_mos_that_rounding_put_outside_is_an_end(mos: float, level: str) -> None:
    c = rate(0, judged(mos), np.random.default_rng(0), reason=False)
    assert c.probs == tuple(float(w == level) for w in LEVELS)
    assert c.answer == f"The quality of the image is {level}."


def test_the_spoken_level_is_drawn_from_the_soft_label() -> None:
    rng = np.random.default_rng(0)
    picture = judged(2.6)
    said = Counter(rate(0, picture, rng, reason=False).answer.split()[-1].rstrip(".") for _ in range(2000))
    probs = soft_label(2.6, ASSUMED_STD)
    # Standard deviation of a share of 2000 draws is at most .5 / sqrt(2000) = .011; four of them are .045.
    np.testing.assert_allclose([said[w] / 2000 for w in LEVELS], probs, atol=0.045)


def test_a_reason_goes_on_after_the_level_as_explanations_do() -> None:
    c = rate(0, judged(1.0, TWICE, 40), np.random.default_rng(3), reason=True)
    assert c.question == "your rating, please."
    head = "The quality of the image is bad. It shows JPEG compression (catastrophic) and underexposure (moderate). "
    assert c.answer.startswith(head)
    rest = c.answer.removeprefix(head)
    strong = load_prompt("effects.v1").wordings("JPEG compression/strong")
    mild = load_prompt("effects.v1").wordings("underexposure/mild")
    (first,) = [s for s in strong if rest.startswith(s)]
    (second,) = [s for s in mild if rest.removeprefix(f"{first} ").startswith(s)]
    end = rest.removeprefix(f"{first} {second}")
    assert end.startswith(" The picture is dark, with flat contrast and almost no color.")
    assert end.removeprefix(" The picture is dark, with flat contrast and almost no color.") in load_prompt(
        "reason.v1"
    ).wordings("bad")


@pytest.mark.parametrize(("severity", "strength"), [(1, "mild"), (2, "mild"), (3, "strong"), (5, "strong")])
def test_the_effect_of_a_distortion_follows_its_severity(severity: int, strength: str) -> None:
    c = rate(0, judged(2.0, (("jitter", severity),)), np.random.default_rng(0), reason=True)
    effects = load_prompt("effects.v1").wordings(f"jitter/{strength}")
    assert sum(f"). {effect} The picture is" in c.answer for effect in effects) == 1, c.answer


@pytest.mark.parametrize(
    ("mos", "sentence"), [(5.0, " It shows no visible distortion."), (1.0, " No single distortion stands out.")]
)
def test_a_reason_without_findings_says_none_only_of_good_pictures(mos: float, sentence: str) -> None:
    c = rate(0, judged(mos, ()), np.random.default_rng(0), reason=True)
    assert c.answer[c.read_at :].split(".", 1)[1].startswith(sentence)


def test_no_other_level_is_named_in_a_reason() -> None:
    # Else the explanation could contradict its number.
    for n in range(200):
        rng = np.random.default_rng(n)
        findings = ((str(rng.choice(KINDS)), int(rng.integers(1, 6))),)
        c = rate(0, judged(float(rng.uniform(1, 5)), findings), rng, reason=True)
        words = re.findall(r"[a-z]+", c.answer)
        assert sum(words.count(level) for level in LEVELS) == 1, c.answer


def test_what_is_learned_begins_at_the_level_or_after_what_is_not_known() -> None:
    rng = np.random.default_rng(0)
    known = rate(0, judged(2.0, BLURRED), rng, reason=True)
    assert known.learn_from == known.read_at == len("The quality of the image is")
    unknown = rate(0, judged(5.0, None), rng, reason=True)
    # The claim about distortions is not learned: nobody looked for them. What follows is seen or follows the level.
    assert unknown.answer[: unknown.learn_from] == (
        "The quality of the image is excellent. It shows no visible distortion."
    )
    assert unknown.answer[unknown.learn_from :].startswith(" The picture is ")
    short = rate(0, judged(2.0, None), rng, reason=False)
    assert short.learn_from == short.read_at


def test_a_rating_beside_a_reference_shows_the_reference_first() -> None:
    c = rate_reference(3, 1, judged(2.2, BLURRED), np.random.default_rng(0))
    assert (c.images, c.task) == ((3, 1), "rate_reference.v1")
    assert c.answer[: c.read_at] == "Compared with the reference, the quality of the image is"
    assert np.array(c.probs) @ VALUES == pytest.approx(2.2, abs=1e-6)


# Distortions


def test_distortions_are_named_with_their_severity_most_harmful_first() -> None:
    rng = np.random.default_rng(0)
    assert distortion(2, judged(1.5, TWICE), rng).answer == (
        "The image shows JPEG compression (catastrophic) and underexposure (moderate)."
    )
    assert distortion(2, judged(4.6, ()), rng).answer == "The image shows no visible distortion."
    assert distortion(2, judged(4.6, ()), rng).images == (2,)


def test_unknown_distortions_cannot_be_asked_for() -> None:
    with pytest.raises(ValueError, match="unknown"):
        distortion(0, judged(3.0, None), np.random.default_rng(0))


def test_unknown_findings_never_lead_to_a_claim_about_distortions() -> None:
    pictures = [judged(2.0, None), judged(4.5, None), judged(3.0, BLURRED)]
    kinds = re.compile("|".join(map(re.escape, KINDS)))
    tasks = set()
    for n in range(300):
        rng = np.random.default_rng(n)
        conversations = [c for k in (0, 1) for c in single_picture(k, pictures[k], rng)]
        conversations += [compare(0, 1, pictures, rng), compare(0, 2, pictures, rng), compare(2, 1, pictures, rng)]
        for c in conversations:
            tasks.add(c.task)
            learned = c.answer[c.learn_from :]
            assert not kinds.search(learned), learned
            assert "distortion" not in learned.replace(load_prompt("chat.v1").phrase("refusal"), ""), learned
    assert tasks == {"rate.v1", "reason.v1", "appearance.v1", "chat.v1", "compare.v1"}


def test_presence_is_yes_exactly_where_the_family_is_there() -> None:
    prompt = load_prompt("presence.v1")
    spoken = {prompt.phrase(f"family/{family}"): family for family in FAMILIES}
    picture = judged(1.5, TWICE)
    there = {FAMILY_OF[kind]: (kind, severity) for kind, severity in TWICE}
    yes = 0
    for n in range(400):
        c = presence(0, picture, np.random.default_rng(n))
        (family,) = [
            spoken[s]
            for s in spoken
            if c.question in [q.format(family=s) for q in prompt.questions]
            or c.question in as_typed(f"presence.v1/{spoken[s]}")
        ]
        if family in there:
            kind, severity = there[family]
            assert c.answer == f"Yes, it shows {kind} ({SEVERITIES[severity - 1]})."
            yes += 1
        else:
            assert c.answer == f"No, there is no {prompt.phrase(f'family/{family}')}."
    # Half of the questions are about a family that is there, and 2 in 12 of the other half: .5 + .5 / 6 = .583 of 400;
    # standard deviation .025.
    assert yes / 400 == pytest.approx(0.583, abs=0.1)


def test_presence_on_a_clean_picture_is_no() -> None:
    rng = np.random.default_rng(0)
    assert all(presence(0, judged(4.6, ()), rng).answer.startswith("No, there is no ") for _ in range(50))


# Comparison


def test_comparison_labels_by_hand() -> None:
    # Logistic of (gap - .25) / .1 for the first, of (-gap - .25) / .1 for the second, the rest is "equal".
    def logistic(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    assert SAME_WITHIN == 0.25
    # Gap 0: both logistic(-2.5) = .0759, equal .8483.
    assert comparison_label(0) == pytest.approx([0.0759, 0.0759, 0.8483], abs=1e-4)
    # Gap .25, the border: logistic(0) = .5, logistic(-5) = .0067, equal .4933.
    assert comparison_label(0.25) == pytest.approx([0.5, 0.0067, 0.4933], abs=1e-4)
    # Gap -.45: logistic(-7) = .0009, logistic(2) = .8808, equal .1183.
    assert comparison_label(-0.45) == pytest.approx([logistic(-7), logistic(2), 1 - logistic(-7) - logistic(2)])
    assert comparison_label(4.0) == pytest.approx([1, 0, 0], abs=1e-9)


@pytest.mark.parametrize("gap", [0, 0.01, 0.2, 0.25, 0.3, 1, 4, 1e6])
def test_comparison_labels_are_symmetric_and_sum_to_one(gap: float) -> None:
    first, second, equal = comparison_label(gap)
    assert comparison_label(-gap) == pytest.approx([second, first, equal], abs=1e-12)
    assert first + second + equal == pytest.approx(1, abs=1e-12)
    assert min(first, second, equal) >= 0
    assert first >= second


def test_the_first_wins_more_surely_the_larger_the_gap() -> None:
    labels = [comparison_label(gap) for gap in np.linspace(-1, 1, 41)]
    assert all(a[0] < b[0] and a[1] > b[1] for a, b in itertools.pairwise(labels))


def test_a_comparison_names_the_winner_by_its_place() -> None:
    pictures = [judged(1.2), judged(4.6), judged(4.6)]
    rng = np.random.default_rng(0)
    # A gap of 3.4 MOS leaves e^-31 for anything else.
    for a, b, word in ((0, 1, "second image is better."), (1, 0, "first image is better.")):
        c = compare(a, b, pictures, rng)
        assert (c.images, c.candidates) == ((a, b), (" first", " second", " two"))
        assert c.answer.startswith(f"In a direct comparison, the {word}")
        assert c.probs == tuple(comparison_label(pictures[a].mos - pictures[b].mos))
    for a, b, word in ((0, 1, "third image is better."), (1, 0, "second image is better.")):
        c = compare(a, b, pictures, rng, reference=2)
        assert (c.images, c.candidates) == ((2, a, b), (" second", " third", " other"))
        assert c.answer == f"Compared with the reference, the {word}"


def test_half_of_the_comparisons_name_what_each_picture_shows() -> None:
    pictures = [judged(1.2, BLURRED), judged(4.6, ())]
    answers = Counter(compare(0, 1, pictures, np.random.default_rng(n)).answer for n in range(200))
    short = "In a direct comparison, the second image is better."
    long = f"{short} The first image shows gaussian blur (serious). The second image shows no visible distortion."
    assert set(answers) == {short, long}
    assert 60 < answers[long] < 140


# Why


def test_reasons_are_given_in_a_second_turn_too() -> None:
    explained = rate(0, judged(1.0, TWICE, 40), np.random.default_rng(3), reason=True)
    c = why(explained, np.random.default_rng(0))
    assert (c.images, c.task, c.read_at, c.learn_from) == ((0,), "reason.v1", -1, 0)
    assert c.question in as_typed("reason.v1")
    assert c.history == (("your rating, please.", "The quality of the image is bad."),)
    assert c.answer.startswith("It shows JPEG compression (catastrophic) and underexposure (moderate). ")
    assert f"The quality of the image is bad. {c.answer}" == explained.answer


def test_what_is_not_known_is_no_reason_either() -> None:
    explained = rate(0, judged(5.0, None), np.random.default_rng(0), reason=True)
    c = why(explained, np.random.default_rng(0))
    assert c.answer[: c.learn_from] == "It shows no visible distortion."
    assert c.answer[c.learn_from :] == explained.answer[explained.learn_from :]


def test_a_comparison_has_reasons_where_it_names_what_is_seen() -> None:
    pictures = [judged(1.2, BLURRED), judged(4.6, ())]
    made = [compare(0, 1, pictures, np.random.default_rng(n)) for n in range(20)]
    reasons = "The first image shows gaussian blur (serious). The second image shows no visible distortion."
    for c in made:
        if "shows" in c.answer:
            turn = why(c, np.random.default_rng(0))
            assert (turn.images, turn.answer, turn.learn_from) == ((0, 1), reasons, 0)
            assert turn.history == ((c.question, "In a direct comparison, the second image is better."),)
        else:
            with pytest.raises(ValueError, match="no reasons"):
                why(c, np.random.default_rng(0))


def test_a_third_of_the_reasons_come_in_two_turns() -> None:
    made = [single_picture(0, region()[1], np.random.default_rng(n)) for n in range(600)]
    explained = [cs for cs in made if ". " in cs[0].answer]
    asked = [any(c.task == "reason.v1" for c in cs) for cs in explained]
    assert np.mean(asked) == pytest.approx(0.33, abs=0.15)  # of about 180; standard deviation .035
    assert not any(c.task == "reason.v1" for cs in made if cs not in explained for c in cs)


def test_reasons_are_said_again_to_whoever_asks_again() -> None:
    explained = rate(0, judged(1.0, TWICE, 40), np.random.default_rng(3), reason=True)
    c = why(explained, np.random.default_rng(0), explained)
    assert c.history == ((explained.question, explained.answer),)
    assert explained.answer == f"The quality of the image is bad. {c.answer}"


def test_reasons_are_given_after_another_answer_too() -> None:
    explained = rate(0, judged(1.0, TWICE, 40), np.random.default_rng(3), reason=True)
    named = distortion(0, judged(1.0, TWICE, 40), np.random.default_rng(0))
    c = why(explained, np.random.default_rng(0), named)
    assert c.history == ((named.question, named.answer),)
    assert c == replace(why(explained, np.random.default_rng(0)), history=c.history)


def test_why_is_asked_after_every_kind_of_answer_but_a_refusal() -> None:
    made = [single_picture(0, region()[1], np.random.default_rng(n)) for n in range(1500)]
    before: Counter[str] = Counter()
    for cs in made:
        answered = {c.answer: c.task for c in cs if c.task != "reason.v1"}
        for c in cs:
            if c.task == "reason.v1":
                ((_, answer),) = c.history
                assert answer in answered or answer == cs[0].answer.partition(". ")[0] + "."
                before[answered.get(answer, "first sentence")] += 1
    assert set(before) == {"first sentence", "rate.v1", "distortion.v1", "presence.v1", "appearance.v1"}
    assert min(before["first sentence"], before["rate.v1"], before["distortion.v1"]) > sum(before.values()) / 5


# Whole scenes


def test_every_crop_of_a_region_is_rated_and_the_region_is_compared() -> None:
    for n in range(50):
        conversations = group_conversations(region(), 3, 4, np.random.default_rng(n))
        rated = [c.images[0] for c in conversations if c.task == "rate.v1"]
        assert rated[:3] == [0, 1, 2]
        assert set(rated) <= {0, 1, 2, 3}
        pairs = [c.images for c in conversations if c.task == "compare.v1"]
        assert len(pairs) == 2
        assert 4 not in pairs[0]
        assert 4 in pairs[1]
        for c in conversations:
            if c.task in ("rate_reference.v1", "compare_reference.v1"):
                assert c.images[0] == 3
                assert not {3, 4} & set(c.images[1:])


def test_some_questions_come_after_another_about_the_same_picture() -> None:
    made = [(c, n) for n in range(400) for c in single_picture(0, region()[1], np.random.default_rng(n))]
    first_turns = {(c.question, c.answer, n) for c, n in made}
    for c, n in made:
        for question, answer in c.history if c.task != "reason.v1" else ():
            assert (question, answer, n) in first_turns, "the turn before belongs to another picture"
            assert question != c.question
    for task, share in (("rate.v1", 0.05), ("distortion.v1", 0.2), ("presence.v1", 0.2)):
        after = [bool(c.history) for c, _ in made if c.task == task]
        assert np.mean(after) == pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / len(after)))
    assert all(c.history == () for c in single_picture(0, judged(3.0, None), np.random.default_rng(1)))


def test_the_same_generator_gives_the_same_conversations() -> None:
    def made(seed: int) -> list[Conversation]:
        return group_conversations(region(), 3, 4, np.random.default_rng(seed))

    assert made(5) == made(5)
    assert made(5) != made(6)


# Words


def template(text: str, fields: dict[str, str]) -> str:
    """A regular expression for everything a phrase can become."""
    return re.sub(r"\\{(\w+)\\}", lambda m: fields[m[1]], re.escape(text))


def any_of(words: tuple[str, ...]) -> str:
    return f"(?:{'|'.join(map(re.escape, words))})"


@cache
def grammar() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What may be asked and what may be answered, by the prompt files alone."""
    names = ("rate", "rate_reference", "reason", "effects", "distortion", "presence", "appearance", "compare")
    prompts = [load_prompt(f"{n}.v1") for n in (*names, "compare_reference", "chat")]
    named = load_prompt("presence.v1").phrases
    looks = load_prompt("appearance.v1").phrases
    finding = rf"{any_of(KINDS)} \({any_of(SEVERITIES)}\)"
    fields = {
        "level": any_of(LEVELS),
        "kind": any_of(KINDS),
        "severity": any_of(SEVERITIES),
        "finding": finding,
        "findings": rf"(?:{finding}(?: and {finding})?|no visible distortion)",
        "family": any_of(tuple(v[0] for k, v in named.items() if k.startswith("family/"))),
        **{
            w: any_of(tuple(v[0] for k, v in looks.items() if k.startswith(f"{w}/")))
            for w in ("brightness", "contrast", "color")
        },
    }
    fields["appearance"] = template(looks["sentence"][0], fields)
    questions = {template(q, fields) for p in prompts for q in p.questions}
    questions |= {re.escape(q) for key in TYPED for q in as_typed(key)}
    pieces = {template(w, fields) for p in prompts for words in p.phrases.values() for w in words}
    pieces |= {template(p.answer_prefix, fields) for p in prompts if p.answer_prefix}
    pieces.add(" " + fields["findings"])
    answers = rf"(?:{'|'.join(sorted((rf' ?(?:{p})' for p in pieces), key=len, reverse=True))})+"
    return re.compile("|".join(questions)), re.compile(answers)


def test_every_word_comes_from_the_prompts(everything: list[tuple[Conversation, list[Judged]]]) -> None:
    questions, answers = grammar()
    for c, _ in everything:
        assert questions.fullmatch(c.question), c.question
        # Reasons follow a space in the rating they were taken from.
        assert answers.fullmatch(f" {c.answer}" if c.task == "reason.v1" else c.answer), c.answer


def test_the_grammar_would_notice_a_foreign_word() -> None:
    _, answers = grammar()
    assert answers.fullmatch("The quality of the image is bad. It shows jitter (slight).")
    assert not answers.fullmatch("The quality of the image is terrible.")
    assert not answers.fullmatch("The image shows gaussian blur (severe).")


@pytest.mark.parametrize(
    ("make", "task"),
    [
        (lambda rng: look(1, judged(3.0, None, 40), rng), "appearance.v1"),
        (lambda rng: refusal((1,), rng), "chat.v1"),
    ],
    ids=["look", "refusal"],
)
def test_questions_beside_quality(make: Callable[[np.random.Generator], Conversation], task: str) -> None:
    made = [make(np.random.default_rng(n)) for n in range(5000)]
    assert {(c.images, c.task) for c in made} == {((1,), task)}
    known = {*load_prompt(task).questions, *as_typed(task)}
    asked = {c.question for c in made}
    assert asked <= known
    assert {spelled(q) for q in asked} == {spelled(q) for q in known}
    answer = {
        "appearance.v1": "The picture is dark, with flat contrast and almost no color.",
        "chat.v1": load_prompt("chat.v1").phrase("refusal"),
    }[task]
    assert {c.answer for c in made} == {answer}


@pytest.mark.parametrize(
    ("make", "task", "share"),
    [
        (lambda rng: rate(0, judged(), rng, reason=True), "rate.v1", 0.5),
        (lambda rng: rate(0, judged(), rng, reason=False), "rate.v1", 0.0),
        (lambda rng: distortion(0, judged(), rng), "distortion.v1", 0.3),
        (lambda rng: compare(0, 1, [judged(), judged(3.0)], rng), "compare.v1", 0.3),
        (lambda rng: compare(0, 1, [judged(), judged(3.0)], rng, reference=2), "compare.v1", 0.0),
        (lambda rng: look(0, judged(), rng), "appearance.v1", 0.3),
        (lambda rng: refusal((0,), rng), "chat.v1", 0.5),
    ],
    ids=["rated with reasons", "rated", "named", "compared", "compared with a reference", "looked at", "refused"],
)
def test_so_often_people_ask_in_words_of_their_own(
    make: Callable[[np.random.Generator], Conversation], task: str, share: float
) -> None:
    typed = as_typed(task)
    asked = [make(np.random.default_rng(n)).question in typed for n in range(600)]
    assert np.mean(asked) == pytest.approx(share, abs=0.07)  # standard deviation at most .02


def test_people_type_without_capitals_and_marks() -> None:
    explained = rate(0, judged(), np.random.default_rng(0), reason=True)
    questions = [why(explained, np.random.default_rng(n)).question for n in range(600)]
    assert np.mean([q.islower() for q in questions]) == pytest.approx(0.25, abs=0.07)
    assert np.mean([q[-1].isalpha() for q in questions]) == pytest.approx(0.25, abs=0.07)
    assert {"why", "Why", "why?", "Why?"} <= set(questions)


def test_no_question_in_other_words_has_two_answers() -> None:
    typed = {key: {spelled(q) for q in as_typed(key)} for key in TYPED}
    for name in ("rate.v1", "distortion.v1", "compare.v1", "chat.v1"):
        typed[f"{name} itself"] = {spelled(q) for q in load_prompt(name).questions}
    for (a, one), (b, other) in itertools.combinations(typed.items(), 2):
        assert not one & other, (a, b)
    frames = {*("presence.v1/is", "presence.v1/has"), *(f"{key}/{f}" for key in TYPED[6:] for f in ("is", "has"))}
    assert set(load_prompt("typed.v3").phrases) == {*TYPED, *frames}
    words = [
        w
        for family in FAMILIES
        for f in ("is", "has")
        for w in load_prompt("typed.v3").wordings(f"presence.v1/{family}/{f}")
    ]
    assert len(words) == len(set(words))


def test_no_wording_stands_twice() -> None:
    typed = [spelled(q) for key in TYPED for q in load_prompt("typed.v3").wordings(key)]
    assert len(typed) == len(set(typed))


def test_the_canonical_question_is_asked_most() -> None:
    asked = Counter(rate(0, judged(), np.random.default_rng(n), reason=False).question for n in range(600))
    prompt = load_prompt("rate.v1")
    assert set(asked) == set(prompt.questions)
    # Half, and one in six of the rest: .583; standard deviation .02.
    assert asked[prompt.question] / 600 == pytest.approx(0.583, abs=0.08)
