"""Errors on the way from coder to decoder: blocks that end up elsewhere or lost, rows that slip."""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np

from .ladder import Image, at

_BLOCK = 16
"""Side of a macroblock in px, as JPEG with 4:2:0 chroma and the MPEG family code them."""

_PACKET = 4
"""Macroblocks lost together."""


def displaced_blocks(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """.04, .08, .15, .25, .4 of the packets of four macroblocks (16 px) damaged.

    A damaged packet shows blocks of another place in the same rows, a flat color, or the rows above it repeated; the
    first two with an offset of brightness and color, as when the coder's running mean is lost.
    """
    share = at(severity, (0.02, 0.04, 0.08, 0.15, 0.25, 0.4))
    height, width = image.shape[:2]
    packets = list(product(range(0, height, _BLOCK), range(0, width, _BLOCK * _PACKET)))
    order = rng.permutation(len(packets))
    draws = rng.random((len(packets), 3))
    offsets = rng.normal(0, (35, 22, 22), (len(packets), 3))
    ycc = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb)
    coded = ycc.copy()
    for packet in order[: max(1, round(share * len(packets)))]:
        top, left = packets[packet]
        rows, columns = slice(top, top + _BLOCK), slice(left, left + _BLOCK * _PACKET)
        fate, start, shift = draws[packet]
        block = coded[rows, columns].astype(np.float64)
        if fate < 0.25 and top > 0:
            ycc[rows, columns] = coded[top - 1, columns]
            continue
        if fate < 0.5:
            block[:] = block.mean(axis=(0, 1))
        else:
            away = _BLOCK * (1 + int(start * max(1, width // _BLOCK - 1))) + round(shift * _BLOCK / 2)
            block = np.roll(coded[rows], away, axis=1)[:, columns].astype(np.float64)
        ycc[rows, columns] = np.clip(np.rint(block + offsets[packet]), 0, 255)
    return cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB)


_BANDS = 32


def shifted_rows(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Of 32 bands of rows .12, .2, .3, .45, .65 rolled sideways by up to 3, 4.5, 7, 11, 16 % of the width."""
    share = at(severity, (0.06, 0.12, 0.2, 0.3, 0.45, 0.65))
    reach = at(severity, (0.01, 0.03, 0.045, 0.07, 0.11, 0.16)) * image.shape[1]
    height, width = image.shape[:2]
    ends = np.sort(rng.random(_BANDS - 1)) * height
    band = np.searchsorted(ends, np.arange(height), side="right")
    slipping = rng.permutation(_BANDS) < max(1, round(share * _BANDS))
    way = rng.choice((-1, 1), _BANDS) * np.ceil(rng.uniform(0.4, 1, _BANDS) * reach)
    by = np.where(slipping, way, 0).astype(np.int64)
    columns = (np.arange(width) - by[band][:, None]) % width
    return np.take_along_axis(image, columns[..., None], axis=1)
