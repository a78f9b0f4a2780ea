"""Ringing: ripples along edges where high frequencies end abruptly (Gibbs phenomenon)."""

from __future__ import annotations

import numpy as np
import scipy.fft

from .ladder import Image, at, to_uint8, to_unit


def low_pass(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """All frequencies above .5, .38, .28, .2, .14 of Nyquist removed, in every direction, without a transition.

    The spectrum is a cosine transform, whose picture goes on mirrored at its borders, so that nothing of the left
    border appears at the right one.
    """
    cutoff = at(severity, (0.8, 0.5, 0.38, 0.28, 0.2, 0.14))
    spectrum = scipy.fft.dctn(to_unit(image), axes=(0, 1), norm="ortho")
    down, across = (np.arange(side) / side for side in image.shape[:2])
    spectrum[np.hypot(down[:, None], across) > cutoff] = 0
    return to_uint8(scipy.fft.idctn(spectrum, axes=(0, 1), norm="ortho"))
