"""Synthetic distortions: pure functions `f(image, severity, rng) -> image`, one file per family.

`DISTORTIONS` names all implementations and the kind each one shows; `DQ495K` names the 35 of them that are the
DQ-495K taxonomy (You et al., 2024), which the shipped model was trained on. Severities are real numbers in (0, 5]: the
parameters (for the 35 the published ones) stand at 1 .. 5 and are interpolated between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mllm_iqa.taxonomy import FAMILY_OF

from . import (
    air,
    blur,
    compression,
    contrast,
    detail,
    exposure,
    lens,
    noise,
    quantization,
    resampling,
    ringing,
    saturation,
    sensor,
    smoothing,
    transmission,
    white_balance,
)
from .ladder import Image

Distort = Callable[[Image, float, np.random.Generator], Image]


@dataclass(frozen=True, slots=True)
class Distortion:
    """One implementation.

    Attributes:
        name: its name here, "module.function".
        kind: the taxonomy kind it shows.
        distort: the function.
        mildest: whether its whole ladder lies below severity 1 of another implementation of the same kind.
    """

    name: str
    kind: str
    distort: Distort
    mildest: bool = False

    @property
    def family(self) -> str:
        """The taxonomy family of `kind`."""
        return FAMILY_OF[self.kind]

    def spoken(self, severity: float) -> int:
        """The severity 1..5 that a finding of `kind` has when this is applied at a severity in (0, 5]."""
        return 1 if self.mildest else min(5, max(1, round(severity)))


_DQ495K: tuple[tuple[str, Distort], ...] = (
    ("gaussian blur", blur.gaussian_blur),
    ("lens blur", blur.lens_blur),
    ("motion blur", blur.motion_blur),
    ("zoom blur", blur.zoom_blur),
    ("glass blur", blur.glass_blur),
    ("jitter", blur.jitter),
    ("gaussian noise", noise.gaussian_noise),
    ("color noise", noise.color_noise),
    ("speckle noise", noise.speckle_noise),
    ("correlated noise", noise.correlated_noise),
    ("poisson noise", noise.poisson_noise),
    ("impulse noise", noise.impulse_noise),
    ("JPEG compression", compression.jpeg),
    ("JPEG2000 compression", compression.jpeg2000),
    ("overexposure", exposure.brighten_shift_hsv),
    ("overexposure", exposure.brighten_shift_rgb),
    ("overexposure", exposure.brighten_gamma_hsv),
    ("overexposure", exposure.brighten_gamma_rgb),
    ("underexposure", exposure.darken_shift_hsv),
    ("underexposure", exposure.darken_shift_rgb),
    ("underexposure", exposure.darken_gamma_hsv),
    ("underexposure", exposure.darken_gamma_rgb),
    ("excessive contrast", contrast.strengthen_scale),
    ("excessive contrast", contrast.strengthen_stretch),
    ("low contrast", contrast.weaken_scale),
    ("low contrast", contrast.weaken_stretch),
    ("oversaturation", saturation.strengthen_hsv),
    ("oversaturation", saturation.strengthen_ycc),
    ("desaturation", saturation.weaken_hsv),
    ("desaturation", saturation.weaken_ycc),
    ("oversharpening", detail.oversharpen),
    ("pixelation", detail.pixelate),
    ("posterization", quantization.otsu),
    ("posterization", quantization.median_cut),
    ("posterization", quantization.equal_count),
)

_FURTHER: tuple[tuple[str, Distort], ...] = (
    ("upscaling blur", resampling.bicubic),
    ("upscaling blur", resampling.upscaled),
    ("oversmoothing", smoothing.oversmooth),
    ("low-light noise", sensor.low_light_noise),
    ("JPEG compression", compression.jpeg_mild),
    ("WebP compression", compression.webp),
    ("AVIF compression", compression.avif),
    ("banding", quantization.banding),
    ("edge ringing", ringing.low_pass),
    ("chromatic aberration", lens.chromatic_aberration),
    ("vignetting", lens.vignetting),
    ("lens dirt", lens.dirt),
    ("color cast", white_balance.color_cast),
    ("haze", air.haze),
    ("displaced blocks", transmission.displaced_blocks),
    ("shifted rows", transmission.shifted_rows),
)


def _name(distort: Distort) -> str:
    function: str = getattr(distort, "__name__", "")
    module = getattr(distort, "__module__", "").rsplit(".", 1)[-1]
    return f"{module}.{function}"


DISTORTIONS: dict[str, Distortion] = {
    _name(f): Distortion(_name(f), kind, f, mildest=f is compression.jpeg_mild) for kind, f in (*_DQ495K, *_FURTHER)
}

DQ495K: tuple[str, ...] = tuple(_name(f) for _, f in _DQ495K)
"""Names of the published 35. All that trains or tests the shipped model draws from these."""


def apply(name: str, image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Distort a picture.

    Args:
        name: a key of `DISTORTIONS`.
        image: uint8 RGB, shape (H, W, 3), sides >= 32 px; not modified.
        severity: in (0, 5].
        rng: the only source of randomness: same generator state, same bytes.

    Returns:
        uint8 RGB of the same shape.

    Raises:
        ValueError: unknown name, severity out of range, or an image of another dtype or shape.
        MissingDependencyError: the installed Pillow lacks the codec that the distortion is about.
    """
    if name not in DISTORTIONS:
        raise ValueError(f"unknown distortion {name!r}; known: {', '.join(DISTORTIONS)}")
    if not 0 < severity <= 5:
        raise ValueError(f"severity must lie in (0, 5], got {severity}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 32:
        raise ValueError(f"image must be uint8 (H >= 32, W >= 32, 3), got {image.dtype} {image.shape}")
    return DISTORTIONS[name].distort(image, severity, rng)
