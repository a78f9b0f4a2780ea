"""Brightening and darkening: shifts and gamma curves, in RGB or on the HSV value. Severities 1..5 as in DQ-495K."""

from __future__ import annotations

import cv2
import numpy as np

from .ladder import Image, at, to_uint8, to_unit

Curve = tuple[float, float, float, float, float, float]

SHIFT_HSV: Curve = (0.03, 0.1, 0.2, 0.3, 0.4, 0.5)
SHIFT_RGB: Curve = (0.03, 0.1, 0.15, 0.2, 0.27, 0.35)


def _on_value(image: Image, shift: float = 0.0, gamma: float = 1.0) -> Image:
    hsv = cv2.cvtColor(to_unit(image), cv2.COLOR_RGB2HSV)
    hsv[..., 2] = np.clip(np.power(hsv[..., 2], gamma) + shift, 0, 1)
    return to_uint8(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def brighten_shift_hsv(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """HSV value + .1, .2, .3, .4, .5."""
    return _on_value(image, shift=at(severity, SHIFT_HSV))


def brighten_shift_rgb(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Every channel + .1, .15, .2, .27, .35."""
    return to_uint8(to_unit(image) + at(severity, SHIFT_RGB))


def brighten_gamma_hsv(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """HSV value to the power .7, .58, .47, .36, .25."""
    return _on_value(image, gamma=at(severity, (0.9, 0.7, 0.58, 0.47, 0.36, 0.25)))


def brighten_gamma_rgb(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Every channel to the power .8, .7, .6, .45, .3."""
    return to_uint8(to_unit(image) ** at(severity, (0.93, 0.8, 0.7, 0.6, 0.45, 0.3)))


def darken_shift_hsv(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """HSV value - .1, .2, .3, .4, .5."""
    return _on_value(image, shift=-at(severity, SHIFT_HSV))


def darken_shift_rgb(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Every channel - .1, .15, .2, .27, .35."""
    return to_uint8(to_unit(image) - at(severity, SHIFT_RGB))


def darken_gamma_hsv(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """HSV value to the power 1.5, 1.8, 2.2, 2.7, 3.5."""
    return _on_value(image, gamma=at(severity, (1.15, 1.5, 1.8, 2.2, 2.7, 3.5)))


def darken_gamma_rgb(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Every channel to the power 1.4, 1.7, 2.1, 2.6, 3.2."""
    return to_uint8(to_unit(image) ** at(severity, (1.12, 1.4, 1.7, 2.1, 2.6, 3.2)))
