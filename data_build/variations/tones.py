"""Exposure, contrast, saturation and posterization: the curve, what it acts on and the palette are drawn.

The amount of a tone curve goes from 0 (the picture as it is) to 1 (nothing left of it).
"""

from __future__ import annotations

import cv2
import numpy as np
import PIL.Image

from ..distortions.ladder import Image, to_uint8, to_unit


def _on(image: Image, curve: np.ndarray, rng: np.random.Generator) -> Image:
    """A curve over 0 .. 1 (256 values) on each channel, on the lightness of Lab, or on luma with colors kept."""
    which = rng.integers(3)
    table = np.clip(curve, 0, 1)
    if which == 0:
        return np.asarray(to_uint8(table)[image])
    if which == 1:
        lab = cv2.cvtColor(to_unit(image), cv2.COLOR_RGB2Lab)
        lab[..., 0] = np.interp(lab[..., 0], np.linspace(0, 100, 256), table * 100)
        return to_uint8(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB))
    luma = cv2.cvtColor(to_unit(image), cv2.COLOR_RGB2GRAY)
    wanted = np.interp(luma, np.linspace(0, 1, 256), table)
    return to_uint8(to_unit(image) * (wanted / np.maximum(luma, 1 / 255))[..., None])


def brighter(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Gain before a gamma, with or without a shoulder; a raised middle; or lightness added."""
    x = np.arange(256) / 255
    which, gamma, shoulder = rng.integers(3), rng.uniform(1.6, 2.6), rng.random()
    if which == 0:
        gain = 1 + 15 * amount**1.5
        light = gain * x**gamma
        rolled = light * (1 + light / gain**2) / (1 + light)
        soft = shoulder if shoulder > 0.5 else 0.0
        curve = (soft * rolled + (1 - soft) * np.minimum(light, 1)) ** (1 / gamma)
    elif which == 1:
        curve = 1 - (1 - x) ** (1 + 5 * amount)
    else:
        curve = x + amount
    return _on(image, curve, rng)


def darker(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Less light before a gamma; a lowered middle; everything scaled; or blacks cut off."""
    x = np.arange(256) / 255
    which, gamma = rng.integers(4), rng.uniform(1.6, 2.6)
    if which == 0:
        curve = (x**gamma * (1 - amount) ** 3) ** (1 / gamma)
    elif which == 1:
        curve = x ** (1 + 5 * amount) * (1 - amount / 2)
    elif which == 2:
        curve = x * (1 - amount)
    else:
        curve = x - amount
    return _on(image, curve, rng)


def harder(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """A sigmoid, straight gain about a pivot, or the ends cut off; about the middle or about the picture's mean."""
    x = np.arange(256) / 255
    mean = float(np.clip(image.mean() / 255, 0.3, 0.7))
    which, pivot = rng.integers(3), (rng.uniform(0.4, 0.6), mean)[rng.integers(2)]
    slope = 1 + 9 * amount**1.5
    if which == 0:
        curve = np.tanh((x - pivot) * slope)
        curve = (curve - curve[0]) / (curve[-1] - curve[0])
    elif which == 1:
        curve = pivot + (x - pivot) * slope
    else:
        low, high = pivot * amount, 1 - (1 - pivot) * amount
        curve = (x - low) / max(high - low, 1e-3)
    return _on(image, curve, rng)


def flatter(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Tones drawn towards a gray, towards the mean color, or lifted blacks and lowered whites."""
    which, gray, low = rng.integers(3), rng.uniform(0.35, 0.65), rng.random()
    unit = to_unit(image)
    if which == 0:
        return to_uint8(unit * (1 - amount) + gray * amount)
    if which == 1:
        return to_uint8(unit * (1 - amount) + unit.mean(axis=(0, 1)) * amount)
    return _on(image, amount * low + np.arange(256) / 255 * (1 - amount), rng)


_GRAYS = (np.array([0.299, 0.587, 0.114]), np.array([0.2126, 0.7152, 0.0722]), np.full(3, 1 / 3))


def more_color(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Colors pushed away from gray by `amount`, weaker ones more or not; which gray is drawn. Or chroma in Lab."""
    gray, vibrance, in_lab = _GRAYS[rng.integers(3)], rng.random() < 0.3, rng.random() < 0.3
    return _recolored(image, 1 + amount, gray, vibrance=bool(vibrance), in_lab=bool(in_lab))


def less_color(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Colors drawn towards gray by `amount`; which gray is drawn. Or chroma in Lab."""
    gray, in_lab = _GRAYS[rng.integers(3)], rng.random() < 0.3
    return _recolored(image, 1 - amount, gray, vibrance=False, in_lab=bool(in_lab))


def _recolored(image: Image, factor: float, gray: np.ndarray, *, vibrance: bool, in_lab: bool) -> Image:
    unit = to_unit(image)
    if in_lab:
        lab = cv2.cvtColor(unit, cv2.COLOR_RGB2Lab)
        lab[..., 1:] = lab[..., 1:] * np.float32(factor)
        return to_uint8(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB))
    neutral = (unit @ gray.astype(np.float32))[..., None]
    if vibrance:
        spread = unit.max(axis=-1, keepdims=True) - unit.min(axis=-1, keepdims=True)
        return to_uint8(neutral + (unit - neutral) * (1 + (factor - 1) * (1 - spread)))
    return to_uint8(neutral + (unit - neutral) * np.float32(factor))


def few_levels(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Evenly spaced levels, `amount` of the scale apart: per channel, in luma only, or in luma and chroma."""
    which, offset = rng.integers(3), rng.random()
    unit = to_unit(image)
    if which == 0:
        return to_uint8((np.floor(unit / amount + offset) - offset + 0.5) * amount)
    planes = cv2.cvtColor(unit, cv2.COLOR_RGB2YCrCb)
    planes[..., 0] = (np.floor(planes[..., 0] / amount + offset) - offset + 0.5) * amount
    if which == 2:
        planes[..., 1:] = np.rint((planes[..., 1:] - 0.5) / amount) * np.float32(amount) + np.float32(0.5)
    return to_uint8(cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB))


def few_colors(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """A palette of about 96 (`amount` 0) to 2 (`amount` 1) colors by k-means, or of twice as many by an octree."""
    colors, by_means = max(2, round(96 * (1 - amount) ** 2)), rng.random() < 0.5
    if not by_means:
        palette = PIL.Image.fromarray(image).quantize(
            2 * colors, method=PIL.Image.Quantize.FASTOCTREE, dither=PIL.Image.Dither.NONE
        )
        return np.array(palette.convert("RGB"))
    pixels = image.reshape(-1, 3).astype(np.float32)
    sample = pixels[rng.integers(len(pixels), size=1500)]
    cv2.setRNGSeed(int(rng.integers(2**31)))
    _, _, centers = cv2.kmeans(sample, colors, None, (3, 6, 1.0), 1, cv2.KMEANS_RANDOM_CENTERS)  # type: ignore[call-overload]
    nearest = np.argmin((centers**2).sum(1) - 2 * pixels @ centers.T, axis=1)
    palette_bytes = np.asarray(np.rint(np.clip(centers, 0, 255)), dtype=np.uint8)
    return np.asarray(palette_bytes[nearest].reshape(image.shape))
