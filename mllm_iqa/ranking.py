"""From comparisons of pairs to one ranking: the Davidson model, by maximum likelihood. Pure functions; no model here.

Sources: Bradley and Terry, Biometrika 39 (1952); Davidson, JASA 65 (1970) 317-328, which adds ties.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

RIDGE = 0.01
"""Precision of the normal prior on every log strength and on the log tie parameter: a standard deviation of 10. So
weak that it moves no estimate noticeably, it keeps the strengths of items that win or lose everything finite."""

SAME_STRENGTH = 1e-6
"""Log strengths that differ by no more share a rank: less is rounding."""

_STEPS = 100


@dataclass(frozen=True, slots=True)
class Strengths:
    """A fitted table of pairs.

    Attributes:
        strengths: shape (N,), natural-log strengths with mean 0; larger is better.
        errors: shape (N,), their standard errors.
        tie: natural log of Davidson's tie parameter: 0 when equal items win, lose and tie equally often.
    """

    strengths: np.ndarray
    errors: np.ndarray
    tie: float


def pairs_of(count: int) -> list[tuple[int, int]]:
    """Every pair (i, j), i < j < count, in the order that `fit` expects."""
    return list(combinations(range(count), 2))


def fit(table: np.ndarray, count: int, *, ridge: float = RIDGE) -> Strengths:
    """Log strengths of `count` items from the full table of their pairs.

    The Davidson model: P(i better) : P(j better) : P(tie) = e^s_i : e^s_j : e^(t + (s_i + s_j) / 2). A row of the table
    counts as one comparison whose outcome is shared out over the three. The penalised log-likelihood is strictly
    concave, so the result is unique and depends on neither the order of the items nor a starting point.

    Args:
        table: shape (count * (count - 1) / 2, 3): for the pairs of `pairs_of`, the probabilities that the first is
            better, that the second is, and that they tie; each row sums to 1.
        count: number of items, at least 2.
        ridge: precision of the prior, above 0; see `RIDGE`.

    Returns:
        Strengths with mean 0, and their standard errors: the square roots of the diagonal of the inverse observed
        information (prior included), for strengths held to mean 0.
    """
    pairs = pairs_of(count)
    if count < 2:
        raise ValueError(f"a ranking needs at least 2 items, got {count}")
    if table.shape != (len(pairs), 3):
        raise ValueError(f"the table of {count} items must have shape ({len(pairs)}, 3), got {table.shape}")
    design = _design(pairs, count)
    x = np.zeros(count + 1)
    value = _loss(x, design, table, ridge)
    for _ in range(_STEPS):
        gradient, information = _derivatives(x, design, table, ridge)
        step = np.linalg.solve(information, gradient)
        decrement = float(gradient @ step)
        if decrement < 1e-24:
            break
        size = 1.0
        while _loss(x - size * step, design, table, ridge) > value - 0.25 * size * decrement and size > 1e-6:
            size /= 2
        x = x - size * step
        value = _loss(x, design, table, ridge)
    _, information = _derivatives(x, design, table, ridge)
    centred = np.eye(count) - 1.0 / count
    covariance = centred @ np.linalg.inv(information)[:count, :count] @ centred
    strengths = x[:count] - x[:count].mean()
    return Strengths(strengths, np.sqrt(np.maximum(np.diag(covariance), 0.0)), float(x[count]))


def ranks_of(strengths: np.ndarray) -> tuple[list[int], list[int]]:
    """Positions best first, and the rank (1-based) at each of them; equal strengths share a rank (1, 2, 2, 4)."""
    order = sorted(range(len(strengths)), key=lambda i: (-float(strengths[i]), i))
    ranks: list[int] = []
    for place, i in enumerate(order):
        tied = place > 0 and strengths[order[place - 1]] - strengths[i] <= SAME_STRENGTH
        ranks.append(ranks[-1] if tied else place + 1)
    return order, ranks


def _design(pairs: list[tuple[int, int]], count: int) -> np.ndarray:
    """Shape (P, 3, count + 1): the logits of a pair's three outcomes are design @ (strengths, tie)."""
    design = np.zeros((len(pairs), 3, count + 1))
    for row, (i, j) in enumerate(pairs):
        design[row, 0, i] = design[row, 1, j] = 1.0
        design[row, 2, [i, j]] = 0.5
        design[row, 2, count] = 1.0
    return design


def _outcomes(x: np.ndarray, design: np.ndarray) -> np.ndarray:
    """Log-probabilities of the outcomes, shape (P, 3)."""
    logits = design @ x
    top = logits.max(axis=1, keepdims=True)
    return np.asarray(logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True)))


def _loss(x: np.ndarray, design: np.ndarray, table: np.ndarray, ridge: float) -> float:
    return float(-(table * _outcomes(x, design)).sum() + ridge / 2 * x @ x)


def _derivatives(x: np.ndarray, design: np.ndarray, table: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian of the loss; the Hessian is the observed information."""
    q = np.exp(_outcomes(x, design))
    gradient = np.einsum("pok,po->k", design, q - table) + ridge * x
    mean = np.einsum("pok,po->pk", design, q)
    information = np.einsum("pok,po,pol->kl", design, q, design) - mean.T @ mean
    return gradient, information + ridge * np.eye(len(x))
