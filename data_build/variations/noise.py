"""Noise: its distribution, its share common to the channels and the domain it is added in are drawn."""

from __future__ import annotations

import cv2
import numpy as np

from ..distortions.ladder import Image, to_uint8, to_unit


def _field(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Values of mean 0 and standard deviation 1, float32 (H, W, 3): normal, uniform or Laplace."""
    which = rng.choice(3, p=(0.6, 0.2, 0.2))
    if which == 0:
        return rng.standard_normal(shape, dtype=np.float32)
    uniform = rng.random(shape, dtype=np.float32) - np.float32(0.5)
    if which == 1:
        return uniform * np.float32(np.sqrt(12))
    laplace = -np.sign(uniform) * np.log(np.maximum(1 - 2 * np.abs(uniform), 1e-6))
    return np.asarray(laplace / np.sqrt(2), dtype=np.float32)


def _shared(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """The same with a share of the variance common to the channels: none, all, or anything between."""
    common = (0.0, 1.0, rng.random())[rng.integers(3)]
    out = np.sqrt(1 - common) * _field(shape, rng) + np.sqrt(common) * _field((*shape[:2], 1), rng)
    return np.asarray(out, dtype=np.float32)


def additive(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """White noise of standard deviation `amount`, in the coded values or before a gamma of up to 2.2."""
    gamma = (1.0, rng.uniform(1, 2.2))[rng.integers(2)]
    light = to_unit(image) ** gamma + amount * _shared(image.shape, rng)
    return to_uint8(np.maximum(light, 0) ** (1 / gamma))


def chroma(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Noise of standard deviation `amount` on the color axes of Lab or YUV, with up to half as much on lightness."""
    on_light, in_lab = rng.uniform(0, 0.5), rng.random() < 0.5
    there, back = (cv2.COLOR_RGB2Lab, cv2.COLOR_Lab2RGB) if in_lab else (cv2.COLOR_RGB2YUV, cv2.COLOR_YUV2RGB)
    planes = cv2.cvtColor(to_unit(image), there)
    scale = (100.0 if in_lab else 1.0) * amount
    planes += _field(image.shape, rng) * np.array([scale * on_light, scale, scale], np.float32)
    return to_uint8(cv2.cvtColor(planes, back))


def multiplicative(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Every value times a factor of spread `amount`: log-normal, or one plus noise."""
    log_normal = rng.random() < 0.5
    noise = amount * _shared(image.shape, rng)
    return to_uint8(to_unit(image) * (np.exp(noise - amount**2 / 2) if log_normal else np.maximum(1 + noise, 0)))


def coarse(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Noise of standard deviation `amount` with grains of one to three px: smoothed, or enlarged."""
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        field = cv2.GaussianBlur(_shared(image.shape, rng), (0, 0), rng.uniform(0.7, 1.8))
    else:
        share = rng.uniform(0.33, 0.6)
        small = _shared((round(height * share), round(width * share), 3), rng)
        field = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return to_uint8(to_unit(image) + field * np.float32(amount / field.std()))


def photons(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Counts of mean value / `amount`, taken before a gamma of 1 to 2.2, with another gain in each channel."""
    gamma = rng.uniform(1, 2.2)
    step = amount * rng.uniform(0.7, 1.4, 3)
    counts = rng.poisson(to_unit(image) ** gamma / step)
    return to_uint8((counts * step) ** (1 / gamma))


def impulses(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """A share `amount` of the pixels, or of single values, becomes salt, pepper, both, or any value."""
    of_pixels, what = rng.random() < 0.5, rng.integers(4)
    shape = (*image.shape[:2], 1 if of_pixels else 3)
    hit = rng.random(shape) < amount
    values = rng.integers(0, 256, shape if rng.random() < 0.5 else image.shape)
    values = (np.full_like(values, 255), np.zeros_like(values), values // 128 * 255, values)[what]
    return np.where(hit, values, image).astype(np.uint8)
