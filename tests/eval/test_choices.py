"""Multiple choice: the published layouts, a strict parser, accuracy by hand, sensitivity to the order of options."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mllm_iqa.eval.asking.choice import lettered
from mllm_iqa.eval.choice_answers import parse_choice
from mllm_iqa.eval.measures.choices import choices
from mllm_iqa.eval.parts import load_tasks
from mllm_iqa.eval.predictions import read_predictions
from mllm_iqa.eval.reading.qbench import read_choices, read_descriptions
from mllm_iqa.eval.task import Models

from mllm_iqa import Assistant
from mllm_iqa.answers import Unparsable
from mllm_iqa.backends.base import Conversation
from mllm_iqa.errors import DataError
from mllm_iqa.images import load_image

OPTIONS = ["Very blurry", "Slightly blurry", "Sharp"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("B", 1),
        (" B", 1),
        ("B.", 1),
        ("(B)", 1),
        ("B)", 1),
        ("B. Slightly blurry", 1),
        ("(C) Sharp.", 2),
        ("slightly blurry", 1),
        ("Sharp.\n", 2),
    ],
)
def test_letters_and_options_are_read(text: str, place: int) -> None:
    assert parse_choice(text, OPTIONS) == place


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "nothing was said"),
        ("D", "no option D"),
        ("b", "neither"),
        ("The answer is B.", "neither"),
        ("B or C", "neither"),
        ("A. Sharp", "does not go with"),
        ("blurry", "neither"),
        ("Sharp, not blurry", "neither"),
        ("A cat", "neither"),
    ],
)
def test_anything_else_is_unparsable(text: str, reason: str) -> None:
    parsed = parse_choice(text, OPTIONS)
    assert isinstance(parsed, Unparsable) and reason in parsed.reason


def test_the_raw_layout(raw_choices: Path) -> None:
    items = read_choices(raw_choices, {})
    assert [item.truth["right"] for item in items] == [0, 1, 0, 1, 0, 1]
    assert items[1].ask["question"] == "How blurry is this image, number 1?"
    assert items[1].ask["options"] == json.loads(raw_choices.read_text())[1]["candidates"]
    assert load_image(items[1].pictures[0]).info.width == 64


def test_raw_pairs_name_two_pictures(tmp_path: Path) -> None:
    row = {"img_path": ["a.jpg", "b.jpg"], "question": "Which is sharper?", "candidates": ["The first", "The second"]}
    (tmp_path / "pairs.json").write_text(json.dumps([row | {"correct_ans": "The second"}]))
    (item,) = read_choices(tmp_path / "pairs.json", {})
    assert item.pictures == (tmp_path / "a.jpg", tmp_path / "b.jpg")


@pytest.fixture
def hugging_face(tmp_path: Path) -> Path:
    PIL.Image.new("RGB", (64, 64), (90, 20, 20)).save(tmp_path / "x.png")
    image = {"bytes": (tmp_path / "x.png").read_bytes(), "path": None}
    rows = [
        {
            "id": f"q{n}",
            "image": image,
            "question": "Is it noisy?",
            "option0": "Yes",
            "option1": "No",
            "option2": "N/A",
            "option3": "N/A",
            "question_type": n,
            "question_concern": n + 1,
            "correct_choice": "AB"[n % 2],
        }
        for n in range(3)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "dev.parquet")
    return tmp_path / "dev.parquet"


def test_the_hugging_face_layout(hugging_face: Path) -> None:
    items = read_choices(hugging_face, {})
    assert [item.id for item in items] == ["q0", "q1", "q2"]
    assert [item.truth["right"] for item in items] == [0, 1, 0]
    assert items[0].ask["options"] == ["Yes", "No"]  # the padding is no option
    assert [item.tags["type"] for item in items] == ["yes-no", "how", "what"]
    assert [item.tags["concern"] for item in items] == ["global others", "local distortion", "local others"]


def test_hugging_face_pairs(tmp_path: Path) -> None:
    row = {"id": "p", "image1": "a.png", "image2": "b.png", "question": "?", "option0": "x", "option1": "y"}
    (tmp_path / "d.jsonl").write_text(json.dumps(row | {"correct_choice": "B"}) + "\n")
    (item,) = read_choices(tmp_path / "d.jsonl", {})
    assert len(item.pictures) == 2 and item.truth == {"right": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"correct_ans": "Blurred"}, "is none of"),
        ({"candidates": ["Very blurry", "very blurry "], "correct_ans": "Very blurry"}, "different options"),
        ({"question": None}, "no question"),
    ],
)
def test_rows_that_cannot_be_asked_are_refused(raw_choices: Path, change: dict[str, Any], message: str) -> None:
    rows = json.loads(raw_choices.read_text())
    rows[0] |= change
    source = raw_choices.with_name("changed.json")
    source.write_text(json.dumps(rows))
    with pytest.raises(DataError, match=message):
        read_choices(source, {})


def test_descriptions_are_read(tmp_path: Path) -> None:
    (tmp_path / "a2.json").write_text(json.dumps([{"img_path": "a.jpg", "description": "It is noisy."}]))
    (item,) = read_descriptions(tmp_path / "a2.json", {})
    assert item.truth == {"description": "It is noisy."}


def test_options_are_lettered_as_in_q_bench() -> None:
    text = lettered("Is it noisy?", ["Yes", "No"])
    assert text == "Is it noisy?\nA. Yes\nB. No\nAnswer with the option's letter from the given choices directly."


class Liking:
    """Chooses the option called "Yes" wherever it stands, or always the letter A."""

    name, max_pixels, languages = "liking", None, ("en",)

    def __init__(self, likes: str) -> None:
        self.likes = likes

    def continuation_logprobs(self, conversations: Sequence[Conversation], candidates: Sequence[str]) -> np.ndarray:
        rows = []
        for conversation in conversations:
            lines = conversation.turns[0].text.split("\n")
            shown = {line[0]: line[3:] for line in lines if line[1:3] == ". "}
            rows.append([2.0 if self.likes in (c, shown.get(c), c.removesuffix(".")) else 0.0 for c in candidates])
        logits = np.array(rows)
        return np.asarray(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))

    def generate(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> list[str]:
        return ["B", "I think it is A", "A."][: len(conversations)] if len(conversations) > 1 else ["maybe"]

    def stream(self, conversation: Conversation, *, max_new_tokens: int) -> Any:
        raise NotImplementedError


def figures_of(file: Path) -> dict[str, float]:
    section = choices(read_predictions(file).rows, {})
    return {named.name: named.figure.value for named in section.figures}


def test_a_model_that_knows_is_not_moved_by_the_order(predicted: Callable[..., Path], hugging_face: Path) -> None:
    whom = Models(Assistant(Liking("Yes")))
    found = figures_of(predicted(load_tasks("perception")[0], whom, hugging_face))
    # "Yes" is right in two of three questions, whatever the order.
    assert found["accuracy, letter"] == pytest.approx(2 / 3)
    assert found["accuracy, letter, mean over rotations"] == pytest.approx(2 / 3)
    assert found["accuracy, option's words"] == pytest.approx(2 / 3)
    assert found["letter, the answer changes with the order of options"] == 0
    assert found["generated answers that cannot be read"] == 1
    assert found["accuracy, generated"] == 0  # an answer that cannot be read is never a guess
    assert found["chance"] == pytest.approx(1 / 2)


def test_a_model_that_likes_a_letter_is_found_out(predicted: Callable[..., Path], hugging_face: Path) -> None:
    file = predicted(load_tasks("perception")[0], Models(Assistant(Liking("A"))), hugging_face)
    found = figures_of(file)
    assert found["accuracy, letter"] == pytest.approx(2 / 3)  # the right one stands at A twice
    assert found["letter, mean accuracy over rotations"] == pytest.approx(1 / 2)
    assert found["letter, the answer changes with the order of options"] == 1
    letters = next(t for t in choices(read_predictions(file).rows, {}).tables if t.title == "Letters")
    assert letters.rows == (("A", 2, 3), ("B", 1, 0))
