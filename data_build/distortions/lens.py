"""What a lens adds besides blur: lateral chromatic aberration, vignetting, dirt on the glass."""

from __future__ import annotations

import cv2
import numpy as np

from .ladder import Image, at
from .linear_light import from_linear, to_linear


def chromatic_aberration(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Red enlarged and blue reduced about the center by .4, .8, 1.3, 1.9, 2.8 %, green kept: fringes along edges."""
    share = at(severity, (0.001, 0.004, 0.008, 0.013, 0.019, 0.028))
    height, width = image.shape[:2]
    center = ((width - 1) / 2, (height - 1) / 2)
    out = image.copy()
    for channel, scale in ((0, 1 + share), (2, 1 - share)):
        matrix = cv2.getRotationMatrix2D(center, 0, scale)
        plane = np.ascontiguousarray(image[..., channel])
        out[..., channel] = cv2.warpAffine(plane, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return out


def vignetting(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Light falls off as the fourth power of a cosine, to .55, .35, .2, .1, .04 of it in the corners."""
    corner = at(severity, (0.9, 0.55, 0.35, 0.2, 0.1, 0.04))
    height, width = image.shape[:2]
    down, across = (np.linspace(-1, 1, side, dtype=np.float32) for side in (height, width))
    distance = (down[:, None] ** 2 * height**2 + across**2 * width**2) / (height**2 + width**2)
    # cos(a)^4 = 1 / (1 + tan(a)^2)^2, with tan(a)^2 proportional to the squared distance and `corner` at distance 1.
    gain = 1 / (1 + distance * (corner**-0.5 - 1)) ** 2
    return from_linear(to_linear(image) * gain[..., None].astype(np.float32))


_MOST_SPOTS = 26


def dirt(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Out-of-focus specks and smears: 4, 7, 12, 18, 26 of them, which scatter .4, .5, .6, .75, .9 of their light.

    Scattered light is that of the surroundings (blurred by a twentieth of the diagonal), .4 of it: the rest is lost.
    """
    height, width = image.shape[:2]
    diagonal = float(np.hypot(height, width))
    spots = rng.random((_MOST_SPOTS, 5))
    spots[:, 2] = np.linspace(1, 0, _MOST_SPOTS)  # the largest first, so that few are seen too
    covered = np.zeros((height, width), np.float32)
    for x, y, size, stretch, angle in spots[: round(at(severity, (2, 4, 7, 12, 18, 26)))]:
        radius = diagonal * (0.012 + 0.045 * size)
        axes = (max(1, round(radius * (1 + 1.5 * stretch**3))), max(1, round(radius)))
        cv2.ellipse(covered, (round(x * (width - 1)), round(y * (height - 1))), axes, 180 * angle, 0, 360, 1.0, -1)
    soft = cv2.GaussianBlur(covered, (0, 0), max(1.0, diagonal * 0.015))
    scattering = soft[..., None] * at(severity, (0.2, 0.4, 0.5, 0.6, 0.75, 0.9))
    linear = to_linear(image)
    small = cv2.resize(linear, (max(1, width // 8), max(1, height // 8)), interpolation=cv2.INTER_AREA)
    around = cv2.resize(cv2.GaussianBlur(small, (0, 0), diagonal / 160), (width, height))
    return from_linear(linear + scattering * (around * np.float32(0.4) - linear))
