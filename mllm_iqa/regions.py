"""From what was read in tiles to boxes: which distortion where, how severe, neighbours merged. Pure functions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from .levels import SEVERITIES
from .taxonomy import FAMILIES, FAMILY_OF, KINDS
from .tile_reading import TileReading
from .tiles import Tile, blended
from .types import ImageInfo

THRESHOLD = 0.5
"""Probability of a family from which on a pixel belongs to a region of it."""
_LEAST_TILES = 0.5  # a region smaller than this part of a tile is dropped: it is the rim of a single reading


@dataclass(frozen=True, slots=True)
class Region:
    """One distortion in one part of a picture.

    Attributes:
        kind: a leaf of the taxonomy.
        family: its parent.
        severity: 1 (slight) to 5 (catastrophic), the mean over the part, rounded.
        probability: mean probability of the family over the part, in [0, 1].
        box: (left, top, right, bottom) in pixels of the upright picture; right and bottom are exclusive.
        share: of the picture that the part itself covers, which may be less than its box.
    """

    kind: str
    family: str
    severity: int
    probability: float
    box: tuple[int, int, int, int]
    share: float

    @property
    def severity_word(self) -> str:
        """The severity as one of `levels.SEVERITIES`."""
        return SEVERITIES[self.severity - 1]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "box": list(self.box), "severity_word": self.severity_word}

    def __str__(self) -> str:
        left, top, right, bottom = self.box
        return f"{self.kind} ({self.severity_word}, p={self.probability:.2f}) at {left},{top} to {right},{bottom}"


def regions_of(
    reading: TileReading,
    tiles: tuple[Tile, ...],
    image: ImageInfo,
    *,
    damage: np.ndarray,
    threshold: float = THRESHOLD,
) -> tuple[Region, ...]:
    """Boxes of every distortion, most harmful first: by severity times the share of the picture, then by place.

    The probability of each family is blended into a map of its own; its connected parts above the threshold are the
    regions, as far as the picture is damaged there. A region's kind and severity are those of the tiles in it, weighted
    by that probability.

    Args:
        reading: of the tiles, with `probs` and `severities`.
        tiles: where they lie in the judged picture.
        image: sizes of the judged picture and of the upright one, in whose pixels boxes are given.
        damage: float (H, W) of the judged picture; below a half nothing is a region.
        threshold: see `THRESHOLD`.
    """
    if reading.probs is None or reading.severities is None:
        raise ValueError("regions need readings of distortions")
    height, width = image.judged_height, image.judged_width
    families = family_probs(reading.probs)
    least = _LEAST_TILES * (tiles[0].right - tiles[0].left) * (tiles[0].bottom - tiles[0].top)
    scale = (image.width / width, image.height / height)
    out = []
    for f, family in enumerate(FAMILIES):
        if families[:, f].max() < threshold:
            continue
        values = blended(families[:, f], tiles, height=height, width=width)
        parts, _ = ndimage.label((values >= threshold) & (damage >= 0.5), structure=np.ones((3, 3)))
        for number, span in enumerate(ndimage.find_objects(parts), start=1):
            inside = parts == number
            if inside.sum() < min(least, 0.5 * height * width):
                continue
            weights = np.array([inside[t.top : t.bottom, t.left : t.right].mean() for t in tiles]) * families[:, f]
            kind = _kind(reading.probs, weights, family)
            severity = _severity(reading.severities, weights)
            probability = float(values[inside].mean())
            share = float(inside.mean())
            out.append(Region(kind, family, severity, probability, _box(span, scale), share))
    return tuple(sorted(out, key=lambda r: (-r.severity * r.share, r.box, r.kind)))


def family_probs(probs: np.ndarray) -> np.ndarray:
    """Probabilities of the families, (N, len(FAMILIES)), from those of none and each kind, (N, 1 + len(KINDS))."""
    out = np.zeros((len(probs), len(FAMILIES)))
    for k, kind in enumerate(KINDS):
        out[:, FAMILIES.index(FAMILY_OF[kind])] += probs[:, 1 + k]
    return out


def _kind(probs: np.ndarray, weights: np.ndarray, family: str) -> str:
    sums = {kind: float(weights @ probs[:, 1 + k]) for k, kind in enumerate(KINDS) if FAMILY_OF[kind] == family}
    return max(sums, key=lambda kind: sums[kind])


def _severity(severities: np.ndarray, weights: np.ndarray) -> int:
    """The weighted mean of what was read, over the tiles in which something was named."""
    named = weights * (severities > 0)
    return int(np.clip(np.floor(float(named @ severities) / float(named.sum()) + 0.5), 1, 5)) if named.any() else 1


def _box(span: tuple[slice, slice], scale: tuple[float, float]) -> tuple[int, int, int, int]:
    rows, columns = span
    return (
        round(columns.start * scale[0]),
        round(rows.start * scale[1]),
        round(columns.stop * scale[0]),
        round(rows.stop * scale[1]),
    )
