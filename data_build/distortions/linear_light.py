"""sRGB bytes to linear light and back: where light adds up, fades or is counted, it does so in linear light."""

from __future__ import annotations

import numpy as np

from .ladder import Image


def _decoded(srgb: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1: encoded [0, 1] to linear [0, 1]."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _encoded(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1: linear [0, 1] to encoded [0, 1]."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


_TO_LINEAR = _decoded(np.arange(256) / 255.0).astype(np.float32)
_TO_BYTE = np.rint(_encoded(np.arange(65536) / 65535.0) * 255.0).astype(np.uint8)


def to_linear(image: Image) -> np.ndarray:
    """uint8 sRGB -> float32 linear light in [0, 1], same shape."""
    linear: np.ndarray = _TO_LINEAR[image]
    return linear


def from_linear(linear: np.ndarray) -> Image:
    """Linear light (clipped to [0, 1]) -> uint8 sRGB, same shape; undoes `to_linear` exactly."""
    nearest = (np.clip(linear, 0.0, 1.0) * np.float32(65535.0) + np.float32(0.5)).astype(np.uint16)
    image: Image = _TO_BYTE[nearest]
    return image
