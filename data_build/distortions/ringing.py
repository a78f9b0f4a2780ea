"""Ringing: ripples along edges where high frequencies end abruptly (Gibbs phenomenon)."""

from __future__ import annotations

import numpy as np
import scipy.fft

from .ladder import Image, at, to_uint8, to_unit


def low_pass(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """All frequencies above .6, .48, .36, .26, .18 of Nyquist removed, in every direction, without a transition.

    Those just below are raised, to twice their strength at the cutoff, as in a resonating filter: the ripples are
    then seen before the softness.
    The spectrum is a cosine transform, whose picture goes on mirrored at its borders, so that nothing of the left
    border appears at the right one.
    """
    cutoff = at(severity, (0.8, 0.6, 0.48, 0.36, 0.26, 0.18))
    spectrum = scipy.fft.dctn(to_unit(image), axes=(0, 1), norm="ortho")
    down, across = (np.arange(side) / side for side in image.shape[:2])
    frequency = np.hypot(down[:, None], across).astype(np.float32) / np.float32(cutoff)
    gain = np.where(frequency <= 1, 1 + np.exp(-(((1 - frequency) / 0.25) ** 2)), 0)
    spectrum *= gain[..., None]
    return to_uint8(scipy.fft.idctn(spectrum, axes=(0, 1), norm="ortho"))
