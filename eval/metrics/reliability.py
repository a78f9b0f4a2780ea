"""Does a stated probability come true? Reliability bins and the expected calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers whose stated probability lies in [low, high): how many, their mean probability, the share right."""

    low: float
    high: float
    n: int
    stated: float
    right: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def reliability_bins(stated: Sequence[float], right: Sequence[bool], *, bins: int = 10) -> tuple[Bin, ...]:
    """Equal-width bins over [0, 1] that hold anything; the last one includes 1.

    Raises:
        ValueError: a stated probability outside [0, 1].
    """
    p, hit = np.asarray(stated, dtype=float), np.asarray(right, dtype=float)
    if p.size and (p.min() < 0 or p.max() > 1 + 1e-9):
        raise ValueError(f"stated probabilities must lie in [0, 1], got {p.min()} to {p.max()}")
    place = np.minimum((p * bins).astype(int), bins - 1)
    return tuple(
        Bin(
            i / bins,
            (i + 1) / bins,
            int((place == i).sum()),
            float(p[place == i].mean()),
            float(hit[place == i].mean()),
        )
        for i in range(bins)
        if (place == i).any()
    )


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """Mean gap between stated and true share, weighted by the bins' sizes, in [0, 1]; NaN without answers."""
    total = sum(one.n for one in bins)
    return sum(one.n * abs(one.stated - one.right) for one in bins) / total if total else float("nan")
