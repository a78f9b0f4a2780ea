"""Choosing among candidates."""

import math
from pathlib import Path

import numpy as np
import pytest

from mllm_iqa.assistant import Assistant
from mllm_iqa.errors import ConfigError, DataError, ImageError
from mllm_iqa.selection import best_index, best_of, draw_index, sampling_weights

EXAMPLES = Path(__file__).resolve().parents[1] / "mllm_iqa" / "examples"


def test_weights_are_the_softmax_of_mos_over_temperature() -> None:
    # Differences of 0, 0.5 and 1 at temperature 0.5: weights in the ratio 1 : e : e^2.
    e = math.e
    expected = np.array([1, e, e**2]) / (1 + e + e**2)
    assert sampling_weights([2.0, 2.5, 3.0], temperature=0.5) == pytest.approx(expected)
    assert sampling_weights([4.0, 4.5, 5.0], temperature=0.5) == pytest.approx(expected)  # a shift changes nothing


def test_temperature_goes_from_the_best_alone_to_all_alike() -> None:
    assert sampling_weights([1.0, 5.0, 3.0], temperature=1e-6).tolist() == [0, 1, 0]
    assert sampling_weights([1.0, 5.0, 3.0], temperature=1e9) == pytest.approx([1 / 3] * 3)


def test_draws_follow_the_weights() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_index([2.0, 3.0], rng, temperature=1.0) for _ in range(4000)]
    # sigma(1) = 0.731; four standard errors of 4000 draws are 0.028.
    assert np.mean(drawn) == pytest.approx(1 / (1 + math.exp(-1)), abs=0.03)


def test_the_first_of_equals_is_best() -> None:
    assert best_index([3.0, 4.0, 4.0]) == 1


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_temperatures_are_refused(temperature: float) -> None:
    with pytest.raises(ConfigError, match="temperature"):
        sampling_weights([1.0], temperature=temperature)


@pytest.mark.parametrize(
    ("mos", "reason"), [([], "at least one"), ([1.0, float("nan")], "candidate 1"), ([[1.0]], r"\(1, 1\)")]
)
def test_scores_that_cannot_be_compared_are_refused(mos: list[float], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        best_index(mos)


def test_best_of_takes_the_sharp_picture() -> None:
    assistant = Assistant.load("nano", device="cpu")
    choice = best_of([EXAMPLES / "coffee_out_of_focus.jpg", EXAMPLES / "coffee.jpg"], assistant)
    assert choice.index == 1
    assert choice.best.image.name == "coffee.jpg"
    assert choice.margin == pytest.approx(choice.scores[1].mos - choice.scores[0].mos)
    assert choice.margin > 0.5


def test_best_of_refuses_a_broken_candidate(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"candidate 1: .*broken\.jpg"):
        best_of([EXAMPLES / "coffee.jpg", broken], Assistant.load("fake"))
    with pytest.raises(DataError, match="at least one"):
        best_of([], Assistant.load("fake"))
