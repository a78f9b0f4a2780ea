"""What a severity is worth to people: pseudo-MOS of synthetic distortions, from human tables.

`severity_mos.csv` holds, for every implementation and published severity, the mean opinion score read off the
human means of KADID-10k (Lin et al., 2019) and TID2013 (Ponomarenko et al., 2015) at the nearest parameter; its
`source` column says which row, and where a value was assigned by analogy because no human table has the type.
The number is a mean over pictures; `content_severity` corrects it for one picture.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import numpy as np

from mllm_iqa.errors import DataError

CLEAN_MOS = 4.6
"""MOS of an undistorted picture: the human mean of KADID's mildest, invisible distortions."""


@cache
def _rows() -> tuple[dict[str, str], ...]:
    text = (files(__package__) / "severity_mos.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


@cache
def human_sources() -> dict[str, str]:
    """The distortions whose row was read off a human table, and which; those assigned by analogy are left out."""
    return {row["distortion"]: row["source"] for row in _rows() if "analogy" not in row["source"]}


@cache
def severity_table() -> dict[str, tuple[float, ...]]:
    """For each distortion name the MOS at severities 0 (clean), 1, 2, 3, 4, 5."""
    return {row["distortion"]: (CLEAN_MOS, *(float(row[f"mos_{s}"]) for s in range(1, 6))) for row in _rows()}


def pseudo_mos(distortions: Sequence[tuple[str, float]], clean_mos: float = CLEAN_MOS) -> float:
    """MOS in [1, 5] of a picture after the given distortions.

    Args:
        distortions: (name, severity in [0, 5]) pairs; empty for a clean picture.
        clean_mos: of the picture before distortion, in [1, 5].

    Returns:
        1 + (clean_mos - 1) times, for each distortion, the share of quality it leaves, (m - 1) / (CLEAN_MOS - 1)
        with m interpolated in the table. Distortions thus combine like independent losses.
    """
    quality = clean_mos - 1.0
    for name, severity in distortions:
        if name not in severity_table():
            raise DataError(f"no human score is known for the distortion {name!r}")
        if not 0 <= severity <= 5:
            raise DataError(f"severity of {name!r} must lie in [0, 5], got {severity}")
        left = np.interp(severity, range(6), severity_table()[name])
        quality *= (float(left) - 1.0) / (CLEAN_MOS - 1.0)
    return 1.0 + quality
