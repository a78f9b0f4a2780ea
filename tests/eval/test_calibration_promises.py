"""Calibrations over many random splits, from predictions alone: made ones here, nano's where they are."""

import json
from pathlib import Path

import numpy as np
import pytest
from mllm_iqa.eval.calibration import Photos, read_photos, shipped_rule, spread, trials

from mllm_iqa.cli import main
from mllm_iqa.errors import DataError

LIMITS = (0.0, 1.0)


def photos(n: int = 300) -> Photos:
    """A model that is right on average but stretched and shifted, and unsure where it errs."""
    rng = np.random.default_rng(0)
    human, std = rng.uniform(1.5, 4.7, n), rng.uniform(0.4, 1.0, n)
    mos = np.clip(3.3 + 0.6 * (human - 3) + 0.5 * std * rng.normal(size=n), 1, 5)
    return Photos("made", mos, std, human, np.array(["a", "b"] * (n // 2)))


def test_the_shipped_rule_covers_what_it_says() -> None:
    found = spread(shipped_rule(photos(), coverage=0.9, splits=200, seed=0))
    assert found["mean"] == pytest.approx(0.9, abs=0.03)


@pytest.mark.parametrize("labels", [20, 50, 200])
def test_calibrations_cover_what_they_say_and_mend_a_stretched_model(labels: int) -> None:
    found = trials(photos(), labels=labels, limits=LIMITS, stated=True, coverage=0.9, splits=30, seed=0)
    assert np.mean(found["coverage"]) == pytest.approx(0.9, abs=0.03)
    assert np.mean(found["after"]) < np.mean(found["before"])


def test_the_other_direction_gives_the_same_errors() -> None:
    up, down = (
        trials(photos(), labels=50, limits=limits, stated=True, coverage=0.9, splits=3, seed=0)
        for limits in ((0.0, 100.0), (100.0, 0.0))
    )
    np.testing.assert_allclose(up["after"], down["after"], rtol=1e-6)
    np.testing.assert_allclose(up["before"], down["before"], rtol=1e-6)


def test_the_command_reads_predictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "predictions.jsonl"
    with pytest.raises(DataError, match="`mllm-iqa eval heldout` writes it"):
        read_photos(path)
    made = photos(100)
    rows = zip(made.mos, made.std, made.human, made.subset, strict=True)
    path.write_text(
        "".join(
            json.dumps({"set": "photo", "mos": h, "subset": s, "result": {"mos": m, "std": d, "model": "made"}}) + "\n"
            for m, d, h, s in rows
        )
    )
    assert main(["eval", "calibration", str(path), "--splits", "3", "--out", str(tmp_path / "f.json")]) == 0
    assert "shipped interval" in capsys.readouterr().out
    rows_ = json.loads((tmp_path / "f.json").read_text())["rows"]
    assert {row["labels"] for row in rows_} == {20, 50}
