"""SRCC inside narrow ranges of quality: where fine differences count, overall correlation flatters."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mllm_iqa.agreement import srcc


@dataclass(frozen=True, slots=True)
class RangeSrcc:
    """SRCC of the items whose true MOS lies in [low, high] (the upper end belongs to the last range only)."""

    low: float
    high: float
    srcc: float
    n: int


def srcc_in_ranges(
    predicted: np.ndarray, truth: np.ndarray, *, width: float, low: float = 1.0, high: float = 5.0
) -> tuple[RangeSrcc, ...]:
    """SRCC in adjacent ranges of the true score.

    Args:
        predicted: shape (N,).
        truth: shape (N,).
        width: of a range, in MOS units, > 0.
        low: end of the scale.
        high: other end of the scale.

    Returns:
        Every range, empty ones too; NaN with fewer than 3 items or constant ones.
    """
    if width <= 0:
        raise ValueError(f"the width of a range must be positive, got {width}")
    edges = np.linspace(low, high, max(1, round((high - low) / width)) + 1)
    found = []
    for left, right in pairwise(edges):
        inside = (truth >= left) & ((truth <= right) if right == edges[-1] else (truth < right))
        found.append(RangeSrcc(float(left), float(right), srcc(predicted[inside], truth[inside]), int(inside.sum())))
    return tuple(found)


def weighted_mean(ranges: tuple[RangeSrcc, ...]) -> float:
    """Mean SRCC over the ranges where it is defined, weighted by their sizes; NaN where none is."""
    known = [one for one in ranges if not np.isnan(one.srcc)]
    total = sum(one.n for one in known)
    return sum(one.n * one.srcc for one in known) / total if total else float("nan")
