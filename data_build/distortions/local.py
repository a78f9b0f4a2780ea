"""Damage to a part of a picture: a distortion inside a random region with soft borders, and the mask of it.

Most distortions can befall a part: a spot out of focus, a noisy shadow, a badly coded patch. Those that are a matter of
the whole frame, because they grow with the distance to its center, cannot.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from . import DISTORTIONS, apply
from .ladder import Image

LOCAL: tuple[str, ...] = tuple(
    name for name in DISTORTIONS if name not in ("blur.zoom_blur", "lens.chromatic_aberration", "lens.vignetting")
)
"""Names of the distortions that have a local version."""

SHARE = (0.05, 0.40)
"""Bounds of a region's share of the picture."""

_MIDDLES = (-0.15, 1.15)
"""Bounds of where a region's middle lies, as shares of height and width: so far out that every place of a picture is as
likely to be damaged as any other (0.20 in the corners, 0.21 in the middle, over 400 regions)."""

_GAP = 25
_POINTS = 7


@dataclass(frozen=True, slots=True, eq=False)
class LocalResult:
    """A picture damaged in one region.

    Attributes:
        pixels: uint8 RGB (H, W, 3).
        mask: bool (H, W), the damaged part: every pixel that changed, and in the region what lies between them, such
            as that between single dots of noise (gaps of less than 25 px). Outside it `pixels` are those of the
            original. All False where the distortion changes nothing in the region, as desaturation does to a grey wall.
    """

    pixels: Image
    mask: np.ndarray


def apply_local(name: str, image: Image, severity: float, rng: np.random.Generator) -> LocalResult:
    """Distort one region of a picture.

    Args:
        name: one of `LOCAL`.
        image: uint8 RGB, shape (H, W, 3), sides >= 32 px; not modified.
        severity: in (0, 5].
        rng: of the region, drawn first, and of the distortion: same generator state, same bytes.

    Raises:
        ValueError: a name that is unknown or has no local version, and what `apply` refuses.
    """
    if name in DISTORTIONS and name not in LOCAL:
        raise ValueError(
            f"{name} befalls the whole frame and has no local version; those that have: {', '.join(LOCAL)}"
        )
    region_rng, distortion_rng = rng.spawn(2)
    distorted = apply(name, image, severity, distortion_rng)
    weight = region(image.shape[:2], region_rng)[..., None]
    mixed = image + weight * (distorted.astype(np.float32) - image)
    pixels = np.asarray(np.rint(mixed), dtype=np.uint8)
    changed = (pixels != image).any(axis=-1)
    closed = cv2.morphologyEx(changed.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((_GAP, _GAP), np.uint8))
    # Closing leaves no changed pixel out and the region's support keeps all of them.
    return LocalResult(pixels, (closed > 0) & (weight[..., 0] > 0))


def region(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A random ellipse, rectangle, polygon or band with soft borders.

    Args:
        shape: (height, width) of the picture in px.
        rng: of shape, place, size (a share of the picture drawn from `SHARE`) and turn.

    Returns:
        float32 (H, W) in [0, 1]: 1 inside, 0 outside. The share of the picture above a half lies within `SHARE`.
    """
    height, width = shape
    share = rng.uniform(*SHARE)
    draw = (_ellipse, _rectangle, _polygon, _band)[rng.integers(4)]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    middle = rng.uniform(*_MIDDLES, 2) * (height, width)
    distance = draw(y - np.float32(middle[0]), x - np.float32(middle[1]), rng)
    edge = float(np.quantile(distance, share))  # within which lies the share asked for
    softness = max(1.0, 0.02 * float(np.hypot(height, width)))
    return np.asarray(np.clip((edge - distance) / softness + 0.5, 0, 1), dtype=np.float32)


def _turned(y: np.ndarray, x: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return y * cos - x * sin, y * sin + x * cos


# Distances in px from (0, 0) at coordinates (y, x), (H, W) each: their contours are the shapes.


def _ellipse(y: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turned, one axis up to 2.5 times the other."""
    y, x = _turned(y, x, rng.uniform(0, np.pi))
    return np.asarray(np.hypot(y * np.float32(rng.uniform(1, 2.5)), x))


def _rectangle(y: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Upright, one side up to twice the other."""
    return np.asarray(np.maximum(np.abs(y) * np.float32(rng.uniform(0.5, 2)), np.abs(x)))


def _polygon(y: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The largest distance along seven directions, each stretched in its own way: convex, of up to seven corners."""
    angles = 2 * np.pi * (np.arange(_POINTS) + rng.uniform(-0.3, 0.3, _POINTS)) / _POINTS
    reach = rng.uniform(0.6, 1.4, _POINTS).astype(np.float32)
    return np.asarray(np.max([_turned(y, x, a)[0] / r for a, r in zip(angles, reach, strict=True)], axis=0))


def _band(y: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """From a line: a band from border to border."""
    return np.asarray(np.abs(_turned(y, x, rng.uniform(0, np.pi))[0]))
