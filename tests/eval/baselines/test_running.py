"""Measuring with several judges, and the figures of a predictions file."""

import json
from pathlib import Path

import numpy as np
import pytest
from mllm_iqa.eval.baselines.figures import markdown, results
from mllm_iqa.eval.baselines.items import Item
from mllm_iqa.eval.baselines.running import Judge, model_judge, run
from mllm_iqa.eval.cli import main

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


def test_an_unfinished_run_holds_a_random_sample_of_every_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = {"large": items(), "small": items()[:2]}
    path = measured(tmp_path / "p", [judge("nr")], sets)
    rows = [json.loads(line)["rows"][0] for line in path.read_text().splitlines()]
    assert sorted((r["set"], r["key"]) for r in rows) == sorted((s, i.key) for s, some in sets.items() for i in some)
    assert [r["key"] for r in rows if r["set"] == "large"] != [i.key for i in items()]
    assert {r["set"] for r in rows[:4]} == {r["set"] for r in rows[4:]} == set(sets)
    path.write_text("\n".join(path.read_text().splitlines()[:4]) + "\n")
    assert {(r.set, r.measured, r.total) for r in results(path)} == {("large", 3, 5), ("small", 1, 2)}
    assert main(["baselines", "figures", str(path)]) == 1
    assert "large: the run is not finished, 3 of 5 pictures so far" in capsys.readouterr().err


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


def test_fitted_plcc_beside_the_raw_one(tmp_path: Path) -> None:
    # The fifth power of the truth rises with it, but not in a line; the fit undoes most of that.
    # A reversed judge gets no rising curve, so that no fit hides its direction.
    curved = Judge("c", "C", "NR", 1, lambda x, y: (float(x.mean()) / 90) ** 5)
    many = [
        Item(str(v), float(v), str(v), lambda v=v: np.full((32, 32, 3), v, np.uint8), None) for v in range(5, 95, 4)
    ]
    found = results(measured(tmp_path / "p", [curved, judge("against", sign=-1)], {"s": many}))
    assert found[0].plcc.value < 0.86 < 0.95 < found[0].plcc_fitted
    assert np.isnan(found[1].plcc_fitted) and "reversed" in found[1].no_fit
    assert "| no fit |" in markdown(found)


def test_times_are_ratios_on_the_same_picture(tmp_path: Path) -> None:
    def row(name: str, kind: str, key: int, ms: float) -> dict[str, object]:
        return {"set": "s", "judge": name, "title": name, "kind": kind, "sign": 1, "key": str(key), "truth": key,
                "group": str(key), "value": float(key), "ms": 7.0, "cpu_ms": ms, "of": 4, "error": None}  # fmt: skip

    # Ratios 2, 2 and 0.5: their median is 2, though both have a median time of 20 ms.
    times = [(10.0, 20.0), (20.0, 40.0), (30.0, 15.0)]
    pictures = [{"rows": [row("nano", "ours", i, a), row("m", "NR", i, b)]} for i, (a, b) in enumerate(times)]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(p) + "\n" for p in pictures))
    ours, metric = results(path)
    assert (ours.times_ours, metric.times_ours, ours.cpu_ms, metric.cpu_ms, metric.ms) == (1, 2, 20, 20, 7)
    assert (metric.n, metric.total) == (3, 4)  # the run has not come to the fourth yet


def test_the_figures_command_needs_the_predictions_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = measured(tmp_path / "predictions.jsonl", [judge("nr")], {"s": items()})
    assert main(["baselines", "figures", str(path)]) == 0
    text = capsys.readouterr().out
    assert "| NR | NR | 1.000" in text and (tmp_path / "table.md").read_text() == text.rstrip("\n") + "\n"
    (stored,) = json.loads((tmp_path / "figures.json").read_text())
    assert stored["n"] == 5 and stored["times_ours"] is None
    with pytest.raises(DataError, match="no such file"):
        main(["baselines", "figures", str(tmp_path / "none")])
    path.write_text("{}\n")
    with pytest.raises(DataError, match="line 1"):
        main(["baselines", "figures", str(path)])
