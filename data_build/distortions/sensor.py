"""A sensor in little light: photon and read noise under a color filter, spread over neighbors by the demosaicking."""

from __future__ import annotations

import cv2
import numpy as np

from .ladder import Image, at
from .linear_light import from_linear, to_linear

_READ_NOISE = 2.0
_RANGE = 8192.0


def low_light_noise(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Poisson-Gaussian noise of raw values, with 1500, 600, 250, 100, 40 electrons at full scale.

    The linear picture is sampled through a Bayer pattern (RGGB); each value becomes a Poisson count of electrons plus
    a Gaussian read noise of 2 (Foi et al., 2008, eq. 1-3). What is noise in it is demosaicked bilinearly and added, so
    that the picture is otherwise as it was: grain is colored, two or three pixels wide, and strongest in the shadows.
    """
    electrons = at(severity, (6000, 1500, 600, 250, 100, 40))
    linear = to_linear(image)
    raw = linear[..., 1].copy()
    raw[0::2, 0::2] = linear[0::2, 0::2, 0]
    raw[1::2, 1::2] = linear[1::2, 1::2, 2]
    counts = rng.poisson(raw * electrons) + rng.standard_normal(raw.shape, dtype=np.float32) * _READ_NOISE
    noise = counts / electrons - raw
    # OpenCV demosaicks unsigned integers only: the noise in [-4, 4) of full scale stands around 32768.
    mosaic = np.clip(np.rint(noise * _RANGE) + 32768, 0, 65535).astype(np.uint16)
    # OpenCV names patterns by their second row and column: BG is RGGB.
    spread = cv2.cvtColor(mosaic, cv2.COLOR_BayerBG2RGB)
    return from_linear(linear + (spread.astype(np.float32) - 32768) / _RANGE)
