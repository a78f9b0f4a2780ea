"""Doubtful pictures, thresholds from one half, rates on the other, runs that go on, and the whole command."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mllm_iqa.eval.trust.fit import abstention, fit, halves, rates
from mllm_iqa.eval.trust.pictures import KINDS, doubtful
from mllm_iqa.eval.trust.predict import jobs_of, predict, read_rows
from PIL import Image

from mllm_iqa import Assistant
from mllm_iqa.cli import main
from mllm_iqa.errors import DataError


@pytest.mark.parametrize("kind", KINDS)
def test_a_doubtful_picture_follows_from_its_seed_and_can_be_judged(kind: str) -> None:
    one, same, other = (doubtful(kind, np.random.default_rng([s, 0])) for s in (1, 1, 2))
    assert one.dtype == np.uint8 and one.ndim == 3 and one.shape[2] == 3
    assert min(one.shape[:2]) >= 32 and max(one.shape[:2]) <= 512
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_half_of_the_flat_frames_are_black() -> None:
    black = [not doubtful("flat frame", np.random.default_rng([0, i])).any() for i in range(200)]
    assert 0.4 < np.mean(black) < 0.6


def row(set_: str, source: str, *, human: float | None, good: float, distance: float) -> dict[str, Any]:
    """One row of a predictions file: the probability of "good", the rest on "fair", and a feature off the center."""
    rng = np.random.default_rng(int(source))
    probs = np.array([1e-6, good, 1 - good, 1e-6, 1e-6])
    features = np.stack([rng.normal(size=24) + distance, np.ones(24)])
    return {
        "set": set_,
        "source": source,
        "subset": "",
        "human": human,
        "logprobs": np.log(0.99 * probs / probs.sum()).tolist(),
        "mos_by_question": [3 + good, 3 + good],
        "features": features.tolist(),
        "made_with": {"model": "by hand", "weights": "w"},
    }


def rows() -> list[dict[str, Any]]:
    """Photographs whose error grows with the entropy of their levels, and noise far from all of them."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(200):
        doubt = rng.uniform(0.01, 0.5)
        human = 4 - doubt + 3 * doubt * rng.choice([-1, 1])
        found.append(row("photo", str(i), human=float(human), good=1 - doubt, distance=0.0))
    return found + [row("pure noise", str(1000 + i), human=None, good=0.9, distance=9.0) for i in range(20)]


def test_thresholds_come_from_one_half_and_rates_from_the_other() -> None:
    parts = halves(rows())
    assert not {r["source"] for r in parts.fitted} & {r["source"] for r in parts.measured}
    limits = fit(parts.fitted)
    found = rates(parts, limits, thorough=False)
    assert found["photo"].value < 0.2 and found["photo"].n == 100
    assert found["pure noise"].value == 1.0 and found["pure noise"].n == 20
    assert limits == fit(parts.fitted)
    with pytest.raises(DataError, match="at least 40 photographs, got 10"):
        halves(rows()[:10])


def test_abstention_keeps_the_better_ones_and_nothing_beats_the_error_itself() -> None:
    parts = halves(rows())
    curves = abstention(parts.measured, fit(parts.fitted))
    assert len({round(values[0], 9) for values in curves.values()}) == 1  # all are kept
    assert curves["level entropy"][-1] < 0.7 * curves["level entropy"][0]
    assert all(best <= v + 1e-12 for c in curves.values() for best, v in zip(curves["error itself"], c, strict=True))


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """photos.parquet of 44 validation photographs and one of training."""
    table = []
    for i in range(45):
        path = tmp_path / f"{i}.png"
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
        split = "train" if i == 0 else "val"
        table.append({"path": str(path), "mos": 1 + i / 12, "subset": "a", "split": split})
    pq.write_table(pa.Table.from_pylist(table), tmp_path / "photos.parquet")
    return tmp_path / "photos.parquet"


def test_an_interrupted_run_goes_on_to_the_same_file(bank: Path, tmp_path: Path) -> None:
    fake, jobs = Assistant.load("fake"), jobs_of(bank, each=2, seed=1)
    assert [job.set for job in jobs].count("photo") == 44 and len(jobs) == 44 + 2 * len(KINDS)
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    assert list(predict(fake, jobs, whole))[-1] == len(jobs)
    broken.write_bytes(whole.read_bytes()[:5000])  # in the middle of a row
    list(predict(fake, jobs, broken))
    assert broken.read_bytes() == whole.read_bytes()
    first = json.loads(whole.read_text().splitlines()[0])
    whole.write_text(json.dumps({**first, "made_with": {"model": "other", "weights": ""}}) + "\n")
    with pytest.raises(DataError, match="made with another model"):
        list(predict(fake, jobs, whole))


def test_the_command(bank: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["eval", "trust", str(bank), str(out), "--model", "fake", "--each", "2"]) == 0
    said = capsys.readouterr().out
    assert "pure noise" in said and "level entropy: usual below" in said
    figures = json.loads((out / "figures.json").read_text())
    assert figures["flagged"]["photo"]["total"] == 22
    assert (out / "abstention.svg").read_text().startswith("<?xml")
    assert len(read_rows(out / "predictions.jsonl")) == 44 + 2 * len(KINDS)
