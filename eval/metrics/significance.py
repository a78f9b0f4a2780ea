"""Is one model better than another on the same pictures? Paired, with whole groups resampled or exchanged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest

Statistic = Callable[[np.ndarray, np.ndarray], float]
"""Takes the answers of one model (N,) and the indices of the items to count (M,)."""


@dataclass(frozen=True, slots=True)
class Difference:
    """First model minus second on the same items.

    Attributes:
        first, second: the statistic of each.
        value: first - second.
        low, high: 95 % interval of the difference (percentile bootstrap over groups).
        p: two-sided p-value of the exchange test: how often exchanging the models' answers in random groups gives a
            difference at least as large.
        n: items that both models answered; total: items asked.
    """

    first: float
    second: float
    value: float
    low: float
    high: float
    p: float
    n: int
    total: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def paired_difference(
    first: np.ndarray,
    second: np.ndarray,
    groups: Sequence[str],
    statistic: Statistic,
    *,
    total: int,
    rounds: int = 1000,
    seed: int = 0,
) -> Difference:
    """Difference of a statistic between two models, its interval and p-value.

    Args:
        first: shape (N,), answers of one model.
        second: shape (N,), answers of the other to the same items in the same order.
        groups: what must be drawn together, one label per item.
        statistic: of one model's answers over the given indices.
        total: items asked for.
        rounds: resamples, and exchanges.
        seed: of both.

    Returns:
        All NaN without items. Rounds in which the statistic is undefined are left out.
    """
    nan = float("nan")
    if not len(first):
        return Difference(nan, nan, nan, nan, nan, nan, 0, total)
    everything = np.arange(len(first))
    a, b = statistic(first, everything), statistic(second, everything)
    names = np.array(groups)
    members = [np.flatnonzero(names == g) for g in dict.fromkeys(groups)]
    rng = np.random.default_rng(seed)
    resampled = []
    for _ in range(rounds):
        drawn = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        resampled.append(statistic(first, drawn) - statistic(second, drawn))
    kept = [value for value in resampled if not np.isnan(value)]
    low, high = np.percentile(kept, [2.5, 97.5]) if kept else (nan, nan)
    exchanged = []
    for _ in range(rounds):
        swap = np.zeros(len(first), dtype=bool)
        for group in members:
            swap[group] = rng.random() < 0.5
        exchanged.append(
            statistic(np.where(swap, second, first), everything) - statistic(np.where(swap, first, second), everything)
        )
    known = np.abs([value for value in exchanged if not np.isnan(value)])
    # The observed arrangement counts as one of them, so that p is never 0.
    p = float((1 + (known >= abs(a - b) - 1e-12).sum()) / (1 + len(known))) if len(known) and a == a and b == b else nan
    return Difference(a, b, a - b, float(low), float(high), p, len(first), total)


def mcnemar(first: Sequence[bool], second: Sequence[bool]) -> float:
    """Exact two-sided McNemar p-value of two models' right and wrong answers; 1 where they never differ."""
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    if only_first + only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)
