"""The facade, with the engine without a model (plumbing) and with a tiny real one (the same promises, kept)."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mllm_iqa
from mllm_iqa import Assistant, Comparison, Failure, Finding, ImageError, Score
from mllm_iqa.assistant import _shared
from mllm_iqa.backends.base import Conversation
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.checkpoints import Card, IntervalCard, read_card
from mllm_iqa.errors import BackendError, CheckpointError
from mllm_iqa.explaining import explain_findings
from mllm_iqa.images import load_image
from mllm_iqa.levels import LEVELS, VALUES
from mllm_iqa.prompt_files import findings_text, load_prompt
from mllm_iqa.scoring import contradictions
from mllm_iqa.taxonomy import FAMILY_OF


def pixels(seed: int, height: int = 64, width: int = 80) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def tiny(tiny_checkpoint: Path) -> Assistant:
    return Assistant.load(str(tiny_checkpoint), device="cpu")


@pytest.fixture(scope="session")
def fake() -> Assistant:
    return Assistant.load("fake")


@pytest.fixture(params=["fake", "tiny"])
def assistant(request: pytest.FixtureRequest) -> Assistant:
    loaded: Assistant = request.getfixturevalue(request.param)
    return loaded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n in range(5):
        Image.fromarray(pixels(n, 40 + 8 * (n % 2))).save(tmp_path / f"{n}.png")
    return tmp_path


# One picture


@pytest.mark.parametrize("seed", range(4))
def test_a_score_is_true_to_itself(assistant: Assistant, seed: int) -> None:
    score = assistant.score(pixels(seed))
    probs = np.array([score.levels[word] for word in LEVELS])
    assert list(score.levels) == list(LEVELS)
    assert probs.sum() == pytest.approx(1)
    assert score.mos == pytest.approx(float(probs @ VALUES))
    assert score.std == pytest.approx(float(np.sqrt(probs @ (VALUES - score.mos) ** 2)))
    assert 1 <= score.interval.low <= score.mos <= score.interval.high <= 5
    assert 0 <= score.outside_mass <= 1
    assert score.confidence is not None and 0 < score.confidence <= 1
    assert (score.image.width, score.image.height) == (80, 64)
    assert (score.model, score.prompt) == (assistant.backend.name, "rate.v1")


@pytest.mark.parametrize("seed", range(8))
def test_findings_are_at_most_two_of_different_families_and_stand_in_the_text(assistant: Assistant, seed: int) -> None:
    score = assistant.score(pixels(seed))
    assert score.distortions is not None and score.explanation is not None
    assert len(score.distortions) <= 2
    assert len({f.family for f in score.distortions}) == len(score.distortions)
    for finding in score.distortions:
        assert finding.family == FAMILY_OF[finding.kind]
        assert 1 <= finding.severity <= 5
        assert 0 < finding.probability <= 1
    head = f"The quality of the image is {score.level}."
    assert score.explanation.startswith(head)
    named = findings_text([(f.kind, f.severity_word) for f in score.distortions])
    if score.distortions:
        assert score.explanation.startswith(f"{head} It shows {named}.")
    rest = score.explanation.replace(named, "")
    assert contradictions(rest, score.level, [f.kind for f in score.distortions]) == []


def test_pictures_with_one_and_two_findings_occur(fake: Assistant) -> None:
    # So that the test above sees both; a clean one is made by hand below.
    assert {len(fake.score(pixels(seed)).distortions or ()) for seed in range(8)} >= {1, 2}


def test_without_an_explanation_its_fields_are_none_and_the_numbers_the_same(assistant: Assistant) -> None:
    short, whole = assistant.score(pixels(0), explain=False), assistant.score(pixels(0))
    assert (short.distortions, short.explanation, short.confidence) == (None, None, None)
    assert short.mos == pytest.approx(whole.mos, abs=1e-5)
    assert "distortions" not in str(short)


def test_the_same_picture_twice_is_the_same_result(assistant: Assistant) -> None:
    assert assistant.score(pixels(3)) == assistant.score(pixels(3))


def test_a_fresh_model_gives_the_same_result(tiny: Assistant, tiny_checkpoint: Path) -> None:
    fresh = Assistant.load(str(tiny_checkpoint), device="cpu").score(pixels(3))
    known = tiny.score(pixels(3))
    assert fresh.explanation == known.explanation
    assert fresh.mos == pytest.approx(known.mos, abs=1e-5)


def test_pictures_differ(assistant: Assistant) -> None:
    assert len({round(assistant.score(pixels(seed), explain=False).mos, 4) for seed in range(4)}) == 4


def test_a_reference_changes_the_question_and_the_score(assistant: Assistant) -> None:
    alone = assistant.score(pixels(0))
    beside = [assistant.score(pixels(0), reference=pixels(seed, 48)) for seed in (1, 2)]
    assert {score.prompt for score in beside} == {"rate_reference.v1"}
    assert len({alone.mos, *(score.mos for score in beside)}) == 3
    # The picture that is judged is the second; what is wrong with it is asked of it alone.
    assert all((s.image, s.distortions) == (alone.image, alone.distortions) for s in beside)
    swapped = assistant.score(pixels(1, 48), reference=pixels(0))
    assert swapped.mos != beside[0].mos
    assert swapped.image.height == 48


def test_a_picture_is_called_as_the_caller_says(fake: Assistant, folder: Path) -> None:
    assert fake.score(folder / "0.png", explain=False).image.name == "0.png"
    assert fake.score(folder / "0.png", explain=False, name="holiday").image.name == "holiday"


def test_the_pixel_budget_is_the_engines_or_the_callers(tiny: Assistant, tiny_checkpoint: Path) -> None:
    large = pixels(0, 256, 256)
    image = tiny.score(large, explain=False).image
    assert (image.judged_width, image.judged_height) == (128, 128)
    small = Assistant.load(str(tiny_checkpoint), device="cpu", max_pixels=64 * 64)
    image = small.score(large, explain=False).image
    assert (image.width, image.judged_width, image.judged_height) == (256, 64, 64)


def test_the_interval_is_the_cards(tiny: Assistant, fake: Assistant) -> None:
    score = tiny.score(pixels(0), explain=False)
    # The card of the fixture: half a standard deviation to each side.
    assert score.interval.high - score.interval.low == pytest.approx(score.std)
    assert (score.interval.coverage, score.interval.source) == (0.8, "nothing")
    assert "uncalibrated" in fake.score(pixels(0), explain=False).interval.source


@pytest.mark.parametrize("bad", [b"no picture", np.zeros((4, 4, 3), np.uint8), "/no/such/file.png"])
def test_what_is_no_picture_is_an_image_error(fake: Assistant, bad: object) -> None:
    with pytest.raises(ImageError):
        fake.score(bad)  # type: ignore[arg-type]
    with pytest.raises(ImageError):
        fake.score(pixels(0), reference=bad)  # type: ignore[arg-type]
    with pytest.raises(ImageError):
        fake.compare(pixels(0), bad)  # type: ignore[arg-type]


# What is read from which words


@dataclass
class Scripted:
    """An engine that answers as told: for each beginning of an answer the probabilities of some words."""

    answers: dict[str, dict[str, float]]
    says: str = ""
    asked: list[str] = field(default_factory=list)
    name: str = "scripted"
    max_pixels: int | None = None
    languages: tuple[str, ...] = ("en",)

    def continuation_logprobs(self, conversations: list[Conversation], candidates: list[str]) -> np.ndarray:
        rows = []
        for conversation in conversations:
            before = conversation.turns[-1].text
            self.asked.append(before)
            rows.append([np.log(self.answers[before].get(word, 1e-9)) for word in candidates])
        return np.array(rows)

    def generate(self, conversations: list[Conversation], *, max_new_tokens: int) -> list[str]:
        self.asked += [c.turns[-1].text for c in conversations]
        return [self.says for _ in conversations]

    def stream(self, conversation: Conversation, *, max_new_tokens: int) -> Iterator[str]:
        yield self.says


RATE = {"The quality of the image is": {" good": 0.6, " fair": 0.2, " poor": 0.1}}
TWO_FINDINGS = {
    # Noise: .25 + .2 = .45 of .95; blur .3, clean .2.
    "The image shows": {" no visible distortion": 0.2, " lens blur": 0.3, " color noise": 0.25, " gaussian noise": 0.2},
    # The median, clean being severity 0: .21 and .79 * .3 = .24 are at most slight. The mean, 2.4, would be "moderate".
    "The image shows color noise (": {"slight": 0.3, "obvious": 0.7},
    "The image shows color noise (obvious": {").": 0.2, ") and": 0.6},
    # Noise is taken already: of the rest, blur.
    "The image shows color noise (obvious) and": {" gaussian noise": 0.5, " lens blur": 0.3, " pixelation": 0.2},
    "The image shows color noise (obvious) and lens blur (": {"slight": 0.9, "moderate": 0.1},
}


def test_a_score_by_hand() -> None:
    backend = Scripted(RATE | TWO_FINDINGS, says=" Most viewers would be satisfied. It has pixelation. The pict")
    score = Assistant(backend).score(pixels(0))
    # Of .9: good .6667, fair .2222, poor .1111; 4 * 6/9 + 3 * 2/9 + 2 * 1/9 = 32/9.
    assert score.mos == pytest.approx(32 / 9, abs=1e-6)
    assert score.outside_mass == pytest.approx(0.1, abs=1e-6)
    assert score.distortions == (
        Finding("color noise", "noise", 3, pytest.approx(0.25 / 0.95, abs=1e-6)),
        Finding("lens blur", "blur", 1, pytest.approx(0.3, abs=1e-6)),
    )
    told = "The quality of the image is good. It shows color noise (obvious) and lens blur (slight)."
    assert score.explanation == f"{told} Most viewers would be satisfied."
    # Generated after, and conditioned on, the level and the findings.
    assert backend.asked[-1] == told
    # Level 6/9, kinds .25/.95 and .3, severities .7 and .9.
    keys = [6 / 9, 0.25 / 0.95, 0.7, 0.3, 0.9]
    assert score.confidence == pytest.approx(float(np.prod(keys) ** 0.2), rel=1e-4)


def test_what_the_model_says_of_other_distortions_is_left_out() -> None:
    others = " Stray dots of full brightness are scattered everywhere."
    own = " Colored specks cover the picture."
    score = Assistant(Scripted(RATE | TWO_FINDINGS, says=others + own)).score(pixels(0))
    assert score.explanation is not None and score.explanation.endswith(f"lens blur (slight).{own}")


def test_a_clean_picture_is_asked_nothing_more() -> None:
    backend = Scripted(RATE | {"The image shows": {" no visible distortion": 0.6, " lens blur": 0.4}})
    score = Assistant(backend).score(pixels(0))
    assert score.distortions == ()
    assert score.explanation == "The quality of the image is good. It shows no visible distortion."
    assert len(backend.asked) == 3
    assert score.confidence == pytest.approx((6 / 9 * 0.6) ** 0.5, abs=1e-6)


def test_a_bad_picture_without_findings_is_not_called_clean() -> None:
    rate = {"The quality of the image is": {" bad": 0.9}}
    backend = Scripted(rate | {"The image shows": {" no visible distortion": 0.6, " lens blur": 0.4}})
    told = "The quality of the image is bad. No single distortion stands out."
    assert Assistant(backend).score(pixels(0)).explanation == told


def test_one_finding_where_the_sentence_ends() -> None:
    once = TWO_FINDINGS | {"The image shows color noise (obvious": {").": 0.6, ") and": 0.2}}
    found = Assistant(Scripted(RATE | once)).score(pixels(0)).distortions
    assert found is not None and [f.kind for f in found] == ["color noise"]


def test_a_distortion_that_may_not_be_there_is_said_to_be_mild() -> None:
    unsure = {
        "The image shows": {" no visible distortion": 0.45, " lens blur": 0.3, " jitter": 0.25},
        # .45 and .55 * .1 = .055 are at most slight: more than half, though obvious is the most probable word.
        "The image shows lens blur (": {"slight": 0.1, "obvious": 0.9},
        "The image shows lens blur (slight": {").": 1.0},
    }
    score = Assistant(Scripted(RATE | unsure)).score(pixels(0))
    assert score.distortions == (Finding("lens blur", "blur", 1, pytest.approx(0.3, abs=1e-6)),)


# Many pictures


def test_results_come_in_the_order_of_the_pictures(assistant: Assistant) -> None:
    images = [pixels(seed, 40 + 16 * (seed % 3)) for seed in range(7)]
    expected = [assistant.score(image) for image in images]
    for batch_size in (1, 3, 7, 100):
        found = list(assistant.score_many(images, batch_size=batch_size))
        for one, other in zip(expected, found, strict=True):
            assert isinstance(other, Score)
            assert (other.explanation, other.image) == (one.explanation, one.image)
            assert other.mos == pytest.approx(one.mos, abs=1e-5)


def test_a_failure_stands_in_its_place(assistant: Assistant, folder: Path) -> None:
    (folder / "2.png").write_bytes(b"broken")
    images = [folder / "0.png", str(folder / "2.png"), folder / "1.png", folder / "none.png", b"nor this"]
    results = list(assistant.score_many(images, batch_size=2, explain=False))
    assert [type(r) for r in results] == [Score, Failure, Score, Failure, Failure]
    names = [r.image.name if isinstance(r, Score) else r.name for r in results]
    assert names == ["0.png", "2.png", "1.png", "none.png", "<bytes>"]
    assert all(r.error for r in results if isinstance(r, Failure))
    assert results[0] == assistant.score(folder / "0.png", explain=False)


def test_a_failure_has_a_short_name_whatever_it_was_given_as(fake: Assistant) -> None:
    (failure,) = fake.score_many(["data:image/png;base64," + "A" * 100_000])
    assert isinstance(failure, Failure)
    assert failure.name == "<data URI>"


@pytest.mark.parametrize("given", ["photo.jpg", b"bytes", Path("photo.jpg")])
def test_one_path_is_not_taken_for_a_list_of_letters(fake: Assistant, given: str | bytes | Path) -> None:
    with pytest.raises(ImageError, match="give a list of pictures"):
        fake.score_many(given)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="give a list of pictures"):
        fake.chat(given, ask("How good is it?"))  # type: ignore[arg-type]


@pytest.mark.parametrize("message", [{"role": "user"}, {"role": "user", "content": None}, {"content": "Hi"}])
def test_a_message_of_another_form_is_refused(fake: Assistant, message: dict[str, str]) -> None:
    with pytest.raises(BackendError, match='a message has a "role"'):
        fake.chat([pixels(0)], [message])


def test_a_batch_of_failures_does_not_end_the_rest(fake: Assistant, folder: Path) -> None:
    results = list(fake.score_many([b"a", b"b", folder / "0.png"], batch_size=2))
    assert [type(r) for r in results] == [Failure, Failure, Score]


def test_the_same_picture_twice_in_a_batch(assistant: Assistant) -> None:
    first, second = assistant.score_many([pixels(0), pixels(0)], batch_size=2)
    assert first == second


def test_pictures_are_taken_as_they_are_needed(fake: Assistant) -> None:
    # Endless: only a batch of them may ever be held.
    taken: list[int] = []

    def endless() -> Iterator[np.ndarray]:
        for seed in itertools.count():
            taken.append(seed)
            yield pixels(seed)

    results = fake.score_many(endless(), explain=False, batch_size=4)
    assert taken == []
    for count in range(1, 10):
        next(results)
        assert len(taken) == 4 * -(-count // 4)


def test_no_pictures_give_no_results(assistant: Assistant) -> None:
    assert list(assistant.score_many([])) == []


def test_a_batch_of_none_is_refused(fake: Assistant) -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        list(fake.score_many([pixels(0)], batch_size=0))


# Two pictures


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("reference", [None, 99], ids=["alone", "reference"])
def test_exchanging_the_pictures_exchanges_the_winner(assistant: Assistant, seed: int, reference: int | None) -> None:
    one, two = pixels(seed), pixels(seed + 50, 48)
    given = None if reference is None else pixels(reference)
    forward = assistant.compare(one, two, reference=given, explain=False)
    backward = assistant.compare(two, one, reference=given, explain=False)
    assert backward.winner == {"a": "b", "b": "a", "tie": "tie"}[forward.winner]
    assert backward.probabilities == pytest.approx(
        {"a": forward.probabilities["b"], "b": forward.probabilities["a"], "tie": forward.probabilities["tie"]},
        abs=1e-5,
    )
    assert forward.order_flip == backward.order_flip
    assert (forward.a, forward.b) == (backward.b, backward.a)
    assert sum(forward.probabilities.values()) == pytest.approx(1)
    assert forward.probability == forward.probabilities[forward.winner]
    assert forward.prompt == ("compare.v1" if reference is None else "compare_reference.v1")


def test_both_winners_occur(fake: Assistant) -> None:
    winners = {fake.compare(pixels(seed), pixels(seed + 50, 48), explain=False).winner for seed in range(6)}
    assert winners >= {"a", "b"}


def test_a_picture_ties_with_itself(assistant: Assistant) -> None:
    assert assistant.compare(pixels(0), pixels(0), explain=False).winner == "tie"


@pytest.mark.parametrize("seed", range(3))
def test_a_comparison_says_what_was_found_in_each(assistant: Assistant, seed: int) -> None:
    one, two = pixels(seed), pixels(seed + 50, 48)
    result = assistant.compare(one, two)
    assert result.distortions_a == assistant.score(one).distortions
    assert result.distortions_b == assistant.score(two).distortions
    said = {"a": "first image is better", "b": "second image is better", "tie": "two images are about equal"}
    words = [
        findings_text([(f.kind, f.severity_word) for f in found or ()])
        for found in (result.distortions_a, result.distortions_b)
    ]
    assert result.explanation == (
        f"In a direct comparison, the {said[result.winner]}. The first image shows {words[0]}. "
        f"The second image shows {words[1]}."
    )
    assert result.confidence is not None and 0 < result.confidence <= 1


def test_beside_a_reference_a_and_b_are_still_the_first_and_the_second(fake: Assistant) -> None:
    result = fake.compare(pixels(0), pixels(50), reference=pixels(99))
    assert result.prompt == "compare_reference.v1"
    said = {"a": "first image is better", "b": "second image is better", "tie": "two images are about equal"}
    assert result.explanation is not None
    assert result.explanation.startswith(f"In a direct comparison, the {said[result.winner]}. The first image shows")
    assert result.reference is not None and result.reference.width == 80


def test_a_comparison_without_an_explanation(assistant: Assistant) -> None:
    result = assistant.compare(pixels(0), pixels(1), explain=False)
    assert (result.explanation, result.confidence, result.distortions_a, result.distortions_b) == (None,) * 4
    assert result.reference is None


def test_a_score_beside_a_reference_names_it_and_claims_no_calibration(blank_card: Card) -> None:
    interval = IntervalCard(coverage=0.8, multiplier=1.5, calibrated_on="photographs judged alone")
    known = Assistant(FakeBackend(), card=blank_card.model_copy(update={"interval": interval}))
    alone = known.score(pixels(0), explain=False)
    beside = known.score(pixels(0), reference=pixels(1, 48, 56), explain=False)
    assert (alone.interval.source, alone.reference) == ("photographs judged alone", None)
    assert beside.interval.source == "level distribution (uncalibrated)"
    assert beside.reference is not None and (beside.reference.width, beside.reference.height) == (56, 48)


def test_a_language_without_prompts_is_refused_whatever_the_model_says() -> None:
    class Polyglot(FakeBackend):
        languages = ("en", "zh")

    with pytest.raises(BackendError, match="there are no prompts in 'zh' yet"):
        Assistant(Polyglot()).score(pixels(0), language="zh")


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_a_model_of_templates_describes_each_finding_at_its_strength(blank_card: Card, severity: int) -> None:
    known = Assistant(FakeBackend(), card=blank_card.model_copy(update={"prompts": ("effects.v1",)}))
    found = (
        Finding("gaussian blur", "blur", severity, 0.9),
        Finding("JPEG compression", "compression", 6 - severity, 0.5),
    )
    assert known.templated
    (text,) = explain_findings(known.backend, [load_image(pixels(0))], ["poor"], [found], templated=True)
    strengths = ["mild" if s <= 2 else "strong" for s in (severity, 6 - severity)]
    phrases = load_prompt("effects.v1").phrases
    for kind, strength in zip(("gaussian blur", "JPEG compression"), strengths, strict=True):
        other = "strong" if strength == "mild" else "mild"
        assert sum(sentence in text for sentence in phrases[f"{kind}/{strength}"]) == 1
        assert not any(sentence in text for sentence in phrases[f"{kind}/{other}"])


# Chat


def ask(*messages: str) -> list[dict[str, str]]:
    roles = itertools.cycle(["user", "assistant"])
    return [{"role": role, "content": content} for role, content in zip(roles, messages, strict=False)]


def test_a_chat_answers_in_pieces_and_the_same_twice(assistant: Assistant) -> None:
    messages = ask("What is wrong?", "It shows lens blur (slight).", "Are you sure?")
    answers = [list(assistant.chat([pixels(0)], messages)) for _ in range(2)]
    assert answers[0] == answers[1]
    assert "".join(answers[0])


def test_the_history_and_the_pictures_matter(fake: Assistant) -> None:
    answers = [
        "".join(fake.chat(images, messages))
        for images, messages in [
            ([pixels(0)], ask("Why?")),
            ([pixels(1)], ask("Why?")),
            ([pixels(0)], ask("Rate it.", "It is good.", "Why?")),
            ([pixels(0)], ask("Rate it.", "It is bad.", "Why?")),
            ([pixels(0), pixels(1)], ask("Why?")),
            ([], ask("Why?")),
        ]
    ]
    assert len(set(answers)) == len(answers)
    assert answers[4].endswith("about 2 pictures.")


@pytest.mark.parametrize(
    "messages",
    [[], ask("Hello", "Hello"), [{"role": "assistant", "content": "Hello"}], [{"role": "system", "content": "Be"}]],
    ids=["none", "answered", "assistant", "system"],
)
def test_a_chat_that_has_nothing_to_answer_is_refused_at_once(
    assistant: Assistant, messages: list[dict[str, str]]
) -> None:
    with pytest.raises(BackendError, match="begins and ends with a message of the user"):
        assistant.chat([pixels(0)], messages)


def test_a_chat_about_what_is_no_picture_is_refused_at_once(fake: Assistant) -> None:
    with pytest.raises(ImageError):
        fake.chat([b"no picture"], ask("Why?"))


# Languages


def test_a_language_the_model_does_not_speak_is_refused(assistant: Assistant) -> None:
    calls: list[Callable[[], object]] = [
        lambda: assistant.score(pixels(0), language="tlh"),
        lambda: list(assistant.score_many([pixels(0)], language="tlh")),
        lambda: assistant.compare(pixels(0), pixels(1), language="tlh"),
    ]
    for call in calls:
        with pytest.raises(BackendError, match="does not answer in 'tlh'; it knows: en"):
            call()


# Results as JSON


def test_results_are_plain_json(assistant: Assistant, folder: Path) -> None:
    results: list[Score | Failure | Comparison] = [
        *assistant.score_many([folder / "0.png", folder / "none.png"]),
        assistant.score(folder / "0.png", reference=folder / "1.png", explain=False),
        assistant.compare(folder / "0.png", folder / "2.png", reference=folder / "4.png"),
        assistant.compare(folder / "0.png", folder / "2.png", explain=False),
    ]
    for result in results:
        assert json.loads(json.dumps(result.to_dict(), allow_nan=False)).keys() == result.to_dict().keys()
        assert str(result)
    first = results[0]
    assert isinstance(first, Score)
    assert first.to_dict()["level"] == first.level


# Loading, and the functions of the module


def test_loading_by_name_and_by_folder(tiny: Assistant, fake: Assistant, tiny_checkpoint: Path) -> None:
    assert isinstance(fake.backend, FakeBackend)
    assert fake.card is None
    assert tiny.backend.name == "tiny 0"
    assert tiny.card == read_card(tiny_checkpoint)


def test_an_unknown_model_is_a_checkpoint_error() -> None:
    with pytest.raises(CheckpointError, match="no model named 'nanno'"):
        Assistant.load("nanno")


def test_any_engine_can_be_wrapped(blank_card: Card) -> None:
    card = blank_card.model_copy(update={"interval": IntervalCard(coverage=0.5, multiplier=0.0, calibrated_on="x")})
    score = Assistant(FakeBackend(), card=card, max_pixels=64 * 64).score(pixels(0, 128, 128), explain=False)
    assert score.interval.low == score.interval.high == score.mos
    assert score.image.judged_width == 64


@pytest.fixture
def _unload() -> Iterator[None]:
    _shared.cache_clear()
    yield
    _shared.cache_clear()


@pytest.mark.usefixtures("_unload")
def test_the_functions_are_the_methods(fake: Assistant) -> None:
    one, two = pixels(0), pixels(1)
    assert mllm_iqa.score_image(one, model="fake") == fake.score(one)
    assert mllm_iqa.score_image(one, reference=two, explain=False, model="fake") == fake.score(
        one, reference=two, explain=False
    )
    assert mllm_iqa.compare_images(one, two, model="fake") == fake.compare(one, two)
    assert mllm_iqa.explain(one, model="fake") == fake.score(one).explanation
    messages = ask("Why?")
    assert list(mllm_iqa.chat([one], messages, model="fake")) == list(fake.chat([one], messages))
    with pytest.raises(BackendError, match="tlh"):
        mllm_iqa.score_image(one, language="tlh", model="fake")


@pytest.mark.usefixtures("_unload")
def test_the_functions_load_a_model_once(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = Assistant.load
    monkeypatch.setattr(Assistant, "load", lambda model, **options: loaded.append(model) or load(model, **options))
    for _ in range(2):
        mllm_iqa.score_image(pixels(0), explain=False, model=str(tiny_checkpoint), device="cpu")
        mllm_iqa.compare_images(pixels(0), pixels(1), explain=False, model=str(tiny_checkpoint), device="cpu")
    assert loaded == [str(tiny_checkpoint)]


# Ranking


def test_a_ranking_holds_every_picture_once(assistant: Assistant) -> None:
    ranking = assistant.rank([pixels(n) for n in range(4)])
    assert sorted(r.index for r in ranking.images) == [0, 1, 2, 3]
    assert [r.rank for r in ranking.images] == [1, 2, 3, 4]
    strengths = [r.strength for r in ranking.images]
    assert strengths == sorted(strengths, reverse=True)
    assert sum(strengths) == pytest.approx(0, abs=1e-9)
    assert all(r.error > 0 for r in ranking.images)
    assert ranking.comparisons == 6
    assert 0 <= ranking.order_flips <= 6
    assert json.loads(json.dumps(ranking.to_dict()))["images"][0]["rank"] == 1
    assert str(ranking).startswith("1. <array> (strength +")


def test_a_ranking_does_not_depend_on_the_order_of_the_pictures(assistant: Assistant) -> None:
    order = [3, 0, 4, 2, 1]
    first = assistant.rank([pixels(n) for n in range(5)])
    second = assistant.rank([pixels(n) for n in order])
    assert [r.index for r in first.images] == [order[r.index] for r in second.images]
    assert [r.strength for r in first.images] == pytest.approx([r.strength for r in second.images], abs=1e-4)
    assert first.order_flips == second.order_flips


def test_two_pictures_rank_as_they_compare(assistant: Assistant) -> None:
    comparison = assistant.compare(pixels(1), pixels(2), explain=False)
    ranking = assistant.rank([pixels(1), pixels(2)])
    p = comparison.probabilities
    assert (ranking.images[0].index == 0) == (p["a"] > p["b"])
    assert ranking.order_flips == comparison.order_flip


def test_the_same_picture_twice_shares_a_rank(assistant: Assistant) -> None:
    ranking = assistant.rank([pixels(1), pixels(2), pixels(1)])
    ranks = {r.index: r.rank for r in ranking.images}
    assert ranks[0] == ranks[2] != ranks[1]


@pytest.mark.parametrize("count", [0, 1, 2001])
def test_too_few_or_too_many_pictures_are_not_ranked(fake: Assistant, count: int) -> None:
    with pytest.raises(ImageError, match=f"a ranking takes 2 to 2000 pictures, got {count}"):
        fake.rank([pixels(n) for n in range(count)])


def test_a_ranking_refuses_what_cannot_be_read(fake: Assistant, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be opened"):
        fake.rank([pixels(0), tmp_path / "none.png"])
    with pytest.raises(ImageError, match="give a list"):
        fake.rank("picture.png")
    with pytest.raises(BackendError, match="does not answer in"):
        fake.rank([pixels(0), pixels(1)], language="xx")
