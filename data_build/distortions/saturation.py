"""Colour made stronger or weaker, on the HSV saturation or the YCrCb chroma. Severities 1..5 as in DQ-495K."""

from __future__ import annotations

import cv2
import numpy as np

from .ladder import Image, at, to_uint8, to_unit


def _hsv(image: Image, factor: float) -> Image:
    hsv = cv2.cvtColor(to_unit(image), cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] * factor, 0, 1)
    return to_uint8(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def _ycc(image: Image, factor: float) -> Image:
    ycc = cv2.cvtColor(to_unit(image), cv2.COLOR_RGB2YCrCb)
    ycc[..., 1:] = 0.5 + (ycc[..., 1:] - 0.5) * factor
    return to_uint8(cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB))


def strengthen_hsv(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """HSV saturation times 3, 6, 12, 20, 64."""
    return _hsv(image, at(severity, (1.4, 3, 6, 12, 20, 64)))


def strengthen_ycc(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Chroma times 2, 3, 5, 8, 16."""
    return _ycc(image, at(severity, (1.3, 2, 3, 5, 8, 16)))


def weaken_hsv(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """HSV saturation times .7, .55, .4, .2, 0."""
    return _hsv(image, at(severity, (0.9, 0.7, 0.55, 0.4, 0.2, 0.0)))


def weaken_ycc(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Chroma times .6, .4, .2, .1, 0."""
    return _ycc(image, at(severity, (0.85, 0.6, 0.4, 0.2, 0.1, 0.0)))
