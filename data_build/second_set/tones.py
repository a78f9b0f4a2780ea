"""Exposure, contrast, saturation, posterization made otherwise: linear light, Oklab, other curves and palettes."""

from __future__ import annotations

import numpy as np
import PIL.Image
import PIL.ImageEnhance

from ..distortions.ladder import Image, to_uint8, to_unit
from ..distortions.linear_light import from_linear, to_linear
from .noise import from_oklab, to_oklab


def overexposure(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """`amount` stops more light, with the highlights clipped as a sensor clips them."""
    return from_linear(to_linear(image) * np.float32(2**amount))


def underexposure(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """`amount` stops less light."""
    return from_linear(to_linear(image) * np.float32(2**-amount))


def excessive_contrast(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """An S-curve on every channel: a logistic of slope 1 + `amount` between the ends, which stay where they are."""
    slope = 1 + amount
    low, high = (1 / (1 + np.exp(-slope * (edge - 0.5) * 4)) for edge in (0, 1))
    curve = 1 / (1 + np.exp(-slope * (np.arange(256) / 255 - 0.5) * 4))
    return np.asarray(to_uint8((curve - low) / (high - low))[image])


def low_contrast(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """The share `amount` of a uniform mid gray mixed in: a flat, faded picture."""
    return to_uint8(to_unit(image) * (1 - amount) + 0.5 * amount)


def oversaturation(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Chroma in Oklab times 1 + `amount`."""
    return from_oklab(to_oklab(image) * np.array([1, 1 + amount, 1 + amount]))


def desaturation(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Pillow's color enhancer at 1 - `amount`: a mix with the gray picture."""
    return np.asarray(PIL.ImageEnhance.Color(PIL.Image.fromarray(image)).enhance(1 - amount))


def posterization(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Evenly spaced levels in every channel, `amount` apart in bytes."""
    steps = np.arange(256)
    curve = np.asarray(np.clip(np.rint(steps / amount) * amount, 0, 255), dtype=np.uint8)
    return np.asarray(curve[image])
