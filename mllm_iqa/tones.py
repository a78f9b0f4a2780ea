"""The tones of a picture, measured and written down for a model to read: where its range ends, how much is clipped.

A vision tower sees patches and sums them up roughly; whether a photograph is a little too bright, flat or saturated
shows in where brightness and color end over all of it, to a hundredth. So the numbers are measured and told: a model
whose chat template has a place for `tones` reads them after every picture, whatever engine runs it.
"""

from __future__ import annotations

import string
from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from .images import Picture

_BLUR = 1.2
"""Radius in px of the blur that keeps single pixels of noise from being the ends of the range."""

_ENDS = (0.001, 0.005, 0.5, 0.995, 0.999)
QUANTILES: tuple[tuple[str, float], ...] = (
    *(("luma", q) for q in _ENDS),
    *(("largest channel", q) for q in _ENDS),
    *(("smallest channel", q) for q in _ENDS),
    *(("chroma", q) for q in _ENDS[2:]),
    *(("saturation", q) for q in _ENDS[1:]),
)
"""(what, quantile over the pixels) of the numbers a to v. Chroma is the largest channel minus the smallest one, and
saturation their difference as a share of the largest."""

CLIPPED = ("white", "in some channel 255", "black", "in some channel 0")
"""Which share of the pixels the numbers w to z are: within one step of the end in all channels, or in any."""

_SMALLEST = 1e-5
"""Share of clipped pixels, and anything below, that is written as 01; a hundredfold share is 39 higher."""


@lru_cache(maxsize=32)
def tones_of(picture: Picture) -> str:
    """`tones_text` of a picture, measured once while it is in use."""
    return tones_text(picture.pixels)


def tones_text(pixels: np.ndarray) -> str:
    """The tones of a picture as a model reads them: a letter and two digits for each of 26 numbers, and a line end.

    Args:
        pixels: (H, W, 3) uint8 RGB.

    Returns:
        Such as "a01b03c47..." and so on to z. Values of 0..255 (a to v, see `QUANTILES`) and shares of pixels
        1e-5..1 (w to z, see `CLIPPED`, by their logarithm) are 01..99, so that every picture has as many tokens.
    """
    picture = Image.fromarray(pixels)
    blurred = picture.filter(ImageFilter.GaussianBlur(_BLUR))
    largest, smallest = _extremes(blurred)
    planes = {
        "luma": blurred.convert("L"),
        "largest channel": largest,
        "smallest channel": smallest,
        "chroma": ImageChops.subtract(largest, smallest),
        "saturation": blurred.convert("HSV").getchannel("S"),
    }
    below = {name: np.cumsum(plane.histogram()) / (picture.width * picture.height) for name, plane in planes.items()}
    values = [1 + round(int(np.searchsorted(below[name], q)) / 255 * 98) for name, q in QUANTILES]
    high, low = (np.array(plane.histogram()) / (picture.width * picture.height) for plane in _extremes(picture))
    shares = [low[254:].sum(), high[254:].sum(), high[:2].sum(), low[:2].sum()]
    values += [1 + round(98 * (1 + np.log10(max(share, _SMALLEST)) / 5)) for share in shares]
    return "".join(f"{letter}{v:02d}" for letter, v in zip(string.ascii_lowercase, values, strict=True)) + "\n"


def _extremes(picture: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The largest and the smallest channel of every pixel."""
    red, green, blue = picture.split()
    largest = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    return largest, ImageChops.darker(ImageChops.darker(red, green), blue)
