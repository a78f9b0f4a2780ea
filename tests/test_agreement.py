"""Correlations with their sign, ties and degenerate inputs, and the bootstrap over groups."""

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllm_iqa.agreement import Figure, bootstrap, plcc, srcc

Correlation = Callable[[np.ndarray, np.ndarray], float]
BOTH = pytest.mark.parametrize("correlation", [srcc, plcc])


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=float)


@BOTH
def test_a_reversed_predictor_is_negative(correlation: Correlation) -> None:
    truth = array(1, 2, 3, 4, 5)
    assert correlation(truth, truth) == pytest.approx(1)
    assert correlation(6 - truth, truth) == pytest.approx(-1)
    noisy = array(1, 3, 2, 5, 4)
    assert correlation(6 - noisy, truth) == pytest.approx(-correlation(noisy, truth))
    assert correlation(noisy, truth) > 0


def test_srcc_by_hand() -> None:
    # Ranks 2, 1, 4, 3 against 1, 2, 3, 4: 1 - 6 * (1 + 1 + 1 + 1) / (4 * 15) = .6
    assert srcc(array(20, 10, 400, 300), array(1, 2, 3, 4)) == pytest.approx(0.6)


def test_srcc_with_ties_by_hand() -> None:
    # 4, 4, 3, 2, 1 have ranks 4.5, 4.5, 3, 2, 1. Deviations 1.5, 1.5, 0, -1, -2 against -2, -1, 0, 1, 2:
    # -9.5 / sqrt(9.5 * 10) = -.97468. (The formula with squared differences, which ignores ties, gives -.975.)
    assert srcc(array(4, 4, 3, 2, 1), array(1, 2, 3, 4, 5)) == pytest.approx(-9.5 / math.sqrt(95))
    # Ties on both sides at once: ranks 1.5, 1.5, 3 against 1, 2.5, 2.5. Deviations -.5, -.5, 1 and -1, .5, .5:
    # (.5 - .25 + .5) / 1.5 = .5
    assert srcc(array(1, 1, 2), array(1, 2, 2)) == pytest.approx(0.5)


def test_plcc_by_hand() -> None:
    # Deviations -1, -1, 2 against -1, 0, 1: 3 / sqrt(6 * 2) = .8660
    assert plcc(array(1, 1, 4), array(1, 2, 3)) == pytest.approx(3 / math.sqrt(12))


def test_plcc_is_of_the_raw_predictions() -> None:
    # A monotone but crooked predictor: perfect ranks, but no straight line. Nothing is fitted before.
    crooked = array(1, 2, 4, 8, 100)
    truth = array(1, 2, 3, 4, 5)
    assert srcc(crooked, truth) == pytest.approx(1)
    assert plcc(crooked, truth) < 0.8


@given(st.lists(st.integers(-50, 50), min_size=3, max_size=20, unique=True))
def test_ranks_do_not_see_a_monotone_change(values: list[int]) -> None:
    predicted, truth = np.array(values, float), np.arange(len(values), dtype=float)
    expected = srcc(predicted, truth)
    assert -1 - 1e-12 <= expected <= 1 + 1e-12
    assert srcc(np.exp(predicted / 10), truth) == pytest.approx(expected)
    assert srcc(-predicted, truth) == pytest.approx(-expected)
    assert srcc(truth, predicted) == pytest.approx(expected)


@BOTH
@pytest.mark.parametrize(
    ("predicted", "truth"),
    [([], []), ([1], [1]), ([1, 2], [1, 2]), ([3, 3, 3], [1, 2, 3]), ([1, 2, 3], [3, 3, 3])],
    ids=["none", "one", "two", "constant prediction", "constant truth"],
)
def test_a_degenerate_input_is_nan_and_no_number(
    correlation: Correlation, predicted: list[float], truth: list[float]
) -> None:
    assert math.isnan(correlation(array(*predicted), array(*truth)))


# The bootstrap


def test_whole_groups_are_drawn() -> None:
    groups = ["a", "b", "a", "c", "b", "a", "d", "e"]
    members = {"a": {0, 2, 5}, "b": {1, 4}, "c": {3}, "d": {6}, "e": {7}}
    drawn: list[list[int]] = []

    def statistic(indices: np.ndarray) -> float:
        drawn.append(indices.tolist())
        return 0.0

    figure = bootstrap(statistic, groups, total=9, rounds=200)
    assert drawn[0] == list(range(8))  # the value itself is of all items, once each
    assert (figure.n, figure.total) == (8, 9)
    sizes = set()
    for indices in drawn[1:]:
        counts = {i: indices.count(i) for i in range(8)}
        per_group = {name: {counts[i] for i in items} for name, items in members.items()}
        assert all(len(times) == 1 for times in per_group.values()), "a group was torn apart"
        assert sum(times.copy().pop() for times in per_group.values()) == 5  # as many groups as there are
        sizes.add(len(indices))
    assert len(sizes) > 3


def test_the_interval_of_a_share_by_hand() -> None:
    values = np.array([1.0] * 50 + [0.0] * 50)
    figure = bootstrap(lambda i: float(values[i].mean()), [str(n) for n in range(100)], total=100, rounds=4000)
    # Standard error sqrt(.25 / 100) = .05: .5 +- 1.96 * .05
    assert figure.value == 0.5
    assert figure.low == pytest.approx(0.402, abs=0.015)
    assert figure.high == pytest.approx(0.598, abs=0.015)


def test_items_of_one_group_are_worth_one_item() -> None:
    # Ten sources of ten equal items each: standard error sqrt(.25 / 10) = .158, not .05.
    values = np.repeat([1.0, 0.0] * 5, 10)
    groups = [str(n // 10) for n in range(100)]
    figure = bootstrap(lambda i: float(values[i].mean()), groups, total=100, rounds=4000)
    assert figure.low == pytest.approx(0.5 - 1.96 * 0.158, abs=0.05)
    assert figure.high == pytest.approx(0.5 + 1.96 * 0.158, abs=0.05)


def test_few_groups_give_no_interval() -> None:
    values = array(1, 2, 6, 7, 9)
    four = bootstrap(lambda i: float(values[i].mean()), ["a", "b", "c", "d", "d"], total=5)
    assert (four.value, four.n) == (5, 5)
    assert np.isnan([four.low, four.high]).all()
    assert str(four) == "5.000 n=5/5"
    five = bootstrap(lambda i: float(values[i].mean()), ["a", "b", "c", "d", "e"], total=5)
    assert 1 < five.low < 5 < five.high < 9


def test_the_seed_decides() -> None:
    values = np.random.default_rng(0).normal(size=40)

    def run(seed: int) -> Figure:
        names = [str(n) for n in range(40)]
        return bootstrap(lambda i: float(values[i].mean()), names, total=40, seed=seed, rounds=100)

    assert run(3) == run(3)
    assert run(3) != run(4)
    assert run(3).value == run(4).value


def test_rounds_without_a_value_are_left_out() -> None:
    # A third of the resamples lacks the one item that differs, and has no correlation.
    x = array(0, 0, 0, 0, 1)
    figure = bootstrap(lambda i: srcc(x[i], x[i]), ["a", "b", "c", "d", "e"], total=5)
    assert (figure.value, figure.low, figure.high) == (pytest.approx(1), pytest.approx(1), pytest.approx(1))


def test_no_value_at_all_is_nan_without_a_warning() -> None:
    figure = bootstrap(lambda i: float("nan"), ["a", "b", "c", "d", "e"], total=5)
    assert math.isnan(figure.value)
    assert math.isnan(figure.low)
    assert math.isnan(figure.high)


def test_no_items_are_nan_and_counted() -> None:
    figure = bootstrap(lambda i: float(i.sum()), [], total=7)
    assert math.isnan(figure.value)
    assert math.isnan(figure.low)
    assert math.isnan(figure.high)
    assert (figure.n, figure.total) == (0, 7)


def test_a_figure_reads_well_and_is_plain_json() -> None:
    figure = Figure(0.51234, 0.4, 0.61, 98, 100)
    assert str(figure) == "0.512 [0.400, 0.610] n=98/100"
    assert json.loads(json.dumps(figure.to_dict())) == {
        "value": 0.51234,
        "low": 0.4,
        "high": 0.61,
        "n": 98,
        "total": 100,
    }
