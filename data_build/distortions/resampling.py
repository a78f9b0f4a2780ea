"""Pictures enlarged from too few pixels: the softness of upscaling, without a pixel grid."""

from __future__ import annotations

import cv2
import numpy as np
import PIL.Image

from .ladder import Image, at


def _reduced(image: Image, factor: float) -> tuple[int, int]:
    """(width, height) of the picture `factor` times smaller."""
    return max(1, round(image.shape[1] / factor)), max(1, round(image.shape[0] / factor))


def bicubic(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Reduced by 1.5, 2, 3, 4, 6 and enlarged again, both bicubic with antialiasing, as super-resolution tests do."""
    small = _reduced(image, at(severity, (1.15, 1.5, 2, 3, 4, 6)))
    picture = PIL.Image.fromarray(image).resize(small, PIL.Image.Resampling.BICUBIC)
    return np.array(picture.resize((image.shape[1], image.shape[0]), PIL.Image.Resampling.BICUBIC))


def upscaled(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """A picture of 1/2, 1/2.5, 1/3, 1/3.5, 1/4 of the size (means of areas) enlarged bilinearly."""
    small = cv2.resize(image, _reduced(image, at(severity, (1.2, 2, 2.5, 3, 3.5, 4))), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
