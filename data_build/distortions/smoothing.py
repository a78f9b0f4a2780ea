"""Too much noise reduction: texture gone, edges kept, surfaces like wax or paint."""

from __future__ import annotations

import cv2
import numpy as np

from .ladder import Image, at, to_uint8, to_unit


def oversmooth(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Guided filter with the picture as its own guide (He et al., 2013, eq. 5-8), channel by channel.

    Radius 2, 3, 4, 6, 8 px; what spreads by less than .03, .05, .075, .105, .14 of full scale counts as texture.
    """
    radius = round(at(severity, (1, 2, 3, 4, 6, 8)))
    texture = at(severity, (0.015, 0.03, 0.05, 0.075, 0.105, 0.14)) ** 2

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.blur(x, (2 * radius + 1, 2 * radius + 1), borderType=cv2.BORDER_REFLECT_101)

    x = to_unit(image)
    local = mean(x)
    variance = np.maximum(mean(x * x) - local * local, 0)
    kept = variance / (variance + texture)
    return to_uint8(mean(kept) * x + mean(local - kept * local))
