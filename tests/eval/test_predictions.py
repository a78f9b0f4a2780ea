"""Predictions files: interrupted anywhere and resumed equals fresh; doubled, missing and exchanged rows are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mllm_iqa.eval.items import Item, digest
from mllm_iqa.eval.leakage import trained_on
from mllm_iqa.eval.parts import load_tasks
from mllm_iqa.eval.predict import predict
from mllm_iqa.eval.predictions import read_predictions
from mllm_iqa.eval.score import score, score_file
from mllm_iqa.eval.task import Models

from mllm_iqa.errors import DataError

Run = Callable[..., Path]


@pytest.fixture
def whole(predicted: Run, seeing: Callable[..., Models], rated_set: Path) -> Path:
    return predicted(load_tasks("assessment")[0], seeing(), rated_set)


def test_interrupted_at_any_byte_and_resumed_equals_fresh(
    whole: Path, predicted: Run, seeing: Callable[..., Models], rated_set: Path
) -> None:
    fresh = whole.read_bytes()
    ends = [i + 1 for i, byte in enumerate(fresh) if byte == 10]  # after the header and after every row
    assert len(ends) == 21
    for cut in sorted({0, 1, ends[0] - 1, *ends, *(end + 7 for end in ends[:-1]), len(fresh) - 1}):
        whole.write_bytes(fresh[:cut])
        again = predicted(load_tasks("assessment")[0], seeing(), rated_set)
        assert again.read_bytes() == fresh, f"cut at byte {cut}"


def test_what_is_done_is_not_asked_again(
    whole: Path, predicted: Run, seeing: Callable[..., Models], rated_set: Path
) -> None:
    whom = seeing()
    predicted(load_tasks("assessment")[0], whom, rated_set)
    assert whom.assistant.backend.asked == 0
    lines = whole.read_bytes().splitlines(keepends=True)
    whole.write_bytes(b"".join(lines[:10]))  # nine rows: three whole batches of three
    predicted(load_tasks("assessment")[0], whom, rated_set)
    assert whom.assistant.backend.asked == 11


def test_a_stopped_run_holds_whole_rows_and_cannot_be_scored(
    tmp_path: Path, seeing: Callable[..., Models], rated_set: Path
) -> None:
    (task,) = load_tasks("assessment")
    steps = predict(task, seeing(), task.items(rated_set), tmp_path / "p.jsonl", batch_size=3)
    next(steps), next(steps)
    steps.close()
    with pytest.raises(DataError, match=r"3 of 20 items are predicted.*again to finish"):
        read_predictions(tmp_path / "p.jsonl")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], "predicted twice, in lines 3 and 4"),
        (lambda lines: lines[:3] + lines[4:], "19 of 20 items"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "not the items of its header"),
        (lambda lines: [lines[0], lines[1].replace('"mos": 1.0', '"mos": 5.0', 1), *lines[2:]], "not the items"),
        (lambda lines: lines[1:], "first line must be a header"),
        (lambda lines: [lines[0], "{broken", *lines[2:]], "line 2 cannot be read"),
        (lambda lines: [lines[0], json.dumps({"id": "x"}), *lines[2:]], "an answer or an error"),
        (lambda lines: [], "first line must be a header"),
    ],
)
def test_doubled_missing_and_edited_rows_are_refused(
    whole: Path, change: Callable[[list[str]], list[str]], message: str
) -> None:
    lines = whole.read_text().splitlines()
    changed = change(lines)
    assert changed != lines
    whole.write_text("".join(line + "\n" for line in changed))
    with pytest.raises(DataError, match=message):
        read_predictions(whole)


def test_a_file_of_another_model_or_set_is_not_gone_on_with(
    whole: Path, predicted: Run, seeing: Callable[..., Models], rated_set: Path
) -> None:
    (task,) = load_tasks("assessment")
    with pytest.raises(DataError, match="made with model seeing 1, not other 2; name another folder"):
        predicted(task, seeing(name="other 2"), rated_set)
    with pytest.raises(DataError, match="made with batch_size 3, not 4"):
        predicted(task, seeing(), rated_set, batch_size=4)
    with pytest.raises(DataError, match="made with items 20, not 5"):
        for _ in predict(task, seeing(), task.items(rated_set)[:5], whole, batch_size=3, thumbnails=False):
            pass


def test_every_number_comes_from_the_file_alone(whole: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "predictions.jsonl"
    moved.parent.mkdir()
    moved.write_bytes(whole.read_bytes())
    assert score(read_predictions(whole)) == score(read_predictions(moved))
    results = score_file(moved)
    assert json.loads((moved.parent / "results.json").read_text()) == results


def test_a_picture_that_cannot_be_read_is_a_row_with_an_error(
    predicted: Run, seeing: Callable[..., Models], raw_choices: Path, tmp_path: Path
) -> None:
    rows: list[dict[str, Any]] = json.loads(raw_choices.read_text())
    rows[2]["img_path"] = "missing.jpg"
    source = raw_choices.with_name("with_missing.json")
    source.write_text(json.dumps(rows))
    out = predicted(load_tasks("perception")[0], seeing(), source)
    predictions = read_predictions(out)
    assert "missing.jpg" in predictions.rows[2]["error"]
    results = score(predictions)
    assert (results["n_scored"], results["n_total"]) == (5, 6)
    figure = results["sections"][0]["figures"][0]["figure"]
    assert (figure["n"], figure["total"]) == (5, 6)


def test_ids_must_be_unique() -> None:
    with pytest.raises(DataError, match="two items with the id 'x'"):
        digest([Item("x", (), "g", {}), Item("x", (), "g", {})])
    with pytest.raises(DataError, match="nothing that this task asks"):
        digest([])


def test_training_on_the_test_set_is_told_by_name() -> None:
    rows = [{"tags": {"dataset": "koniq10k"}, "group": "koniq10k/1"}, {"tags": {}, "group": "biq2021/ss01-3"}]
    assert trained_on(rows, ["BIQ2021 (research use)", "BSDS500"]) == ["biq2021"]
    assert trained_on(rows, ["KonIQ-10k"]) == ["koniq10k"]
    assert trained_on(rows, []) == []
