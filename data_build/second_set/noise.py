"""Noise made otherwise: other distributions, other color spaces, photons counted in linear light."""

from __future__ import annotations

import numpy as np
import PIL.Image

from ..distortions.ladder import Image, to_uint8, to_unit
from ..distortions.linear_light import from_linear, to_linear

# Oklab (Ottosson, 2020): linear sRGB to cone responses, and their cube roots to lightness and two opponent axes.
_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_OPPONENT = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def to_oklab(image: Image) -> np.ndarray:
    """uint8 sRGB -> Oklab, float64, same shape."""
    return np.asarray(np.cbrt(to_linear(image) @ _CONES.T) @ _OPPONENT.T)


def from_oklab(lab: np.ndarray) -> Image:
    """Oklab -> uint8 sRGB, clipped to the gamut; same shape."""
    linear = (lab @ np.linalg.inv(_OPPONENT).T) ** 3 @ np.linalg.inv(_CONES).T
    return from_linear(linear.astype(np.float32))


def gaussian_noise(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Normal noise of standard deviation `amount`, two thirds of its variance common to the channels."""
    common, own = rng.standard_normal((*image.shape[:2], 1)), rng.standard_normal(image.shape)
    return to_uint8(to_unit(image) + amount * (np.sqrt(2 / 3) * common + np.sqrt(1 / 3) * own))


def color_noise(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Normal noise of standard deviation `amount` on the opponent axes of Oklab, a third of it on lightness."""
    return from_oklab(to_oklab(image) + rng.standard_normal(image.shape) * amount * np.array([1 / 3, 1, 1]))


def speckle_noise(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Coherent imaging: every value times a gamma variable of mean 1 and standard deviation `amount`."""
    shape = 1 / amount**2
    return to_uint8(to_unit(image) * rng.gamma(shape, 1 / shape, image.shape))


def correlated_noise(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Noise drawn at 0.4 of the size and enlarged by Pillow's bicubic filter; `amount` = its standard deviation."""
    height, width = image.shape[:2]
    small = rng.standard_normal((3, round(height * 0.4), round(width * 0.4))).astype(np.float32)
    enlarged = [PIL.Image.fromarray(plane).resize((width, height), PIL.Image.Resampling.BICUBIC) for plane in small]
    field = np.stack([np.asarray(plane) for plane in enlarged], axis=-1)
    return to_uint8(to_unit(image) + field * (amount / field.std()))


def poisson_noise(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Photons counted in linear light: 1 / `amount` of them at full scale."""
    return from_linear((rng.poisson(to_linear(image) / amount) * amount).astype(np.float32))


def impulse_noise(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """A share `amount` of the pixels is dead: black, white, or a channel stuck at a random value."""
    out = image.copy()
    draw, which = rng.random(image.shape[:2]), rng.integers(0, 3, image.shape[:2])
    dead = draw < amount
    out[dead & (which == 0)] = 0
    out[dead & (which == 1)] = 255
    stuck = np.nonzero(dead & (which == 2))
    out[(*stuck, rng.integers(0, 3, len(stuck[0])))] = rng.integers(0, 2, len(stuck[0])) * 255
    return out
