"""The published kinds of damage made otherwise, by code drawn anew for every picture, to train with.

A model that sees one library's noise learns that library. Every function here is `f(image, amount, rng)` and draws what
the kind leaves open (distribution, color space, kernel, table, curve) from `rng`; `vary` looks for the amount that
changes the picture as much as the published implementation does. `second_set` is for testing and
makes none of its damage as this does.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ..distortions import DISTORTIONS, apply
from ..distortions.ladder import Image, amount_for
from . import blur, coding, detail, noise, tones

Make = Callable[[Image, float, np.random.Generator], Image]

_HALVINGS = 7

VARIATIONS: dict[str, tuple[tuple[Make, float, float], ...]] = {
    "gaussian blur": ((blur.gaussian, 0.3, 12), (blur.boxes, 0.5, 20)),
    "lens blur": ((blur.aperture, 0.6, 20),),
    "motion blur": ((blur.curved_motion, 1, 60),),
    "zoom blur": ((blur.radial, 0.002, 0.6),),
    "glass blur": ((blur.glass, 0.2, 12),),
    "jitter": ((blur.scatter, 0.3, 16),),
    "gaussian noise": ((noise.additive, 0.003, 0.8),),
    "color noise": ((noise.chroma, 0.002, 0.8),),
    "speckle noise": ((noise.multiplicative, 0.01, 3),),
    "correlated noise": ((noise.coarse, 0.003, 0.8),),
    "poisson noise": ((noise.photons, 0.0001, 1),),
    "impulse noise": ((noise.impulses, 0.0005, 0.7),),
    "JPEG compression": ((coding.jpeg, 1, 250),),
    "JPEG2000 compression": ((coding.jpeg2000, 3, 400),),
    "overexposure": ((tones.brighter, 0.01, 1),),
    "underexposure": ((tones.darker, 0.01, 1),),
    "excessive contrast": ((tones.harder, 0.01, 1),),
    "low contrast": ((tones.flatter, 0.01, 0.97),),
    "oversaturation": ((tones.more_color, 0.02, 40),),
    "desaturation": ((tones.less_color, 0.02, 1),),
    "oversharpening": ((detail.sharpened, 0.1, 60),),
    "pixelation": ((detail.cells, 1.05, 30),),
    "posterization": ((tones.few_levels, 0.01, 0.9), (tones.few_colors, 0.01, 0.95)),
}
"""Kind -> functions, each with the mildest and strongest amount that is looked at."""


def vary(name: str, image: Image, severity: float, rng: np.random.Generator) -> Image:
    """A picture damaged by another implementation of a distortion, as much as that one changes it.

    Args:
        name: a key of `DISTORTIONS` whose kind stands in `VARIATIONS`.
        image: uint8 RGB, shape (H, W, 3), sides >= 32 px; not modified.
        severity: in (0, 5], of the published implementation.
        rng: the only source of randomness.

    Returns:
        uint8 RGB of the same shape. Where no amount changes the picture that much, the end of the range is taken.

    Raises:
        ValueError: as `apply`; a kind that has no variations.
    """
    kind = DISTORTIONS[name].kind if name in DISTORTIONS else name
    if kind not in VARIATIONS:
        raise ValueError(f"no variations of {kind!r}; there are some of: {', '.join(VARIATIONS)}")
    target = change(kind, image, apply(name, image, severity, rng))
    choices = VARIATIONS[kind]
    make, mildest, strongest = choices[rng.integers(len(choices))]
    seed = int(rng.integers(2**63))

    def made(amount: float) -> Image:
        return make(image, amount, np.random.default_rng(seed))

    amount = amount_for(target, lambda a: change(kind, image, made(a)), mildest, strongest, halvings=_HALVINGS)
    return made(amount)


def change(kind: str, image: Image, other: Image) -> float:
    """How much a picture was changed, in bytes: the root mean square difference.

    Of chroma alone where a kind is about color; about its mean where it is too much contrast, since a method may leave
    the brightness where it is; and for too little, how much the standard deviation fell.
    """
    if kind in ("oversaturation", "desaturation"):
        image, other = (cv2.cvtColor(one, cv2.COLOR_RGB2YCrCb)[..., 1:] for one in (image, other))
    if kind == "low contrast":
        return float(image.std(axis=(0, 1)).mean() - other.std(axis=(0, 1)).mean())
    difference = image.astype(np.float32) - other
    if kind == "excessive contrast":
        difference -= difference.mean(axis=(0, 1))
    return float(np.sqrt(np.mean(difference**2)))
