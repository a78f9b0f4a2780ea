"""Compression made otherwise: JPEG with a flat table and full chroma, JPEG 2000 by rate in tiles."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image

from ..distortions.ladder import Image


def jpeg(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Baseline JPEG, 4:4:4, with a quantization table that rises only by half from low to high frequency.

    `amount` = the step of the lowest frequency; chroma has twice that.
    """
    ramp = np.add.outer(np.arange(8), np.arange(8)).ravel() / 14
    luma, chroma = (np.clip(np.rint(k * amount * (1 + 0.5 * ramp)), 1, 255).astype(int).tolist() for k in (1, 2))
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "JPEG", qtables=[luma, chroma], subsampling="4:4:4")
    return np.array(PIL.Image.open(buffer).convert("RGB"))


def jpeg2000(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """JPEG 2000 compressed `amount` times, in tiles of 256 px, with the reversible wavelet."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(
        buffer, "JPEG2000", quality_mode="rates", quality_layers=[amount], tile_size=(256, 256), irreversible=False
    )
    return np.array(PIL.Image.open(buffer).convert("RGB"))
