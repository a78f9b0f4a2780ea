"""Near-duplicates among training photographs: the library's rules, on the hash that their split was made with."""

from __future__ import annotations

import cv2
import numpy as np

from mllm_iqa.near_duplicates import (
    BURST_BITS,
    BURST_NUMBERS,
    FLAT,
    NEAR_BITS,
    Fingerprint,
    Near,
    near_pairs,
    same_scene,
)

from ..sources import perceptual_hash

__all__ = [
    "BURST_BITS",
    "BURST_NUMBERS",
    "NEAR_BITS",
    "Fingerprint",
    "Near",
    "fingerprint",
    "near_pairs",
    "same_scene",
]


def fingerprint(pixels: np.ndarray) -> Fingerprint | None:
    """The fingerprint of uint8 RGB pixels (H, W, 3); None for a picture so flat that its hash would be chance.

    Like `mllm_iqa.near_duplicates.fingerprint`, which needs no OpenCV, but bit for bit the hash of `sources`: another
    one would put photographs into other groups, and groups into other splits.
    """
    small = cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA)
    if small.mean(axis=2).std() < FLAT:
        return None
    return Fingerprint(perceptual_hash(pixels), perceptual_hash(np.ascontiguousarray(pixels[:, ::-1])))
