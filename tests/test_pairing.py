"""Which pairs are compared next, on fits made by hand, and what a round promises."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mllm_iqa.pairing import gains, next_round
from mllm_iqa.ranking import Strengths


def fitted(strengths: list[float], variance: float = 1.0, tie: float = -30.0) -> Strengths:
    s = np.array(strengths)
    return Strengths(s, np.full(len(s), math.sqrt(variance)), tie, np.eye(len(s)) * variance)


def test_the_gain_is_half_the_log_of_variance_times_information() -> None:
    # Equal strengths, independent, variance 1 each: the difference has variance 2. Ties impossible (t = -30), so the
    # outcome is a coin, whose log odds are the difference: information 1/4. Gain = ln(1 + 2/4) / 2.
    assert gains(fitted([0.0, 0.0]))[0, 1] == pytest.approx(math.log(1.5) / 2, abs=1e-9)
    # With t = 0, win, loss and tie have 1/3 each: information (1/3 + 1/3) / 4 = 1/6.
    assert gains(fitted([0.0, 0.0], tie=0.0))[0, 1] == pytest.approx(math.log(1 + 2 / 6) / 2, abs=1e-9)


def test_near_and_uncertain_pairs_tell_more() -> None:
    gain = gains(fitted([0.0, 0.5, 4.0]))
    assert gain[0, 1] > gain[1, 2] > gain[0, 2] > 0
    assert (gain == gain.T).all() and (np.diag(gain) == 0).all()
    assert gains(fitted([0.0, 0.5], variance=4.0))[0, 1] > gain[0, 1]


def test_a_round_meets_everyone_once_before_anyone_twice() -> None:
    count = 20
    chosen = next_round(gains(fitted([0.0] * count)), np.ones((count, count), dtype=int), at_most=100)
    assert len(chosen) == 10
    assert sorted(i for pair in chosen for i in pair) == list(range(count))


def test_few_items_still_fill_a_round() -> None:
    left = np.full((3, 3), 5)
    chosen = next_round(gains(fitted([0.0, 0.1, 3.0])), left, at_most=100)
    assert len(chosen) == 8
    assert all(i < j for i, j in chosen)
    assert chosen.count((0, 1)) <= 5


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 9), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_a_round_keeps_to_what_is_left_and_to_the_budget(count: int, at_most: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    left = np.triu(rng.integers(0, 3, (count, count)), 1)
    left = left + left.T
    chosen = next_round(gains(fitted(list(rng.normal(size=count)))), left, at_most=at_most)
    assert len(chosen) == min(at_most, np.triu(left).sum(), max(count // 2, 8))
    for pair in set(chosen):
        assert chosen.count(pair) <= left[pair]
