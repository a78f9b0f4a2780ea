"""Where a mask lies: one of nine parts of the picture in words, and a box."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

PARTS: tuple[tuple[str, ...], ...] = (
    ("top left", "top", "top right"),
    ("left", "center", "right"),
    ("bottom left", "bottom", "bottom right"),
)
"""Keys of the prompt `where`, by thirds of the height and of the width."""

ACROSS = ("top band", "middle band", "bottom band")
DOWN = ("left band", "center band", "right band")
DIAGONAL = "diagonal band"
"""Keys of regions that reach from border to border, by thirds of the height, by thirds of the width, and slanted."""

_SPANS = 850  # thousandths of a side


class Region(NamedTuple):
    """A part of a picture: its key in the prompt `where`, [left, top, right, bottom] in thousandths of the sides."""

    words: str
    box: tuple[int, int, int, int]


def describe_region(mask: np.ndarray) -> Region:
    """Which part of the picture a mask is, and the smallest box around it.

    The part is the third of the height and of the width that the center of mass lies in; of a mask that spans nearly
    the whole width or height, the third across; one that spans both is a slanted band.

    Args:
        mask: bool (H, W).

    Raises:
        ValueError: another shape or type, or a mask that is False everywhere.
    """
    if mask.dtype != np.bool_ or mask.ndim != 2:
        raise ValueError(f"a mask must be bool (H, W), got {mask.dtype} {mask.shape}")
    rows, columns = np.nonzero(mask)
    if not len(rows):
        raise ValueError("the mask is empty: there is no region to describe")
    height, width = mask.shape
    vertical = min(2, int((rows.mean() + 0.5) / height * 3))
    horizontal = min(2, int((columns.mean() + 0.5) / width * 3))
    ends = (columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height)
    left, top, right, bottom = (round(1000 * float(end)) for end in ends)
    wide, tall = right - left >= _SPANS, bottom - top >= _SPANS
    if wide or tall:
        words = DIAGONAL if wide and tall else ACROSS[vertical] if wide else DOWN[horizontal]
    else:
        words = PARTS[vertical][horizontal]
    return Region(words, (left, top, right, bottom))
