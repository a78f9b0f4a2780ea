"""Synthetic training pictures: a clean photograph or a region of one, distorted zero, one or two times, with labels.

Everything is a function of a generator, so a crop is reproducible from its seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mllm_iqa.images import MIN_SIDE, pad_to_multiple
from mllm_iqa.taxonomy import FAMILIES

from .distortions import DISTORTIONS, DQ495K, apply
from .distortions.compatibility import families_compatible, in_order
from .severity import CLEAN_MOS, pseudo_mos
from .variations import vary

SHARE_CLEAN = 0.18
SHARE_COMPOSITE = 0.16
_MARGIN = 16

# Families that are drawn in pairs; `compatibility` says which pairs, and in which order they are applied.
_COMBINED = (
    "brighten",
    "darken",
    "contrast strengthen",
    "contrast weaken",
    "saturate strengthen",
    "saturate weaken",
    "blur",
    "noise",
    "compression",
)


@dataclass(frozen=True, slots=True)
class Labelled:
    """A picture with what is known about it.

    Attributes:
        pixels: uint8 RGB (H, W, 3).
        distortions: (name, severity) in the order applied; severities are real numbers in (0, 5].
        mos: pseudo-MOS on 1..5.
    """

    pixels: np.ndarray
    distortions: tuple[tuple[str, float], ...]
    mos: float

    @property
    def findings(self) -> tuple[tuple[str, int], ...]:
        """(kind, severity 1..5) of each distortion, most harmful first."""
        by_harm = sorted(self.distortions, key=lambda d: pseudo_mos([d]))
        return tuple((DISTORTIONS[name].kind, DISTORTIONS[name].spoken(s)) for name, s in by_harm)


def _draw_name(rng: np.random.Generator, families: tuple[str, ...] = FAMILIES) -> str:
    """A distortion: a family uniformly, then one of its own."""
    family = families[rng.integers(len(families))]
    names = [name for name in DQ495K if DISTORTIONS[name].family == family]
    return names[rng.integers(len(names))]


def draw_distortions(rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    """Zero, one or two of the published distortions, two only where they are compatible.

    The severity of one is uniform in [0.6, 5.5], what lies above 5 taken for 5: each of the five words is then as
    frequent as the others. Those of two are uniform in [0.8, 4.5].
    """
    kind_of_picture = rng.random()
    if kind_of_picture < SHARE_CLEAN:
        return ()
    if kind_of_picture < SHARE_CLEAN + SHARE_COMPOSITE:
        first = _draw_name(rng, _COMBINED)
        others = tuple(f for f in _COMBINED if families_compatible(f, DISTORTIONS[first].family))
        names = in_order([first, _draw_name(rng, others)])
        return tuple((name, float(rng.uniform(0.8, 4.5))) for name in names)
    return ((_draw_name(rng), min(5.0, float(rng.uniform(0.6, 5.5)))),)


def _region(image: np.ndarray, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A random region at native size, or (35 %) of the photograph reduced to 0.5..1 of its size, maybe mirrored."""
    if rng.random() < 0.35:
        scale = rng.uniform(max(0.5, height / image.shape[0], width / image.shape[1]), 1.0)
        size = (max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    top = int(rng.integers(image.shape[0] - height + 1))
    left = int(rng.integers(image.shape[1] - width + 1))
    region = image[top : top + height, left : left + width]
    return np.ascontiguousarray(region[:, ::-1] if rng.random() < 0.5 else region)


def draw_region(image: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """A clean region of `size` plus a margin on every side, for `distort_region`."""
    side = min(size + 2 * _MARGIN, *image.shape[:2])
    return _region(image, side, side, rng)


def _distorted(
    image: np.ndarray, distortions: tuple[tuple[str, float], ...], rng: np.random.Generator, share_varied: float
) -> np.ndarray:
    """Each distortion in turn, by its published implementation or (with that probability) by a variation of it."""
    for name, severity in distortions:
        varied = share_varied > 0 and rng.random() < share_varied
        image = (vary if varied else apply)(name, image, severity, rng)
    return image


def distort_region(
    region: np.ndarray,
    size: int,
    distortions: tuple[tuple[str, float], ...],
    rng: np.random.Generator,
    *,
    share_varied: float = 0.0,
) -> Labelled:
    """Distort a region and cut the middle out of it, so that no border effect of a filter is seen.

    Args:
        region: uint8 RGB, at least `size` on each side (a margin around it is better).
        size: side of the result in pixels.
        distortions: (name, severity) in the order to apply.
        rng: for the distortions and the choice of the cut (mostly aligned to 8 px, as codecs' blocks are).
        share_varied: how many of the distortions are made by code drawn for this picture; see `variations`.
    """
    if min(region.shape[:2]) < size:
        raise ValueError(f"the region must be at least {size} px on each side, got {region.shape[1]}x{region.shape[0]}")
    out = _distorted(region, distortions, rng, share_varied)
    room = min(region.shape[:2]) - size
    offset = room // 2
    if rng.random() < 0.7:
        offset = offset // 8 * 8
    pixels = np.ascontiguousarray(out[offset : offset + size, offset : offset + size])
    return Labelled(pixels, distortions, pseudo_mos(distortions, CLEAN_MOS))


def draw_whole(image: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A clean picture that padding to multiples of 32 brings to `size`: (height, width) less 0 to 31 px per side.

    Args:
        image: uint8 RGB, at least size - 31 on each side.
        size: (height, width), multiples of 32.
        rng: for the sides, the place, and whether the photograph is reduced before.
    """
    low = [max(MIN_SIDE, side - 31) for side in size]
    high = [min(side, have) for side, have in zip(size, image.shape, strict=False)]
    height, width = (int(side) for side in rng.integers(low, high, endpoint=True))
    return _region(image, height, width, rng)


def distort_whole(
    region: np.ndarray,
    distortions: tuple[tuple[str, float], ...],
    rng: np.random.Generator,
    *,
    share_varied: float = 0.0,
) -> Labelled:
    """Distort a whole picture, border effects of filters included, and pad it as a model's intake does."""
    out = _distorted(region, distortions, rng, share_varied)
    return Labelled(pad_to_multiple(out, 32), distortions, pseudo_mos(distortions, CLEAN_MOS))
