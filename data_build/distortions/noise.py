"""Noise: gaussian, color, speckle, spatially correlated, poisson, impulse. Severities 1..5 as in DQ-495K."""

from __future__ import annotations

import cv2
import numpy as np

from .ladder import Image, at, to_uint8, to_unit


def gaussian_noise(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Independent RGB noise of standard deviation .05, .10, .15, .20, .25 (of full scale)."""
    std = at(severity, (0.01, 0.05, 0.10, 0.15, 0.20, 0.25))
    return to_uint8(to_unit(image) + rng.standard_normal(image.shape, dtype=np.float32) * std)


def color_noise(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """YCrCb noise: luma standard deviation .05 .. .09, chroma that times 1, 1.45, 1.9, 2.35, 2.8."""
    luma = at(severity, (0.01, 0.05, 0.06, 0.07, 0.08, 0.09))
    chroma = luma * at(severity, (1, 1, 1.45, 1.9, 2.35, 2.8))
    ycc: np.ndarray = cv2.cvtColor(to_unit(image), cv2.COLOR_RGB2YCrCb)
    ycc += rng.standard_normal(image.shape, dtype=np.float32) * np.array([luma, chroma, chroma], dtype=np.float32)
    return to_uint8(cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB))


def speckle_noise(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Multiplicative noise x + x * n with n of standard deviation .14, .21, .28, .35, .42."""
    std = at(severity, (0.03, 0.14, 0.21, 0.28, 0.35, 0.42))
    return to_uint8(to_unit(image) * (1 + rng.standard_normal(image.shape, dtype=np.float32) * std))


def correlated_noise(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Noise smoothed by a 3x3 box, of standard deviation .08, .11, .14, .18, .22 after smoothing."""
    std = at(severity, (0.02, 0.08, 0.11, 0.14, 0.18, 0.22))
    field = cv2.blur(rng.standard_normal(image.shape, dtype=np.float32), (3, 3)) * 3.0
    return to_uint8(to_unit(image) + field * std)


def poisson_noise(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Photon noise with 80, 60, 40, 25, 15 photons at full scale."""
    peak = at(severity, (1000, 80, 60, 40, 25, 15))
    return to_uint8(rng.poisson(to_unit(image) * peak).astype(np.float32) / peak)


def impulse_noise(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Salt and pepper in .01, .03, .05, .07, .10 of the values of each channel."""
    share = at(severity, (0.002, 0.01, 0.03, 0.05, 0.07, 0.10))
    draw = rng.random(image.shape, dtype=np.float32)
    return np.where(draw < share / 2, 0, np.where(draw < share, 255, image)).astype(np.uint8)
