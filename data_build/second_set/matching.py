"""What a severity is, carried over to the second implementations: equal mean change of training photographs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..distortions import DISTORTIONS, DQ495K, apply
from ..distortions.ladder import Image, amount_for
from . import MAKERS, Make
from .noise import to_oklab

_HALVINGS = 10
_SEED = 3

Measure = Callable[[Image, Image], float]


def change(image: Image, other: Image) -> float:
    """Root mean square difference of two pictures of one size, in bytes."""
    return float(np.sqrt(np.mean((image.astype(np.float64) - other) ** 2)))


def color_change(image: Image, other: Image) -> float:
    """The same of the opponent axes of Oklab, times 255: gray is gray, however bright a method leaves it."""
    return float(255 * np.sqrt(np.mean((to_oklab(image) - to_oklab(other))[..., 1:] ** 2)))


def _measure(kind: str) -> Measure:
    return color_change if kind in ("desaturation", "oversaturation") else change


def matched_amounts(photographs: Sequence[Image]) -> dict[str, Any]:
    """Amounts at severities 1 .. 5 of every kind, with the changes aimed at and reached.

    Args:
        photographs: undistorted, of training sources.

    Returns:
        "amounts", "aimed" and "reached": kind -> five numbers each; changes (of color alone where that is what a kind
        is about) are means over the photographs, and those aimed at also over the kind's published implementations.
    """
    found: dict[str, Any] = {"photographs": len(photographs), "amounts": {}, "aimed": {}, "reached": {}}
    for kind, (make, mildest, strongest) in MAKERS.items():
        measure = _measure(kind)
        names = [name for name in DQ495K if DISTORTIONS[name].kind == kind]
        aimed = [
            float(np.mean([measure(p, apply(name, p, s, _rng())) for name in names for p in photographs]))
            for s in range(1, 6)
        ]

        def change_at(amount: float, make: Make = make, measure: Measure = measure) -> float:
            return _mean_change(make, photographs, amount, measure)

        amounts = [amount_for(target, change_at, mildest, strongest, halvings=_HALVINGS) for target in aimed]
        found["aimed"][kind] = [round(a, 3) for a in aimed]
        found["amounts"][kind] = [float(f"{a:.4g}") for a in amounts]
        found["reached"][kind] = [round(_mean_change(make, photographs, a, measure), 3) for a in amounts]
    return found


def _mean_change(make: Make, photographs: Sequence[Image], amount: float, measure: Measure) -> float:
    return float(np.mean([measure(p, make(p, amount, _rng())) for p in photographs]))


def _rng() -> np.random.Generator:
    return np.random.default_rng(_SEED)


def write_amounts(photographs: Sequence[Image], out: Path) -> None:
    """Write `matched_amounts` as JSON."""
    out.write_text(json.dumps(matched_amounts(photographs), indent=1) + "\n", encoding="utf-8")
