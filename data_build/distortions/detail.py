"""Detail made false: oversharpening and pixelation. Severities 1..5 as in DQ-495K."""

from __future__ import annotations

import cv2
import numpy as np

from .ladder import Image, at, to_uint8, to_unit


def oversharpen(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Unsharp mask of amount 2, 2.8, 4, 6, 8 with a Gaussian of sigma 1 px."""
    x = to_unit(image)
    blurred = cv2.GaussianBlur(x, (0, 0), 1.0, borderType=cv2.BORDER_REFLECT_101)
    return to_uint8(x + (x - blurred) * at(severity, (0.5, 2, 2.8, 4, 6, 8)))


def pixelate(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Box reduction to .5, .4, .3, .25, .2 of each side, then nearest-neighbour enlargement."""
    share = at(severity, (0.7, 0.5, 0.4, 0.3, 0.25, 0.2))
    height, width = image.shape[:2]
    small = (max(1, round(width * share)), max(1, round(height * share)))
    reduced = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(reduced, (width, height), interpolation=cv2.INTER_NEAREST)
