"""Ways to ask, through a model whose answers are known."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from mllm_iqa.eval.asking.locate import parse_box
from mllm_iqa.eval.asking.modes import MANNERS, STIMULI
from mllm_iqa.eval.asking.modes import ask as ask_modes
from mllm_iqa.eval.items import Item
from mllm_iqa.eval.parts import ASKS, load_tasks
from mllm_iqa.eval.predict import header_of
from mllm_iqa.eval.predictions import read_predictions
from mllm_iqa.eval.task import Loaded, Models

from mllm_iqa.answers import Unparsable
from mllm_iqa.assistant import Assistant
from mllm_iqa.images import load_image

Seeing = Callable[..., Models]


def grey(value: int) -> Any:
    return load_image(PIL.Image.new("RGB", (64, 64), (value,) * 3))


def loaded(*values: int, truth: dict[str, Any] | None = None, **ask: Any) -> Loaded:
    return Loaded(Item("x", (), "g", truth or {}, ask), tuple(grey(value) for value in values))


def test_a_better_picture_beats_its_reference(seeing: Seeing) -> None:
    better, worse = ASKS["imperfect"](seeing(), [loaded(100, 200), loaded(200, 100)], {})
    assert (better["winner"], worse["winner"]) == ("a", "b")
    assert better["score"] > better["reference_score"]


def test_a_picture_ties_with_itself(seeing: Seeing) -> None:
    (same,) = ASKS["compare"](seeing(), [loaded(120, 120)], {})
    assert same["winner"] == "tie" and not same["order_flip"]


def test_ranking_by_both_ways(seeing: Seeing) -> None:
    (answer,) = ASKS["rank"](seeing(), [loaded(50, 200, 120)], {})
    for key in ("strengths", "scores"):
        assert sorted(range(3), key=lambda i: -answer[key][i]) == [1, 2, 0]
    assert sum(answer["strengths"]) == pytest.approx(3 / 2)  # every pair gives one win to share


def test_severity_is_read_in_words(seeing: Seeing) -> None:
    (answer,) = ASKS["severity"](seeing(), [loaded(50, kind="gaussian blur")], {})
    assert answer["probabilities"] == pytest.approx([0.2] * 5)
    assert answer["severity"] == 3  # the median of five equals


@pytest.mark.parametrize(
    ("text", "box"),
    [("in the middle, in the box [250, 0, 750, 1000].", (250, 0, 750, 1000)), ("[1,2,3,4]", (1, 2, 3, 4))],
)
def test_a_box_is_read(text: str, box: tuple[int, ...]) -> None:
    assert parse_box(text) == box


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("on the left", "no box"),
        ("[1, 2, 3]", "no box"),
        ("[0, 0, 9, 9] and [1, 1, 2, 2]", "2 boxes"),
        ("[500, 0, 100, 1000]", "is no box"),
        ("[0, 0, 1200, 900]", "is no box"),
    ],
)
def test_anything_else_is_no_box(text: str, reason: str) -> None:
    parsed = parse_box(text)
    assert isinstance(parsed, Unparsable) and reason in parsed.reason


def test_where_gives_a_part_and_says_why_there_is_no_box(seeing: Seeing) -> None:
    (answer,) = ASKS["where"](seeing(), [loaded(50, kind="haze")], {})
    assert answer["problem"] == "no box" and "box" not in answer
    assert answer["probability"] == pytest.approx(1 / 16)


def test_the_explanation_of_a_score_stands_for_a_description() -> None:
    assistant = Assistant.load("fake")
    pictures = [loaded(value, truth={"description": "dark"}) for value in (40, 200)]
    answers = ASKS["explanation"](Models(assistant), pictures, {})
    assert [answer["text"] for answer in answers] == [assistant.score(one.pictures[0]).explanation for one in pictures]


def test_a_judge_is_asked_and_named(seeing: Seeing, tmp_path: Path, predicted: Callable[..., Path]) -> None:
    (without,) = ASKS["describe"](seeing(), [loaded(50, truth={"description": "dark"})], {})
    assert without == {"text": "A."}
    judged = Models(seeing().assistant, seeing(name="judge 7").assistant)
    (answer,) = ASKS["describe"](judged, [loaded(50, truth={"description": "dark"})], {})
    assert answer["marks"] == {aspect: pytest.approx(1.0) for aspect in ("completeness", "preciseness", "relevance")}
    PIL.Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    (tmp_path / "a2.json").write_text(json.dumps([{"img_path": "a.png", "description": "dark"}]))
    (task,) = load_tasks("description")
    predictions = read_predictions(predicted(task, judged, tmp_path / "a2.json"))
    assert predictions.header["judge"] == "judge 7"
    header = header_of(task, judged, task.items(tmp_path / "a2.json"), batch_size=1, thumbnails=False)
    assert header["judge"] == "judge 7"


def test_every_mode_gives_a_strength_per_picture(seeing: Seeing) -> None:
    (answer,) = ask_modes(seeing(), [loaded(50, 200, 120)], {})
    assert set(answer) == {f"{stimulus}/{manner}" for stimulus in STIMULI for manner in MANNERS}
    for mode, strengths in answer.items():
        assert len(strengths) == 3
        if mode.startswith("multiple/"):
            assert sum(strengths) == pytest.approx(1)
        if mode.startswith("single/"):
            assert sorted(range(3), key=lambda i: -strengths[i]) == [1, 2, 0]
