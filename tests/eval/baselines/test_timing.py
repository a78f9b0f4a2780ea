"""One run that times our model and others: turns, ratios, and that the random-weight models are what they claim."""

import time

import numpy as np
import pytest
import torch
from mllm_iqa.eval.baselines import random_weights, timing
from mllm_iqa.eval.baselines.random_weights import RANDOM_WEIGHTS, qwen
from mllm_iqa.eval.cli import main

from mllm_iqa.backends.fake import FakeBackend


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Pictures shown to a stand-in for a model with random weights that takes 50 ms for each."""
    shown: list[bytes] = []

    def slow(picture: np.ndarray) -> None:
        shown.append(picture.tobytes())
        assert picture.shape == (384, 512, 3) and picture.dtype == np.uint8
        time.sleep(0.05)

    monkeypatch.setitem(RANDOM_WEIGHTS, "slow", ("Slow one", lambda: slow))
    return shown


def test_all_take_turns_on_new_pictures_and_ours_is_the_measure(seen: list[bytes]) -> None:
    ours, explained, slow = timing.time_judges("fake", pictures=4, others=["slow"])
    assert ours.title == f"{FakeBackend.name}, score" and explained.title.endswith("score and explanation")
    assert len(seen) == 5 and len(set(seen)) == 5, "four pictures and one to warm up, each another one"
    assert ours.times_ours == 1
    assert 0.05 <= slow.low <= slow.median <= slow.high < 1
    assert slow.times_ours == pytest.approx(slow.median / ours.median, rel=0.8)


def test_a_name_that_is_none_of_them_is_refused() -> None:
    with pytest.raises(ValueError, match="'nique' is none of niqe, brisque, musiq, clipiqa, qwen"):
        timing.time_judges("fake", others=["nique"])


def test_the_command_prints_a_row_each(
    seen: list[bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(timing, "METRICS", ())
    for name in ("musiq", "clipiqa", "qwen"):
        monkeypatch.delitem(RANDOM_WEIGHTS, name)
    assert main(["baselines", "speed", "--model", "fake", "--pictures", "3"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split("  ")[0] for row in rows[1:]] == [
        f"{FakeBackend.name}, score",
        f"{FakeBackend.name}, score and explanation",
        "Slow one",
    ]


def test_the_large_model_reads_every_part_of_the_picture() -> None:
    ask, rng = qwen(layers=4, depth=1), np.random.default_rng(0)
    picture = rng.integers(0, 256, (70, 100, 3), dtype=np.uint8)
    answer = np.asarray(ask(picture).detach())
    assert answer.shape == (1, 1, 248320)
    changed = picture.copy()
    changed[-8:, -8:] = 255 - changed[-8:, -8:]
    assert np.abs(answer - np.asarray(ask(changed).detach())).max() > 1e-4


@pytest.mark.parametrize("name", ["musiq", "clipiqa"])
def test_the_metrics_run_without_a_download(name: str) -> None:
    pytest.importorskip("pyiqa", reason="needs pip install 'mllm-iqa[baselines]'")
    _, build = random_weights.RANDOM_WEIGHTS[name]
    with torch.inference_mode():
        value = build()(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8))
    assert np.isfinite(np.asarray(value)).all()
