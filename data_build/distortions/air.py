"""The air between scene and camera: haze."""

from __future__ import annotations

import cv2
import numpy as np

from .ladder import Image, at
from .linear_light import from_linear, to_linear


def haze(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Koschmieder's law J t + A (1 - t), t = exp(-beta d), with beta .06, .15, .35, .7, 1.4.

    The depth d is smooth: 1 at the upper border, .35 at the lower one, and a random field of a few waves on top. The
    air's light A is a bluish grey of .6 to .8 of full linear scale.
    """
    beta = at(severity, (0.02, 0.06, 0.15, 0.35, 0.7, 1.4))
    height, width = image.shape[:2]
    waves = cv2.resize(rng.standard_normal((4, 5), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    depth = np.linspace(1.0, 0.35, height, dtype=np.float32)[:, None] + 0.12 * waves
    left = np.exp(-beta * np.maximum(depth, 0.1))[..., None]
    light = rng.uniform(0.6, 0.8) * np.array([0.94, 0.98, 1.0], dtype=np.float32)
    return from_linear(to_linear(image) * left + light * (1 - left))
