"""From a test set to numbers through the command: directions keep their sign, constants are undefined."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mllm_iqa.eval.task import Models, read_spec

from mllm_iqa import Assistant
from mllm_iqa.cli import main


@pytest.fixture
def evaluated(
    monkeypatch: pytest.MonkeyPatch, seeing: Callable[..., Models], rated_set: Path, tmp_path: Path
) -> Callable[[int], dict[str, Any]]:
    """`mllm-iqa eval run assessment` with a model of the given direction; returns its figures by name."""

    def run(sign: int, task: str = "assessment") -> dict[str, Any]:
        monkeypatch.setattr(Assistant, "load", lambda *_, **__: seeing(sign).assistant)
        out = tmp_path / f"{task}{sign}"
        assert main(["eval", "run", task, str(rated_set), "--out", str(out), "--batch-size", "4"]) == 0
        results = json.loads((out / task / "results.json").read_text())
        return {named["name"]: named for section in results["sections"] for named in section["figures"]}

    return run


def test_a_good_predictor(evaluated: Callable[[int], dict[str, Any]]) -> None:
    figures = evaluated(1)
    assert figures["SRCC"]["figure"]["value"] == pytest.approx(1)
    assert figures["PLCC, after a 4-parameter fit"]["figure"]["value"] > 0.99
    assert figures["SRCC"]["figure"]["n"] == figures["SRCC"]["figure"]["total"] == 20


def test_a_reversed_predictor_is_negative(evaluated: Callable[[int], dict[str, Any]]) -> None:
    figures = evaluated(-1)
    assert figures["SRCC"]["figure"]["value"] == pytest.approx(-1)
    assert figures["KRCC"]["figure"]["value"] == pytest.approx(-1)
    assert figures["PLCC, raw"]["figure"]["value"] < -0.9
    for form in ("4-parameter", "5-parameter"):
        fitted = figures[f"PLCC, after a {form} fit"]
        assert fitted["figure"]["value"] is None
        assert "reversed" in fitted["note"]


def test_a_constant_predictor_is_undefined(evaluated: Callable[[int], dict[str, Any]]) -> None:
    figures = evaluated(0)
    for name in ("SRCC", "KRCC", "PLCC, raw", "PLCC, after a 4-parameter fit"):
        assert figures[name]["figure"]["value"] is None, name
    assert figures["RMSE, raw, MOS units"]["figure"]["value"] > 0


def test_good_against_poor_has_a_scale_of_its_own(evaluated: Callable[..., dict[str, Any]]) -> None:
    figures = evaluated(1, "assessment_good_poor")
    assert figures["SRCC"]["figure"]["value"] == pytest.approx(1)
    assert "RMSE, raw, MOS units" not in figures
    assert "not on the MOS scale" in figures["RMSE, after the fit, MOS units"]["note"]


def test_ranking_orders_by_comparison(evaluated: Callable[..., dict[str, Any]]) -> None:
    assert evaluated(1, "ranking")["Kendall's tau per set, by comparisons"]["figure"]["value"] == pytest.approx(1)
    assert evaluated(-1, "ranking")["Kendall's tau per set, by scores"]["figure"]["value"] == pytest.approx(-1)


def test_the_nine_modes_are_measured(evaluated: Callable[..., dict[str, Any]]) -> None:
    figures = evaluated(1, "prompting")
    modes = {name.split(":")[0] for name in figures}
    assert len(modes) == 9
    assert figures["single/reasoning: SRCC over all pictures"]["figure"]["value"] == pytest.approx(1)


def test_a_task_that_needs_a_set_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["eval", "run", "assessment", "--out", str(tmp_path)]) == 2
    assert "needs a test set: mllm-iqa eval run assessment TEST_SET" in capsys.readouterr().err
    assert main(["eval", "run", "asessment", "x"]) == 2
    assert "did you mean assessment?" in capsys.readouterr().err


def test_tasks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "tasks"]) == 0
    assert "perception" in capsys.readouterr().out


def test_photographs_to_report_with_nano_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["eval", "run", "synthetic", "--records", "80", "--limit", "2", "--out", str(out)]
    assert main(command) == 0
    assert str(out / "report.html") in capsys.readouterr().out
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert [task["task"].partition(".")[0] for task in report["tasks"]] == list(read_spec("synthetic").parts)
    assert all(task["n_scored"] == task["n_total"] > 0 for task in report["tasks"])
    assert "<script" not in (out / "report.html").read_text(encoding="utf-8")  # opens anywhere, runs nothing
    before = {path: path.read_bytes() for path in out.rglob("predictions.jsonl")}
    assert main(command) == 0  # everything is there: nothing is asked again, every number comes out the same
    assert {path: path.read_bytes() for path in out.rglob("predictions.jsonl")} == before
    assert json.loads((out / "report.json").read_text(encoding="utf-8")) == report
