"""Detail made false: sharpening by drawn masks, and cells of a drawn place and content."""

from __future__ import annotations

import cv2
import numpy as np

from ..distortions.ladder import Image, to_uint8, to_unit


def sharpened(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """`amount` times what a blur of sigma 0.6 to 2.5 px, a box or a median takes away, of all channels or of luma."""
    mask, sigma, on_luma = rng.integers(3), rng.uniform(0.6, 2.5), rng.random() < 0.5
    if mask == 0:
        smooth = cv2.GaussianBlur(to_unit(image), (0, 0), sigma)
    elif mask == 1:
        smooth = cv2.blur(to_unit(image), (3, 3))
    else:
        smooth = to_unit(cv2.medianBlur(image, 3))
    edges = to_unit(image) - smooth
    if on_luma:
        edges = edges.mean(axis=-1, keepdims=True)
    return to_uint8(to_unit(image) + np.float32(amount) * edges)


def cells(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Square cells of about `amount` px from any corner, each its mean, its first pixel or a smoother one."""
    height, width = image.shape[:2]
    content = (cv2.INTER_AREA, cv2.INTER_NEAREST, cv2.INTER_LINEAR)[rng.integers(3)]
    top, left = (int(rng.integers(0, max(1, int(amount)))) for _ in range(2))
    wide = cv2.copyMakeBorder(image, top, 0, left, 0, cv2.BORDER_REFLECT_101)
    size = tuple(max(1, round(side / amount)) for side in (width + left, height + top))
    small = cv2.resize(wide, size, interpolation=content)
    large = cv2.resize(small, (width + left, height + top), interpolation=cv2.INTER_NEAREST)
    return np.ascontiguousarray(large[top:, left:])
