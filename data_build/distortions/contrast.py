"""Contrast made stronger or weaker: linear scaling about the mean, or a sigmoid stretch. Severities as in DQ-495K."""

from __future__ import annotations

import numpy as np

from .ladder import Image, at, to_uint8, to_unit


def _scale(image: Image, factor: float) -> Image:
    x = to_unit(image)
    mean = float(x.mean())
    return to_uint8(mean + (x - mean) * factor)


def _stretch(image: Image, factor: float) -> Image:
    """Map x to 1 / (1 + (mean / x)^factor): a sigmoid through 0.5 at the mean."""
    x = to_unit(image)
    mean = max(float(x.mean()), 1e-3)
    with np.errstate(over="ignore"):  # black in a bright picture: 1 / (1 + inf) is the 0 it should be
        return to_uint8(1.0 / (1.0 + np.power(mean / np.maximum(x, 1e-4), factor)))


def strengthen_scale(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Deviation from the mean times 1.4, 1.7, 2.1, 2.6, 4."""
    return _scale(image, at(severity, (1.1, 1.4, 1.7, 2.1, 2.6, 4.0)))


def strengthen_stretch(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Sigmoid stretch of strength 2, 4, 6, 8, 10."""
    return _stretch(image, at(severity, (2, 2, 4, 6, 8, 10)))


def weaken_scale(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Deviation from the mean times .75, .6, .45, .3, .2."""
    return _scale(image, at(severity, (0.93, 0.75, 0.6, 0.45, 0.3, 0.2)))


def weaken_stretch(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Sigmoid stretch of strength 1, .9, .8, .6, .4."""
    return _stretch(image, at(severity, (1.2, 1.0, 0.9, 0.8, 0.6, 0.4)))
