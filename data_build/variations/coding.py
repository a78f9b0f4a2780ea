"""Compression: JPEG with drawn tables and chroma sampling, JPEG 2000 with drawn tiles and wavelet."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image

from ..distortions.ladder import Image


def jpeg(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """Baseline JPEG; tables of step `amount` at the lowest frequency that rise by 0 to 5 times it to the highest.

    Chroma is sampled 4:4:4, 4:2:2 or 4:2:0, in steps 1 to 3 times as large.
    """
    rise, power, coarser = rng.uniform(0, 5), rng.uniform(0.7, 2), rng.uniform(1, 3)
    sampling = ("4:4:4", "4:2:2", "4:2:0")[rng.integers(3)]
    ramp = 1 + rise * (np.add.outer(np.arange(8), np.arange(8)).ravel() / 14) ** power
    ramp *= rng.uniform(0.85, 1.15, 64)
    tables = [np.clip(np.rint(k * amount * ramp), 1, 255).astype(int).tolist() for k in (1, coarser)]
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "JPEG", qtables=tables, subsampling=sampling)
    return np.array(PIL.Image.open(buffer).convert("RGB"))


def jpeg2000(image: Image, amount: float, rng: np.random.Generator) -> Image:
    """JPEG 2000 compressed `amount` times, with three to six resolutions, in one piece or in tiles of 128 or 192 px."""
    tile, resolutions, lossy = (None, 128, 192)[rng.integers(3)], int(rng.integers(3, 7)), bool(rng.random() < 0.5)
    tiled = {} if tile is None else {"tile_size": (tile, tile)}
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(
        buffer,
        "JPEG2000",
        quality_mode="rates",
        quality_layers=[amount],
        num_resolutions=resolutions,
        irreversible=lossy,
        **tiled,
    )
    return np.array(PIL.Image.open(buffer).convert("RGB"))
