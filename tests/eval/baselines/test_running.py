"""Measuring with several judges, and the figures of a predictions file."""

import json
from pathlib import Path

import numpy as np
import pytest
from mllm_iqa.eval.baselines.items import Item
from mllm_iqa.eval.baselines.running import Judge, markdown, model_judge, results, run

from mllm_iqa.errors import DataError

MADE = {"table": "x"}


def items(*, references: bool = True) -> list[Item]:
    def picture(value: int):
        return lambda: np.full((32, 32, 3), value, np.uint8)

    return [
        Item(str(v), float(v), str(v), picture(v), picture(0) if references else None) for v in (10, 20, 40, 70, 90)
    ]


def judge(name: str, *, kind: str = "NR", sign: int = 1) -> Judge:
    return Judge(name, name.upper(), kind, sign, lambda x, y: float(x.mean()) - (0 if y is None else float(y.mean())))


def measured(out: Path, judges: list[Judge], sets: dict[str, list[Item]]) -> Path:
    list(run(judges, sets, out, made_with=MADE))
    return out


def test_direction_is_taken_into_account(tmp_path: Path) -> None:
    judges = [judge("up"), judge("reversed", sign=-1)]
    up, reversed_ = results(measured(tmp_path / "p", judges, {"s": items()}))
    # Values equal the truth, so that every correlation is 1; a reversed one must stay negative.
    assert (up.srcc.value, up.plcc.value, up.n, up.total) == (pytest.approx(1), pytest.approx(1), 5, 5)
    assert (reversed_.srcc.value, reversed_.plcc.value) == (pytest.approx(-1), pytest.approx(-1))


def test_a_constant_judge_has_no_correlation(tmp_path: Path) -> None:
    constant = Judge("c", "C", "NR", 1, lambda x, y: 1.0)
    (result,) = results(measured(tmp_path / "p", [constant], {"s": items()}))
    assert np.isnan(result.srcc.value) and result.to_dict()["srcc"]["value"] is None
    assert "undefined" in markdown([result])


def test_pictures_without_a_reference_are_not_for_full_reference_metrics(tmp_path: Path) -> None:
    sets = {"with": items(), "without": items(references=False)}
    found = results(measured(tmp_path / "p", [judge("fr", kind="FR"), judge("nr")], sets))
    assert [(r.set, r.judge) for r in found] == [("with", "fr"), ("with", "nr"), ("without", "nr")]


def test_a_picture_that_lacks_a_reference_among_others_is_an_error_row(tmp_path: Path) -> None:
    def compare(x: np.ndarray, y: np.ndarray | None) -> float:
        if y is None:
            raise DataError("there is none")
        return float(x.mean())

    mixed = [*items()[:4], items(references=False)[4]]
    (result,) = results(measured(tmp_path / "p", [Judge("f", "F", "FR", 1, compare)], {"s": mixed}))
    assert (result.n, result.total, result.first_error) == (4, 5, "there is none")


def test_an_interrupted_run_goes_on_to_the_same_result(tmp_path: Path) -> None:
    fresh = measured(tmp_path / "fresh", [judge("nr")], {"s": items()})
    broken = tmp_path / "broken"
    lines = fresh.read_bytes().splitlines(keepends=True)
    broken.write_bytes(b"".join(lines[:2]) + lines[2][:20])
    assert list(run([judge("nr")], {"s": items()}, broken, made_with=MADE)) == [3, 4, 5]

    def values(path: Path) -> list[tuple[str, float]]:
        return [(r["key"], r["value"]) for line in path.read_text().splitlines() for r in json.loads(line)["rows"]]

    assert values(broken) == values(fresh)


def test_rows_of_another_run_are_refused(tmp_path: Path) -> None:
    path = measured(tmp_path / "p", [judge("nr")], {"s": items()})
    with pytest.raises(DataError, match="made with table x, not y"):
        list(run([judge("nr")], {"s": items()}, path, made_with={"table": "y"}))


def test_a_picture_measured_twice_is_refused(tmp_path: Path) -> None:
    path = measured(tmp_path / "p", [judge("nr")], {"s": items()})
    path.write_text(path.read_text() * 2)
    with pytest.raises(DataError, match="more than once"):
        results(path)


def test_what_cannot_be_measured_says_why_and_counts(tmp_path: Path) -> None:
    def bad(x: np.ndarray, y: np.ndarray | None) -> float:
        if x[0, 0, 0] == 20:
            raise RuntimeError("too flat")
        return float(x.mean())

    (result,) = results(measured(tmp_path / "p", [Judge("b", "B", "NR", 1, bad)], {"s": items()}))
    assert (result.n, result.total, result.first_error) == (4, 5, "RuntimeError: too flat")


def test_our_model_is_a_judge() -> None:
    nano = model_judge("nano", device="cpu")
    flat = np.full((64, 64, 3), 128, np.uint8)
    assert nano.kind == "ours" and 1 <= nano.measure(flat, None) <= 5
