"""Maps are strictly monotone in the direction of the scale; conformal intervals keep what they promise."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mllm_iqa.calibration.conformal import jackknife_plus, method_for, needed_for, promise, split_quantile
from mllm_iqa.calibration.maps import KNOTS, SHAPES, map_values

GRID = np.linspace(1, 5, 101)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rising", [True, False])
@given(seed=st.integers(0, 10**6), n=st.integers(5, 60), scale=st.sampled_from([0.01, 1.0, 100.0]))
@settings(max_examples=15, deadline=None)
def test_a_map_is_strictly_monotone_whatever_the_labels(
    shape: str, rising: bool, seed: int, n: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    mos, labels = rng.uniform(1, 5, n), scale * rng.normal(size=n)
    values = map_values(SHAPES[shape](mos, labels, rising=rising), GRID)
    assert np.isfinite(values).all()
    assert (np.diff(values) * (1 if rising else -1) > 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_map_finds_a_line_and_its_reverse(shape: str) -> None:
    mos = np.linspace(1.5, 4.5, 200)
    for sign in (1, -1):
        labels = 50 + sign * 10 * (mos - 3)
        values = map_values(SHAPES[shape](mos, labels, rising=sign > 0), mos[20:-20])
        np.testing.assert_allclose(values, labels[20:-20], atol=0.6)  # the curves bend a little at the ends


def test_a_logistic_is_found_and_a_line_is_not_mistaken_for_it() -> None:
    mos = np.linspace(1, 5, 100)
    labels = 100 / (1 + np.exp(-(mos - 3) / 0.5))
    error = {
        name: np.abs(map_values(fit(mos, labels, rising=True), mos) - labels).max() for name, fit in SHAPES.items()
    }
    assert error["logistic"] < 0.5 < 5 < error["line"]


def test_several_maps_at_once_are_each_of_them() -> None:
    rows = np.stack([KNOTS, 10 - KNOTS, KNOTS**2])
    at = np.array([1.0, 2.2, 5.0])
    np.testing.assert_allclose(map_values(rows, at), [map_values(row, at) for row in rows])


def test_the_quantile_is_the_one_that_counts_the_new_picture() -> None:
    # Nine residuals and 90 %: rank ceil(10 * 0.9) = 9, the largest; eight residuals would need the ninth of eight.
    assert split_quantile(np.arange(9.0), 0.9) == 8.0
    assert math.isinf(split_quantile(np.arange(8.0), 0.9))
    # Nineteen and 80 %: rank ceil(20 * 0.8) = 16.
    assert split_quantile(np.arange(19.0), 0.8) == 15.0
    assert (needed_for(0.9), needed_for(0.8), needed_for(0.95)) == (9, 4, 19)


def test_jackknife_plus_by_hand() -> None:
    # Four labels, 80 %: rank ceil(5 * 0.8) = 4, the outermost. Left-out values 1, 2, 3, 4, all residuals 0.5.
    low, high = jackknife_plus(np.array([[1.0], [2.0], [3.0], [4.0]]), np.full((4, 1), 0.5), 0.8)
    assert (low[0], high[0]) == (0.5, 4.5)
    low, high = jackknife_plus(np.zeros((3, 1)), np.zeros((3, 1)), 0.8)
    assert (low[0], high[0]) == (-math.inf, math.inf)


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_split_conformal_covers_what_it_says_over_many_splits(coverage: float) -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(2000):
        residuals = np.abs(rng.standard_t(3, size=60))
        covered.append((residuals[40:] <= split_quantile(residuals[:40], coverage)).mean())
    assert np.mean(covered) == pytest.approx(math.ceil(41 * coverage) / 41, abs=0.006)  # its exact expectation


def test_what_is_promised_depends_on_method_and_number() -> None:
    assert (method_for(50), method_for(200)) == ("jackknife+", "split conformal")
    assert "at least 80% is proven" in promise("jackknife+", 0.9, 50)
    assert "at least 90%" in promise("split conformal", 0.9, 66)
    assert "8 labels are too few" in promise("jackknife+", 0.9, 8)
