"""Conformal intervals: which residual bounds the next one with a stated probability. Pure functions.

Sources: split conformal as in Lei et al., JASA 2018, theorem 2.2; jackknife+ of Barber et al., Annals of Statistics
2021, theorem 1. Residuals are |label - value| divided by a width that was known before the label.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

Method = Literal["split conformal", "jackknife+"]

SPLIT_FROM = 200
"""Labels from which on a third of them can be spared for residuals alone."""
SPLIT_SHARE = 1 / 3


def method_for(n: int) -> Method:
    """Split conformal where labels are many, jackknife+ where each is needed for the map."""
    return "split conformal" if n >= SPLIT_FROM else "jackknife+"


def promise(method: Method, coverage: float, n: int) -> str:
    """What the interval of a method guarantees for a new picture like the labeled ones, in one sentence."""
    if needed_for(coverage) > n:
        return (
            f"{n} labels are too few for any {coverage:.0%} interval (at least {needed_for(coverage)}); "
            "every interval is the whole scale, or none where its ends are not declared"
        )
    if method == "split conformal":
        return f"holds the score of at least {coverage:.0%} of new pictures like the labeled ones, on average"
    worst = max(0.0, 2 * coverage - 1)
    return (
        f"holds the score of about {coverage:.0%} of new pictures like the labeled ones; "
        f"at least {worst:.0%} is proven, on average"
    )


def needed_for(coverage: float) -> int:
    """Fewest residuals with which a finite interval of a coverage in (0, 1) exists."""
    return math.ceil(coverage / (1 - coverage) - 1e-9)


def split_quantile(residuals: np.ndarray, coverage: float) -> float:
    """The residual that a new one stays below with at least the given probability; inf where there are too few.

    It is the ceil((n + 1) coverage)-th smallest of n.
    """
    rank = math.ceil((len(residuals) + 1) * coverage - 1e-9)
    return math.inf if rank > len(residuals) else float(np.sort(residuals)[rank - 1])


def jackknife_plus(left_out_values: np.ndarray, reach: np.ndarray, coverage: float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends for m new pictures, each of shape (m,); infinite where there are too few labels.

    Args:
        left_out_values: shape (n, m), what the map that was fitted without label i says of each new picture.
        reach: shape (n, m), the residual of label i under that map, times the new picture's width.
        coverage: aimed at; 2 coverage - 1 is guaranteed.
    """
    n, pictures = left_out_values.shape
    rank = math.ceil((n + 1) * coverage - 1e-9)
    if rank > n:
        return np.full(pictures, -math.inf), np.full(pictures, math.inf)
    low = -np.sort(reach - left_out_values, axis=0)[rank - 1]
    return low, np.sort(left_out_values + reach, axis=0)[rank - 1]
