"""A second, independent implementation of every kind of damage, to test with: nothing here is ever trained on.

A model that has only learned one library's blur may fail on another's. These functions `f(image, amount, rng)` share no
filter, color space or codec setting with those of `data_build/distortions`. What severity 1 .. 5 means is taken from
there: `amounts.json` holds the amounts that change training photographs as much (root mean square, see `matching`) as
the published implementations of the same kind do on average.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files

import numpy as np

from ..distortions import Distortion
from ..distortions.ladder import Image
from . import coding, noise, spatial, tones

Make = Callable[[Image, float, np.random.Generator], Image]

MAKERS: dict[str, tuple[Make, float, float]] = {
    "gaussian blur": (spatial.gaussian_blur, 0.3, 12),
    "lens blur": (spatial.lens_blur, 0.6, 20),
    "motion blur": (spatial.motion_blur, 1.5, 60),
    "zoom blur": (spatial.zoom_blur, 0.002, 0.6),
    "glass blur": (spatial.glass_blur, 0.2, 12),
    "jitter": (spatial.jitter, 0.2, 12),
    "gaussian noise": (noise.gaussian_noise, 0.005, 0.6),
    "color noise": (noise.color_noise, 0.002, 0.5),
    "speckle noise": (noise.speckle_noise, 0.02, 2),
    "correlated noise": (noise.correlated_noise, 0.005, 0.8),
    "poisson noise": (noise.poisson_noise, 0.0002, 0.6),
    "impulse noise": (noise.impulse_noise, 0.001, 0.5),
    "JPEG compression": (coding.jpeg, 2, 250),
    "JPEG2000 compression": (coding.jpeg2000, 5, 600),
    "overexposure": (tones.overexposure, 0.05, 5),
    "underexposure": (tones.underexposure, 0.05, 8),
    "excessive contrast": (tones.excessive_contrast, 0.02, 40),
    "low contrast": (tones.low_contrast, 0.02, 0.98),
    "oversaturation": (tones.oversaturation, 0.05, 40),
    "desaturation": (tones.desaturation, 0.02, 1),
    "oversharpening": (spatial.oversharpen, 0.1, 40),
    "pixelation": (spatial.pixelate, 1.5, 24),
    "posterization": (tones.posterization, 4, 255),
}
"""Kind -> function, and the mildest and strongest amount that is looked at."""


@cache
def second_set() -> dict[str, Distortion]:
    """Every kind's second implementation by its name, "second.<function>", with severities matched to the first."""
    text = (files(__package__) / "amounts.json").read_text(encoding="utf-8")
    ladders: dict[str, list[float]] = json.loads(text)["amounts"]
    return {one.name: one for one in (_laddered(kind, ladders[kind]) for kind in MAKERS)}


def _laddered(kind: str, amounts: list[float]) -> Distortion:
    make, mildest, _ = MAKERS[kind]

    def distort(image: Image, severity: float, rng: np.random.Generator) -> Image:
        return make(image, float(np.interp(severity, range(6), [mildest, *amounts])), rng)

    return Distortion(f"second.{make.__name__}", kind, distort)
