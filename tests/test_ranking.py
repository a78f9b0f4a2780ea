"""The Davidson fit against numbers derived by hand, and what a ranking promises whatever the engine."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mllm_iqa.ranking import fit, pairs_of, ranks_of


def davidson_table(strengths: list[float], tie: float) -> np.ndarray:
    """The table that items of these strengths and this tie parameter (not its log) would give."""
    rows = []
    for i, j in pairs_of(len(strengths)):
        weights = np.array([strengths[i], strengths[j], tie * math.sqrt(strengths[i] * strengths[j])])
        rows.append(weights / weights.sum())
    return np.array(rows)


def test_two_items_have_a_closed_form() -> None:
    # Two free parameters meet two free probabilities, so the model fits exactly:
    # s_a - s_b = ln(0.6 / 0.2) = ln 3 and tie = ln(0.2 / sqrt(0.6 * 0.2)).
    found = fit(np.array([[0.6, 0.2, 0.2]]), 2, ridge=1e-10)
    assert found.strengths == pytest.approx([math.log(3) / 2, -math.log(3) / 2], abs=1e-7)
    assert found.tie == pytest.approx(math.log(0.2 / math.sqrt(0.12)), abs=1e-7)
    # One comparison. In d = s_a - s_b and t the logits are (d/2, -d/2, t); their covariance under (0.6, 0.2, 0.2) is
    # [[0.8/4 - 0.2^2, -0.2*0.2], [-0.2*0.2, 0.2*0.8]] = [[0.16, -0.04], [-0.04, 0.16]], whose inverse begins
    # 0.16 / (0.16^2 - 0.04^2) = 0.16 / 0.024 = 20/3 = var(d); each strength is half of d.
    assert found.errors == pytest.approx([math.sqrt(20 / 3) / 2] * 2, rel=1e-6)


def test_a_table_of_the_model_gives_its_strengths_back() -> None:
    # Strengths 4, 2, 1: logs 2 ln 2, ln 2, 0, whose mean is ln 2.
    found = fit(davidson_table([4, 2, 1], 0.5), 3, ridge=1e-10)
    assert found.strengths == pytest.approx([math.log(2), 0, -math.log(2)], abs=1e-7)
    assert found.tie == pytest.approx(math.log(0.5), abs=1e-7)


def test_without_ties_it_is_bradley_and_terry() -> None:
    # Strengths 8 and 1 beside 2: logs 3 ln 2, 0, ln 2, whose mean is 4/3 ln 2.
    found = fit(davidson_table([8, 1, 2], 0.0), 3, ridge=1e-8)
    assert found.strengths == pytest.approx(np.log(2) * np.array([5 / 3, -4 / 3, -1 / 3]), abs=1e-4)


def test_the_default_prior_moves_a_plain_table_little() -> None:
    found = fit(davidson_table([4, 2, 1], 0.5), 3)
    assert found.strengths == pytest.approx([math.log(2), 0, -math.log(2)], abs=0.03)


def test_a_circle_is_a_tie() -> None:
    # a beats b, b beats c, c beats a: (0, 1), (0, 2), (1, 2).
    found = fit(np.array([[1.0, 0, 0], [0, 1.0, 0], [1.0, 0, 0]]), 3)
    assert found.strengths == pytest.approx([0, 0, 0], abs=1e-12)
    assert ranks_of(found.strengths)[1] == [1, 1, 1]


def test_one_that_always_wins_stays_finite() -> None:
    count = 5
    certain = np.array([[1.0, 0.0, 0.0]] * len(pairs_of(count)))
    found = fit(certain, count)
    assert np.isfinite(found.strengths).all()
    assert np.isfinite(found.errors).all()
    assert list(np.argsort(-found.strengths)) == [0, 1, 2, 3, 4]
    assert found.strengths.mean() == pytest.approx(0, abs=1e-12)
    # A hundred times as weak a prior lets the winner run further away.
    assert fit(certain, count, ridge=1e-4).strengths[0] > found.strengths[0] + 1


def test_all_ties_are_equal_strengths() -> None:
    found = fit(np.array([[0.0, 0.0, 1.0]] * 6), 4)
    assert found.strengths == pytest.approx([0] * 4, abs=1e-12)
    assert found.tie > 2


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 7), st.integers(0, 2**32 - 1))
def test_the_order_of_the_items_does_not_matter(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.dirichlet([0.3, 0.3, 0.3], len(pairs_of(count)))
    at = {pair: row for pair, row in zip(pairs_of(count), table, strict=True)}
    order = rng.permutation(count)
    moved = [
        at[order[i], order[j]] if order[i] < order[j] else at[order[j], order[i]][[1, 0, 2]] for i, j in pairs_of(count)
    ]
    straight, turned = fit(table, count), fit(np.array(moved), count)
    assert turned.strengths == pytest.approx(straight.strengths[order], abs=1e-7)
    assert turned.errors == pytest.approx(straight.errors[order], rel=1e-6)
    assert turned.tie == pytest.approx(straight.tie, abs=1e-7)


def test_more_comparisons_give_smaller_errors() -> None:
    few, many = (fit(davidson_table([1.0] * n, 1.0), n).errors[0] for n in (3, 12))
    assert many < few


def test_equal_strengths_share_a_rank() -> None:
    assert ranks_of(np.array([0.0, 2.0, 0.0 + 1e-9, -2.0])) == ([1, 2, 0, 3], [1, 2, 2, 4])


@pytest.mark.parametrize(("shape", "count"), [((0, 3), 1), ((3, 3), 2), ((1, 2), 2)])
def test_a_table_of_another_shape_is_refused(shape: tuple[int, int], count: int) -> None:
    with pytest.raises(ValueError, match=r"ranking needs|must have shape"):
        fit(np.zeros(shape), count)
