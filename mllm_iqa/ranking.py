"""From comparisons of pairs to one ranking: the Davidson model, by maximum likelihood. Pure functions; no model here.

Sources: Bradley and Terry, Biometrika 39 (1952); Davidson, JASA 65 (1970) 317-328, which adds ties.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

RIDGE = 0.01
"""Precision of the normal prior on every log strength and on the log tie parameter: a standard deviation of 10. So
weak that it moves no estimate noticeably, it keeps the strengths of items that win or lose everything finite."""

SAME_STRENGTH = 1e-6
"""Log strengths that differ by no more share a rank: less is rounding."""

_STEPS = 100


@dataclass(frozen=True, slots=True)
class Strengths:
    """Fitted comparisons.

    Attributes:
        strengths: shape (N,), natural-log strengths with mean 0; larger is better.
        errors: shape (N,), their standard errors.
        tie: natural log of Davidson's tie parameter: 0 when equal items win, lose and tie equally often.
        covariance: shape (N, N), of the strengths; the squares of the errors are its diagonal.
    """

    strengths: np.ndarray
    errors: np.ndarray
    tie: float
    covariance: np.ndarray


def pairs_of(count: int) -> list[tuple[int, int]]:
    """Every pair (i, j), i < j < count, in the order that `fit` expects."""
    return list(combinations(range(count), 2))


def fit(table: np.ndarray, count: int, *, ridge: float = RIDGE) -> Strengths:
    """Log strengths of `count` items from the full table of their pairs; see `fit_pairs`.

    Args:
        table: shape (count * (count - 1) / 2, 3): for the pairs of `pairs_of`, the probabilities that the first is
            better, that the second is, and that they tie; each row sums to 1.
        count: number of items, at least 2.
        ridge: precision of the prior, above 0; see `RIDGE`.
    """
    if count < 2:
        raise ValueError(f"a ranking needs at least 2 items, got {count}")
    pairs = np.array(pairs_of(count))
    if table.shape != (len(pairs), 3):
        raise ValueError(f"the table of {count} items must have shape ({len(pairs)}, 3), got {table.shape}")
    return fit_pairs(pairs, table, count, ridge=ridge)


def fit_pairs(
    pairs: np.ndarray,
    table: np.ndarray,
    count: int,
    *,
    ridge: float = RIDGE,
    prior_mean: np.ndarray | None = None,
    near: Strengths | None = None,
) -> Strengths:
    """Log strengths of `count` items from any comparisons among them, a pair as often as it was compared.

    The Davidson model: P(i better) : P(j better) : P(tie) = e^s_i : e^s_j : e^(t + (s_i + s_j) / 2). A row of the table
    counts as one comparison whose outcome is shared out over the three. The penalised log-likelihood is strictly
    concave, so the result is unique and depends on neither the order of the items nor a starting point.

    Args:
        pairs: shape (P, 2), integer: the two items of each comparison, different ones.
        table: shape (P, 3): the probabilities that the first is better, that the second is, and that they tie; each row
            sums to 1.
        count: number of items, at least 1.
        ridge: precision of the normal prior on the strengths and the log tie parameter, above 0; see `RIDGE`.
        prior_mean: shape (count,), of that prior; None = 0.
        near: a fit of fewer of these comparisons, to begin from: faster, and the same to rounding.

    Returns:
        Strengths with mean 0, and their standard errors: the square roots of the diagonal of the inverse observed
        information (prior included), for strengths held to mean 0.
    """
    pairs = np.asarray(pairs, dtype=np.intp).reshape(-1, 2)
    prior = np.zeros(count + 1) if prior_mean is None else np.append(prior_mean, 0.0)
    precision = np.full(count + 1, ridge)
    x = prior.copy() if near is None else np.append(near.strengths, near.tie)
    value = _loss(x, pairs, table, prior, precision)
    for _ in range(_STEPS):
        gradient, information = _derivatives(x, pairs, table, prior, precision)
        step = cho_solve(cho_factor(information), gradient)
        decrement = float(gradient @ step)
        if decrement < 1e-24:
            break
        size = 1.0
        while _loss(x - size * step, pairs, table, prior, precision) > value - 0.25 * size * decrement and size > 1e-6:
            size /= 2
        x = x - size * step
        value = _loss(x, pairs, table, prior, precision)
    _, information = _derivatives(x, pairs, table, prior, precision)
    whole = cho_solve(cho_factor(information), np.eye(count + 1))[:count, :count]
    middle = whole.mean(axis=0)
    covariance = whole - middle[:, None] - middle[None, :] + middle.mean()
    strengths = x[:count] - x[:count].mean()
    errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return Strengths(strengths, errors, float(x[count]), covariance)


def ranks_of(strengths: np.ndarray) -> tuple[list[int], list[int]]:
    """Positions best first, and the rank (1-based) at each of them; equal strengths share a rank (1, 2, 2, 4)."""
    order = sorted(range(len(strengths)), key=lambda i: (-float(strengths[i]), i))
    ranks: list[int] = []
    for place, i in enumerate(order):
        tied = place > 0 and strengths[order[place - 1]] - strengths[i] <= SAME_STRENGTH
        ranks.append(ranks[-1] if tied else place + 1)
    return order, ranks


_FEATURES = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 1.0]])
"""Row: an outcome (first better, second better, tie); column: what its logit holds of (s_first, s_second, t)."""


def _outcomes(x: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Log-probabilities of the outcomes, shape (P, 3)."""
    logits = _places(x, pairs) @ _FEATURES.T
    top = logits.max(axis=1, keepdims=True) if len(logits) else logits[:, :1]
    return np.asarray(logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True)))


def _places(x: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(s_first, s_second, t) of each comparison, shape (P, 3)."""
    return np.column_stack([x[pairs[:, 0]], x[pairs[:, 1]], np.full(len(pairs), x[-1])])


def _loss(x: np.ndarray, pairs: np.ndarray, table: np.ndarray, prior: np.ndarray, precision: np.ndarray) -> float:
    return float(-(table * _outcomes(x, pairs)).sum() + 0.5 * (precision * (x - prior) ** 2).sum())


def _derivatives(
    x: np.ndarray, pairs: np.ndarray, table: np.ndarray, prior: np.ndarray, precision: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian of the loss; the Hessian is the observed information."""
    size = len(x)
    where = np.column_stack([pairs, np.full(len(pairs), size - 1)])  # columns of the three parameters of a comparison
    q = np.exp(_outcomes(x, pairs))
    gradient = np.bincount(where.ravel(), ((q - table) @ _FEATURES).ravel(), size) + precision * (x - prior)
    mean = q @ _FEATURES
    blocks = np.einsum("ok,po,ol->pkl", _FEATURES, q, _FEATURES) - mean[:, :, None] * mean[:, None, :]
    cells = where[:, :, None] * size + where[:, None, :]
    information = np.bincount(cells.ravel(), blocks.ravel(), size * size).reshape(size, size)
    return gradient, information + np.diag(precision)
