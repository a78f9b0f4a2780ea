"""The maths of levels: every expected number is derived beside its assertion."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mllm_iqa.levels import (
    LEVELS,
    SEVERITIES,
    VALUES,
    level_of_mos,
    level_probs,
    mos_of,
    outside_mass,
    soft_label,
    std_of,
    two_level_label,
)

# ln of (8, 4, 2, 1, 1): the softmax divides by 8 + 4 + 2 + 1 + 1 = 16.
LOGPROBS = np.log([8.0, 4.0, 2.0, 1.0, 1.0])
PROBS = np.array([0.5, 0.25, 0.125, 0.0625, 0.0625])


def test_levels_run_from_best_to_worst() -> None:
    assert dict(zip(LEVELS, VALUES.tolist(), strict=True)) == {
        "excellent": 5.0,
        "good": 4.0,
        "fair": 3.0,
        "poor": 2.0,
        "bad": 1.0,
    }
    assert SEVERITIES == ("slight", "moderate", "obvious", "serious", "catastrophic")


def test_the_values_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        VALUES[0] = 1.0


def test_level_probs_is_the_softmax() -> None:
    np.testing.assert_allclose(level_probs(LOGPROBS), PROBS, rtol=1e-15)


def test_level_probs_ignores_a_common_offset_however_large() -> None:
    for offset in (-1e4, -3.5, 1e4):
        np.testing.assert_allclose(level_probs(LOGPROBS + offset), PROBS, rtol=1e-11)


def test_an_impossible_level_has_probability_zero() -> None:
    # e^0 = 1 twice, e^-inf = 0 three times: halves and zeros.
    logprobs = np.array([0.0, -np.inf, 0.0, -np.inf, -np.inf])
    assert level_probs(logprobs).tolist() == [0.5, 0.0, 0.5, 0.0, 0.0]


def test_level_probs_works_row_by_row() -> None:
    rows = np.stack([LOGPROBS, LOGPROBS[::-1], np.zeros(5)])
    np.testing.assert_allclose(level_probs(rows), [PROBS, PROBS[::-1], np.full(5, 0.2)], rtol=1e-15)


@pytest.mark.parametrize("shape", [(4,), (6,), (5, 1), ()])
def test_another_number_of_levels_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        level_probs(np.zeros(shape))


def test_mos_by_hand() -> None:
    # 5 * .5 + 4 * .25 + 3 * .125 + 2 * .0625 + 1 * .0625 = 2.5 + 1 + .375 + .125 + .0625
    assert mos_of(PROBS) == 4.0625


def test_std_by_hand() -> None:
    # E[l^2] = 25 * .5 + 16 * .25 + 9 * .125 + 4 * .0625 + 1 * .0625 = 17.9375; minus 4.0625^2 = 16.50390625
    assert std_of(PROBS) == pytest.approx(math.sqrt(1.43359375), rel=1e-15)


def test_the_extremes_of_mos_and_std() -> None:
    rows = np.eye(5)
    assert mos_of(rows).tolist() == VALUES.tolist()
    assert std_of(rows).tolist() == [0.0] * 5
    # Half at 5 and half at 1 lies 2 away from its mean of 3: the widest there is.
    assert std_of(np.array([0.5, 0, 0, 0, 0.5])) == 2.0


def test_mos_and_std_keep_leading_axes() -> None:
    batch = np.broadcast_to(PROBS, (2, 3, 5))
    assert mos_of(batch).shape == std_of(batch).shape == (2, 3)


def test_outside_mass_by_hand() -> None:
    # 1 - (.4 + .3 + .1 + .05 + .05) = .1; and nothing at all on the five leaves 1.
    rows = np.stack([np.log([0.4, 0.3, 0.1, 0.05, 0.05]), np.full(5, -np.inf)])
    np.testing.assert_allclose(outside_mass(rows), [0.1, 1.0], atol=1e-12)


def test_outside_mass_is_never_negative() -> None:
    # Float32 log-probabilities of a sure model can add up to a little more than 1.
    assert outside_mass(np.log([0.5, 0.5, 1e-6, 1e-6, 1e-6])) == 0.0


@pytest.mark.parametrize(
    ("mos", "level"),
    [
        (5.0, "excellent"),
        (4.5, "excellent"),
        (4.49, "good"),
        (3.5, "good"),
        (3.49, "fair"),
        (2.5, "fair"),
        (2.49, "poor"),
        (1.5, "poor"),
        (1.49, "bad"),
        (1.0, "bad"),
    ],
)
def test_level_of_mos_rounds_halves_to_the_better(mos: float, level: str) -> None:
    assert level_of_mos(mos) == level


@pytest.mark.parametrize("mos", [0.999, 5.001, -1.0, math.nan, math.inf])
def test_a_mos_off_the_scale_is_refused(mos: float) -> None:
    for refuses in (level_of_mos, two_level_label, lambda m: soft_label(m, 0.5)):
        with pytest.raises(ValueError, match=r"must lie in \[1, 5\]"):
            refuses(mos)


@pytest.mark.parametrize("std", [0.0, -0.5, math.nan])
def test_a_spread_that_is_none_is_refused_with_the_alternative(std: float) -> None:
    for mos in (1.0, 3.3):
        with pytest.raises(ValueError, match="two_level_label"):
            soft_label(mos, std)


def test_soft_label_of_the_middle_by_hand() -> None:
    # By symmetry t = 0, so the label is the plain normal mass, with Phi(.5) = .691462 and Phi(1.5) = .933193:
    # fair 2 Phi(.5) - 1 = .382925, good and poor Phi(1.5) - Phi(.5) = .241730, the ends 1 - Phi(1.5) = .066807.
    np.testing.assert_allclose(soft_label(3.0, 1.0), [0.066807, 0.241730, 0.382925, 0.241730, 0.066807], atol=1e-6)


def test_soft_label_between_two_levels_by_hand() -> None:
    # At 3.5 with std .5, good and fair each hold Phi(2) - Phi(0) = .477250, excellent and poor each
    # Phi(4) - Phi(2) = .022718, bad 1 - Phi(4) = .000032. Its mean is 3.5 - .000032 * 1.5 (nothing stands at 6
    # to balance bad: excellent holds all above 4.5, i.e. .022750), so the tilt is almost nothing.
    label = soft_label(3.5, 0.5)
    np.testing.assert_allclose(label, [0.022750, 0.477250, 0.477250, 0.022718, 0.000032], atol=1e-4)


def test_a_vanishing_spread_gives_the_two_neighbours() -> None:
    np.testing.assert_allclose(soft_label(3.7, 0.01), [0, 0.7, 0.3, 0, 0], atol=1e-12)


@pytest.mark.parametrize("mos", [1.2, 2.0, 2.9, 4.4])
@pytest.mark.parametrize("std", [0.4, 0.9, 2.0])
def test_the_label_is_the_normal_mass_times_an_exponential(mos: float, std: float) -> None:
    def below(x: float) -> float:
        return 0.5 * math.erfc(-(x - mos) / std / math.sqrt(2))

    mass = [1 - below(4.5), below(4.5) - below(3.5), below(3.5) - below(2.5), below(2.5) - below(1.5), below(1.5)]
    log_ratio = np.log(soft_label(mos, std)) - np.log(mass)
    # p = mass * exp(t l) / Z: the logarithm of the ratio is a straight line over the levels.
    np.testing.assert_allclose(np.diff(log_ratio, n=2), 0, atol=1e-6)


@settings(max_examples=150, deadline=None)
@given(mos=st.floats(1.0, 5.0), std=st.floats(0.02, 20.0))
def test_soft_label_sums_to_one_and_keeps_the_mean(mos: float, std: float) -> None:
    label = soft_label(mos, std)
    assert label.shape == (5,)
    assert (label >= 0).all()
    assert label.sum() == pytest.approx(1.0, abs=1e-12)
    assert mos_of(label) == pytest.approx(mos, abs=1e-9)


def test_soft_label_keeps_the_mean_on_a_grid() -> None:
    for mos in np.linspace(1, 5, 41):
        for std in (0.05, 0.2, 0.5, 1.0, 3.0):
            label = soft_label(float(mos), std)
            assert label.sum() == pytest.approx(1.0, abs=1e-12)
            assert mos_of(label) == pytest.approx(mos, abs=1e-9), (mos, std)


def test_soft_label_is_one_hot_at_the_ends() -> None:
    assert soft_label(5.0, 0.7).tolist() == [1, 0, 0, 0, 0]
    assert soft_label(1.0, 0.7).tolist() == [0, 0, 0, 0, 1]


def test_soft_label_mirrors() -> None:
    for mos in (1.3, 2.2, 2.75):
        np.testing.assert_allclose(soft_label(6 - mos, 0.6), soft_label(mos, 0.6)[::-1], atol=1e-9)


def test_a_wider_spread_gives_a_wider_label() -> None:
    spreads = [float(std_of(soft_label(3.3, std))) for std in (0.1, 0.3, 0.6, 1.0, 2.0, 4.0)]
    assert all(a < b for a, b in pairwise(spreads)), spreads


def test_two_level_label_by_hand() -> None:
    # 3.7 = .7 * 4 + .3 * 3
    np.testing.assert_allclose(two_level_label(3.7), [0, 0.7, 0.3, 0, 0], atol=1e-15)
    assert two_level_label(2.0).tolist() == [0, 0, 0, 1, 0]


@settings(max_examples=50, deadline=None)
@given(mos=st.floats(1.0, 5.0))
def test_two_level_label_sums_to_one_and_keeps_the_mean(mos: float) -> None:
    label = two_level_label(mos)
    assert label.sum() == pytest.approx(1.0, abs=1e-12)
    assert mos_of(label) == pytest.approx(mos, abs=1e-12)
    assert (label > 0).sum() <= 2
