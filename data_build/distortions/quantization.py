"""Too few tones: Otsu levels, median-cut palettes, equal-count levels as in DQ-495K, and banding of smooth areas."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import PIL.Image

from .ladder import Image, at, to_uint8, to_unit


def _otsu_table(channel: np.ndarray, levels: int) -> np.ndarray:
    """256-entry table that maps a channel to the `levels` means of least squared error (multi-level Otsu).

    Exact dynamic programme over the histogram: cost[a, b] is the squared error of one level over tones a..b-1.
    """
    histogram = np.bincount(channel.ravel(), minlength=256).astype(np.float64)
    tones = np.arange(256)
    count, total, square = (np.concatenate([[0.0], np.cumsum(histogram * w)]) for w in (np.ones(256), tones, tones**2))
    n = count[None, :] - count[:, None]
    s = total[None, :] - total[:, None]
    q = square[None, :] - square[:, None]
    cost = np.where(n > 0, q - s**2 / np.maximum(n, 1), 0.0)
    cost[np.tril_indices(257, -1)] = np.inf
    best, cuts = cost[0].copy(), []
    for _ in range(levels - 1):
        candidates = best[:, None] + cost
        cuts.append(candidates.argmin(axis=0))
        best = candidates.min(axis=0)
    edges = [256]
    for cut in reversed(cuts):
        edges.append(int(cut[edges[-1]]))
    edges = [*sorted(set(edges) | {0})]
    table = np.zeros(256, dtype=np.uint8)
    for a, b in pairwise(edges):
        table[a:b] = round(s[a, b] / n[a, b]) if n[a, b] > 0 else a
    return table


def otsu(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Each channel in 15, 11, 8, 5, 3 tones placed for least squared error."""
    levels = round(at(severity, (24, 15, 11, 8, 5, 3)))
    return np.stack([_otsu_table(image[..., c], levels)[image[..., c]] for c in range(3)], axis=-1)


def median_cut(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """A median-cut palette of 20, 15, 10, 6, 3 colours, without dithering."""
    colors = round(at(severity, (40, 20, 15, 10, 6, 3)))
    palette = PIL.Image.fromarray(image).quantize(
        colors, method=PIL.Image.Quantize.MEDIANCUT, dither=PIL.Image.Dither.NONE
    )
    return np.array(palette.convert("RGB"))


def equal_count(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Each channel in 24, 16, 8, 6, 4 tones that hold equally many pixels."""
    levels = round(at(severity, (40, 24, 16, 8, 6, 4)))
    out = np.empty_like(image)
    for c in range(3):
        channel = image[..., c]
        histogram = np.bincount(channel.ravel(), minlength=256).astype(np.float64)
        below = np.concatenate([[0.0], np.cumsum(histogram)[:-1]])
        bins = np.minimum((below / channel.size * levels).astype(int), levels - 1)
        sums = np.bincount(bins, weights=histogram * np.arange(256), minlength=levels)
        counts = np.bincount(bins, weights=histogram, minlength=levels)
        means = np.rint(sums / np.maximum(counts, 1)).astype(np.uint8)
        out[..., c] = means[bins][channel]
    return out


def banding(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Smooth areas in steps of 8, 13, 19, 26, 32 of 255 (8 bits cut to 5 .. 3), texture kept, as in coded video.

    What varies by less than a step within 9 px loses its fine variation and is rounded to a step of luma and chroma;
    what varies more is kept, with a smooth transition.
    """
    step = at(severity, (4, 8, 13, 19, 26, 32)) / 255.0
    ycc = cv2.cvtColor(to_unit(image), cv2.COLOR_RGB2YCrCb)
    even = cv2.GaussianBlur(ycc, (0, 0), 2.0, borderType=cv2.BORDER_REFLECT_101)
    luma = ycc[..., 0]
    mean = cv2.blur(luma, (9, 9), borderType=cv2.BORDER_REFLECT_101)
    variance = np.maximum(cv2.blur(luma * luma, (9, 9), borderType=cv2.BORDER_REFLECT_101) - mean * mean, 0)
    smooth = np.exp(-2 * variance / step**2)[..., None]
    # Chroma is rounded about its neutral value, so that grey stays grey.
    neutral = np.array([0.0, 0.5, 0.5], dtype=np.float32)
    stepped = np.rint((even - neutral) / step) * np.float32(step) + neutral
    return to_uint8(cv2.cvtColor(ycc + smooth * (stepped - ycc), cv2.COLOR_YCrCb2RGB))
