"""Rubrics: their form, their maths by hand, and the same promises on engines without a model and with a real one."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mllm_iqa import Assistant, Failure, ImageError, RubricScore, load_rubric
from mllm_iqa.backends.base import Conversation
from mllm_iqa.checkpoints import Card
from mllm_iqa.errors import PromptError
from mllm_iqa.images import load_image
from mllm_iqa.levels import LEVELS
from mllm_iqa.rubric import MAX_RUBRICS, Rubric, judge_by, rubric_of, rubric_score, rubrics_in, shipped_rubrics
from mllm_iqa.rubric_check import check_rubric, unseen_words

PRINT: dict[str, Any] = {
    "task": "print",
    "questions": ["Is it ready for print?"],
    "answer_prefix": "It is",
    "order": "best first",
    "levels": ["ready", "needs work", "unusable"],
}
QUALITY = {
    "task": "five",
    "questions": ["How would you rate the quality of this image?"],
    "answer_prefix": "The quality of the image is",
    "order": "best first",
    "levels": list(LEVELS),
}


def pixels(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def changed(**changes: Any) -> Rubric:
    return rubric_of(PRINT | changes)


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint: Path) -> Assistant:
    return Assistant.load(str(tiny_checkpoint), device="cpu")


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Assistant:
    """A real checkpoint whose tokenizer knows letters alone: every level is many tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent / "train"))
        from tiny_models import qwen3_vl

    folder = tmp_path_factory.mktemp("letters")
    qwen3_vl(folder, words=False)
    return Assistant.load(str(folder), device="cpu")


@pytest.fixture(params=["fake", "tiny", "letters"])
def assistant(request: pytest.FixtureRequest) -> Assistant:
    if request.param == "fake":
        return Assistant.load("fake")
    loaded: Assistant = request.getfixturevalue(request.param)
    return loaded


# Form


def test_values_and_candidates() -> None:
    rubric = changed()
    assert rubric.name == "print.v1"
    assert rubric.candidates == (" ready", " needs work", " unusable")
    assert rubric.scale.tolist() == [3, 2, 1]
    assert changed(order="worst first").scale.tolist() == [1, 2, 3]
    assert changed(values=[0, 2.5, 10]).scale.tolist() == [0, 2.5, 10]  # of a scale on which less is better
    assert changed(answer_prefix="").candidates == ("ready", "needs work", "unusable")
    assert changed(language="zh").candidates == ("ready", "needs work", "unusable")
    assert changed(phrases={"level": [" ({level})"]}).candidates[0] == " (ready)"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"levels": ["one"]}, "levels: Tuple should have at least 2 items"),
        ({"levels": list("abcdefghij")}, "levels: Tuple should have at most 9 items"),
        ({"levels": ["good", "Good"]}, "the level 'good' is there twice"),
        ({"levels": ["good", ""]}, "levels.1: String should have at least 1 character"),
        ({"levels": ["good", " bad"]}, "' bad' begins or ends with a space"),
        ({"answer_prefix": "It is "}, "'It is ' begins or ends with a space"),
        ({"levels": ["good", "<|im_end|>"]}, "the beginning of a special token"),
        ({"questions": ["a\x00b"]}, "control character"),
        ({"questions": ["x" * 501]}, "at most 500 characters"),
        ({"questions": []}, "questions: Tuple should have at least 1 item"),
        ({"values": [1, 2]}, "3 levels have 2 values"),
        ({"values": [1, 3, 2]}, "must rise or fall"),
        ({"values": [1, 1, 2]}, "must rise or fall"),
        ({"values": [1, math.nan, 2]}, "finite number"),
        ({"order": "up"}, "order: Input should be 'best first' or 'worst first'"),
        ({"task": "Print Me"}, "task: String should match pattern"),
        ({"language": "fr"}, "language 'fr'; there are: en, zh"),
        ({"images": 2}, "images: Input should be 1"),
        ({"phrases": {"level": ["{level.__class__}"]}}, "must hold {level} once"),
        ({"phrases": {"level": [" x"]}}, "must hold {level} once"),
        ({"phrases": {"end": ["."]}}, "phrases holds `level` alone"),
        ({"colour": 1}, "colour: Extra inputs"),
    ],
)
def test_what_is_no_rubric_is_one_clear_sentence(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(PromptError) as caught:
        changed(**changes)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_a_rubric_is_a_file_that_reads_back(tmp_path: Path) -> None:
    rubric = changed(values=[2, 1, 0], system="You are a printer.")
    (tmp_path / "print.yaml").write_text(rubric.to_yaml(), encoding="utf-8")
    assert load_rubric(tmp_path / "print.yaml") == rubric
    (tmp_path / "other.yaml").write_text("a: 1\n")
    (tmp_path / "bad.yaml").write_text("questions: [q]\nlevels: [one]\n")
    found = rubrics_in(tmp_path)
    assert found["print.yaml"] == rubric
    assert set(found) == {"print.yaml", "bad.yaml"} and "bad.yaml" in str(found["bad.yaml"])


def test_shipped_rubrics_are_named_as_their_files() -> None:
    shipped = shipped_rubrics()
    assert {"print_readiness.v1", "quality_three.v1", "sharpness.v1", "sharpness.v1.zh"} <= set(shipped)
    for name, rubric in shipped.items():
        assert name == rubric.name + ("" if rubric.language == "en" else f".{rubric.language}")
        assert rubric_of(rubric.model_dump()) == rubric
    assert load_rubric("sharpness") == shipped["sharpness.v1"]
    assert shipped["sharpness.v1"].scale.tolist() == shipped["sharpness.v1.zh"].scale.tolist()
    with pytest.raises(PromptError, match=r"no rubric named 'sharpnes'.*shipped: .*sharpness\.v1"):
        load_rubric("sharpnes")


# Maths


def test_the_numbers_by_hand() -> None:
    # Of everything the model could say, 0.4 is "ready", 0.3 "needs work", 0.1 "unusable", and 0.2 something else. Given
    # a level: 0.5, 0.375, 0.125; on 3, 2, 1 that is 1.5 + 0.75 + 0.125 = 2.375, with variance 0.5 * 0.390625 +
    # 0.375 * 0.140625 + 0.125 * 1.890625 = 0.484375.
    score = rubric_score(changed(), np.log([0.4, 0.3, 0.1]), load_image(pixels(0)), model="m")
    assert list(score.probabilities.values()) == pytest.approx([0.5, 0.375, 0.125])
    assert (score.level, score.value) == ("ready", pytest.approx(2.375))
    assert score.std == pytest.approx(math.sqrt(0.484375))
    assert score.outside_mass == pytest.approx(0.2)
    bits = -(0.5 * math.log(0.5) + 0.375 * math.log(0.375) + 0.125 * math.log(0.125))
    assert score.entropy == pytest.approx(bits / math.log(3))
    assert score.scale == (1.0, 3.0)


def test_certainty_and_ignorance() -> None:
    sure = rubric_score(changed(), np.array([0.0, -800.0, -800.0]), load_image(pixels(0)), model="m")
    assert (sure.entropy, sure.std, sure.value, sure.outside_mass) == (0, 0, 3, 0)
    blank = rubric_score(changed(), np.log([0.1, 0.1, 0.1]), load_image(pixels(0)), model="m")
    assert blank.entropy == pytest.approx(1)
    assert "0.70 of the answer is no level" in str(blank)
    assert json.loads(json.dumps(blank.to_dict(), allow_nan=False))["scale"] == [1.0, 3.0]


# With engines


def test_a_rubric_of_the_five_levels_is_the_score(assistant: Assistant) -> None:
    score = assistant.score(pixels(0), explain=False)
    (result,) = assistant.score_by(pixels(0), rubric_of(QUALITY))
    assert list(result.probabilities.values()) == pytest.approx(list((score.levels or {}).values()), abs=1e-4)
    assert result.value == pytest.approx(score.mos, abs=1e-3)
    assert result.outside_mass == pytest.approx(score.outside_mass, abs=1e-4)


def test_several_rubrics_are_as_if_alone_and_in_their_order(assistant: Assistant) -> None:
    rubrics = [changed(), rubric_of(QUALITY), load_rubric("sharpness")]
    together = assistant.score_by(pixels(0), *rubrics)
    assert [one.rubric for one in together] == ["print.v1", "five.v1", "sharpness.v1"]
    for rubric, one in zip(rubrics, together, strict=True):
        assert 0 <= one.outside_mass <= 1 and sum(one.probabilities.values()) == pytest.approx(1)
        (alone,) = assistant.score_by(pixels(0), rubric)
        assert alone.value == pytest.approx(one.value, abs=1e-3)
    swapped = assistant.score_by(pixels(0), *rubrics[::-1])
    assert [one.value for one in swapped[::-1]] == pytest.approx([one.value for one in together], abs=1e-3)


def test_a_batch_changes_nothing_and_a_failure_stays_in_its_place(assistant: Assistant) -> None:
    images: list[Any] = [pixels(0), b"no picture", pixels(1, 64), pixels(2)]
    results = list(assistant.score_many_by(images, [changed()], batch_size=3))
    assert isinstance(results[1], Failure)
    for image, result in zip(images, results, strict=True):
        if isinstance(result, tuple):
            (alone,) = assistant.score_by(image, changed())
            assert result[0].value == pytest.approx(alone.value, abs=1e-3)
            assert result[0].level == alone.level


def test_the_order_of_the_levels_turns_the_scale_and_nothing_else(assistant: Assistant) -> None:
    (one,) = assistant.score_by(pixels(0), changed())
    (other,) = assistant.score_by(pixels(0), changed(levels=PRINT["levels"][::-1], order="worst first"))
    assert other.value == pytest.approx(one.value, abs=1e-4)
    assert other.probabilities == pytest.approx(one.probabilities, abs=1e-4)


def test_a_picture_is_encoded_once_for_all_rubrics(tiny: Assistant) -> None:
    encoded: list[int] = []
    image = pixels(77)
    visual: Any = tiny.backend.model.model.visual  # type: ignore[attr-defined]
    hook = visual.register_forward_hook(lambda *_: encoded.append(1))
    try:
        tiny.score_by(image, changed(), rubric_of(QUALITY), load_rubric("sharpness"))
    finally:
        hook.remove()
    assert len(encoded) == 1


def test_words_that_the_tokenizer_does_not_keep_apart(assistant: Assistant) -> None:
    rubric = changed(levels=["ready", "ready for print"])
    if assistant.backend.name == "FAKE":
        assert len(assistant.score_by(pixels(0), rubric)) == 1  # no tokenizer, no trouble
        return
    with pytest.raises(PromptError, match=r"rubric print\.v1 does not suit .*' ?ready' .*begins ' ?ready for print'"):
        assistant.score_by(pixels(0), rubric)


def test_bad_calls(assistant: Assistant) -> None:
    with pytest.raises(PromptError, match=r"two rubrics are called 'print\.v1'"):
        assistant.score_by(pixels(0), changed(), changed())
    with pytest.raises(PromptError, match="give 1 to 16 rubrics, got 0"):
        assistant.score_by(pixels(0))
    many = [changed(version=i + 1) for i in range(MAX_RUBRICS + 1)]
    with pytest.raises(PromptError, match="got 17"):
        assistant.score_by(pixels(0), *many)
    with pytest.raises(PromptError, match="a list of rubrics"):
        assistant.score_many_by([pixels(0)], "sharpness")
    with pytest.raises(ImageError):
        assistant.score_by(b"", changed())


# The check


class Stubborn:
    """An engine that says the same whatever it sees, and hardly a level."""

    name = "stubborn"
    max_pixels: int | None = None
    languages = ("en",)

    def continuation_logprobs(self, conversations: Sequence[Conversation], candidates: Sequence[str]) -> np.ndarray:
        return np.log(np.full((len(conversations), len(candidates)), 0.01))


def test_an_answer_that_does_not_look_at_the_picture_is_told() -> None:
    check = check_rubric(changed(), Stubborn())  # type: ignore[arg-type]
    assert check.sound and check.words[0].tokens is None
    assert any("answers alike" in warning for warning in check.warnings)
    assert any("0.97 of its answer on other words" in warning for warning in check.warnings)
    assert check.trial[0].image.name == "plain grey" and len(check.trial) == 4


def test_the_check_says_which_words_nano_never_saw() -> None:
    nano = Assistant.load("nano", device="cpu")
    check = check_rubric(changed(), nano.backend, card=nano.card)
    assert check.sound
    (unseen,) = [warning for warning in check.warnings if "learned the words of its own prompts alone" in warning]
    assert "unusable" in unseen and "larger model" in unseen
    own = check_rubric(rubric_of(QUALITY), nano.backend, card=nano.card)
    assert own.warnings == () and own.faults == ()
    assert all(word.tokens is not None and len(word.tokens) == 1 and word.own_start for word in own.words)
    json.dumps(own.to_dict(), allow_nan=False)


def test_only_a_model_from_scratch_is_told_of_unseen_words(blank_card: Card) -> None:
    scratch = blank_card.model_copy(update={"prompts": ("rate.v1",)})
    assert "unusable" in unseen_words(changed(), scratch)
    assert unseen_words(changed(), scratch.model_copy(update={"base_model": "some/base"})) == []
    assert unseen_words(changed(), None) == []


def test_the_check_shows_pieces_and_faults(letters: Assistant) -> None:
    check = check_rubric(changed(), letters.backend)
    assert [len(word.tokens or ()) for word in check.words] == [6, 11, 9]
    assert any("many pieces" in warning for warning in check.warnings)
    assert not check.words[0].own_start  # each begins with the space
    bad = check_rubric(changed(levels=["ready", "ready for print"]), letters.backend)
    assert not bad.sound and bad.trial == () and "choose another word" in bad.faults[0]


def test_an_empty_list_of_pictures_is_an_empty_list(assistant: Assistant) -> None:
    assert judge_by(assistant.backend, [], [changed()]) == []
    assert list(assistant.score_many_by([], [changed()])) == []


def test_results_name_their_picture(assistant: Assistant) -> None:
    (one,) = assistant.score_by(pixels(0), changed(), name="holiday")
    assert isinstance(one, RubricScore) and one.image.name == "holiday" and one.model == assistant.backend.name
