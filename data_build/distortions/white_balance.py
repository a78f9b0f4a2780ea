"""A wrong white balance: a tint over the whole picture."""

from __future__ import annotations

import numpy as np

from .ladder import Image, at
from .linear_light import from_linear, to_linear

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""Weights of linear red, green and blue (Rec. 709)."""


def color_cast(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Gains of red and blue against green, .25, .5, .8, 1.15, 1.6 stops long, in a random direction of that plane.

    White keeps its luminance, so the picture becomes neither lighter nor darker.
    """
    stops = at(severity, (0.08, 0.25, 0.5, 0.8, 1.15, 1.6))
    angle = rng.uniform(0, 2 * np.pi)
    gains = np.array([2 ** (stops * np.cos(angle)), 1.0, 2 ** (stops * np.sin(angle))])
    return from_linear(to_linear(image) * (gains / (gains @ _LUMINANCE)).astype(np.float32))
