"""Agreement of predictions with labels: correlation with bootstrap intervals, and simple shares. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import pearsonr, rankdata

_FEWEST_GROUPS = 5


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured number: its value, a 95 % interval, and how many of how many items it rests on."""

    value: float
    low: float
    high: float
    n: int
    total: int

    def to_dict(self) -> dict[str, float | int]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        between = "" if np.isnan(self.low) else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{between} n={self.n}/{self.total}"


def srcc(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Spearman rank correlation, in [-1, 1], with its sign; NaN for fewer than 3 items or a constant input."""
    if len(predicted) < 3 or np.ptp(predicted) == 0 or np.ptp(truth) == 0:
        return float("nan")
    return float(pearsonr(rankdata(predicted), rankdata(truth))[0])


def plcc(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Pearson correlation of the raw predictions, in [-1, 1]; NaN for fewer than 3 items or a constant input."""
    if len(predicted) < 3 or np.ptp(predicted) == 0 or np.ptp(truth) == 0:
        return float("nan")
    return float(pearsonr(predicted, truth)[0])


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    groups: Sequence[str],
    *,
    total: int,
    rounds: int = 1000,
    seed: int = 0,
) -> Figure:
    """A statistic with a percentile-bootstrap 95 % interval, resampling whole groups (e.g. all versions of a source).

    Args:
        statistic: takes indices of the items drawn.
        groups: group of each item.
        total: items asked for, scored or not.
        rounds: resamples.
        seed: of the resampling.

    Returns:
        The figure; rounds in which the statistic is NaN are left out. Without items the value is NaN, and with fewer
        than five groups so is the interval: resampling them says nothing about others.
    """
    if not groups:
        return Figure(float("nan"), float("nan"), float("nan"), 0, total)
    names = np.array(groups)
    members = [np.flatnonzero(names == g) for g in dict.fromkeys(groups)]
    value = statistic(np.arange(len(groups)))
    if len(members) < _FEWEST_GROUPS:
        return Figure(value, float("nan"), float("nan"), len(groups), total)
    rng = np.random.default_rng(seed)
    values = [
        statistic(np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))]))
        for _ in range(rounds)
    ]
    defined = [v for v in values if not np.isnan(v)]
    low, high = np.percentile(defined, [2.5, 97.5]) if defined else (np.nan, np.nan)
    return Figure(value, float(low), float(high), len(groups), total)
