"""Which pairs to compare next: those that tell most about the order. Pure functions over indices; no model here.

The gain of a comparison is what it is expected to tell about the difference of two strengths, in nats: half the log of
one plus the variance of the difference times the Fisher information of its outcome. Pairs near each other and pairs
little is known of gain most. A round pairs every item at most once before any pair is compared more often, as a Swiss
tournament does.
Source of the idea: Mikhailiuk, Wilmot, Perez-Ortiz, Yue and Mantiuk, "Active sampling for pairwise comparisons via
approximate message passing and information gain maximization", ICPR 2020. The Gaussian approximation of the posterior
is the Davidson fit's own.
"""

from __future__ import annotations

import numpy as np

from .ranking import Strengths

ROUND_AT_LEAST = 8
"""Comparisons of one round, where so many are open: an engine takes several at once."""

GUESS_PRECISION = 0.25
"""Precision of the prior on the strengths while pairs are chosen: a standard deviation of 2. Of all that is reported,
nothing depends on it but the choice."""


def gains(fitted: Strengths) -> np.ndarray:
    """Expected information of comparing each pair once more, in nats; shape (N, N), symmetric, 0 on the diagonal.

    The Fisher information is taken at the difference shrunk towards 0 by what is not known of it (MacKay 1992), so that
    a large but uncertain difference does not pass for settled.
    """
    s, covariance = fitted.strengths, fitted.covariance
    spread = np.diag(covariance)
    variance = np.maximum(spread[:, None] + spread[None, :] - 2 * covariance, 0.0)
    apart = (s[:, None] - s[None, :]) / np.sqrt(1 + np.pi * variance / 8)
    won, lost, tied = np.exp(apart / 2), np.exp(-apart / 2), np.exp(fitted.tie)
    total = won + lost + tied
    information = (won + lost) / total / 4 - ((won - lost) / total / 2) ** 2
    out = 0.5 * np.log1p(variance * np.maximum(information, 0.0))
    np.fill_diagonal(out, 0.0)
    return np.asarray(out)


def next_round(gain: np.ndarray, left: np.ndarray, *, at_most: int) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, of the next round, a pair perhaps several times; empty when nothing is left.

    Args:
        gain: shape (N, N), see `gains`.
        left: shape (N, N), integer: how often each pair can still be compared.
        at_most: length of the result, at least 0.
    """
    count = len(gain)
    size = min(at_most, max(count // 2, ROUND_AT_LEAST))
    first, second = np.triu_indices(count, 1)
    remaining = left[first, second].copy()
    worth = gain[first, second].copy()
    chosen: list[tuple[int, int]] = []
    while len(chosen) < size and (remaining > 0).any():
        candidates = np.flatnonzero(remaining > 0)
        # Stable, so that equal gains go by the items' own order; rounded, so that rounding does not decide.
        order = candidates[np.argsort(-np.round(worth[candidates], 9), kind="stable")]
        free = np.ones(count, dtype=bool)
        for k in order:
            i, j = int(first[k]), int(second[k])
            if free[i] and free[j]:
                free[i] = free[j] = False
                chosen.append((i, j))
                remaining[k] -= 1
                worth[k] /= 2  # the same pair again tells less
                if len(chosen) == size:
                    break
    return chosen
