"""Shared by all distortions: the severity scale and the way parameters follow it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Image = np.ndarray
"""uint8 RGB of shape (H, W, 3), sides >= 32 px."""


def at(severity: float, values: tuple[float, float, float, float, float, float]) -> float:
    """Parameter at a severity in [0, 5]: piecewise linear through `values`, given at 0 (barely there), 1 .. 5."""
    return float(np.interp(severity, range(6), values))


def to_unit(image: Image) -> np.ndarray:
    """uint8 [0, 255] -> float32 [0, 1], same shape."""
    return image.astype(np.float32) / 255.0


def to_uint8(unit: np.ndarray) -> Image:
    """Float [0, 1] (clipped) -> uint8, rounding to nearest; same shape."""
    return np.asarray(np.rint(np.clip(unit, 0.0, 1.0) * 255.0), dtype=np.uint8)


def amount_for(
    target: float, change_at: Callable[[float], float], mildest: float, strongest: float, *, halvings: int
) -> float:
    """The amount whose change is `target`, by halving on a logarithmic scale; an end where it lies beyond."""
    low, high = np.log(mildest), np.log(strongest)
    for _ in range(halvings):
        middle = (low + high) / 2
        if change_at(float(np.exp(middle))) < target:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))
