"""A picture in overlapping tiles, and values of tiles blended into a map of the picture. Pure functions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .errors import ConfigError

_FLOOR = 0.02  # weight of a tile's own border: the picture's border lies in no other tile


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a picture, in pixels: rows top .. bottom - 1, columns left .. right - 1."""

    left: int
    top: int
    right: int
    bottom: int

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """The part itself, C-contiguous, of an array (H, W, ...)."""
        return np.ascontiguousarray(pixels[self.top : self.bottom, self.left : self.right])


def tiles_of(height: int, width: int, *, side: int, stride: int) -> tuple[Tile, ...]:
    """Equal tiles that cover a picture, row by row.

    Args:
        height: of the picture, in px.
        width: of the picture, in px.
        side: of a tile; a picture's side that is smaller is one tile high or wide.
        stride: the largest distance from one tile to the next; the tiles are spread evenly, flush with the borders.

    Raises:
        ConfigError: a stride that is not between 1 and the side: the tiles would leave gaps.
    """
    if not 1 <= stride <= side:
        raise ConfigError(f"the stride of tiles must lie between 1 and their side {side}, got {stride}")
    return tuple(
        Tile(left, top, left + min(side, width), top + min(side, height))
        for top in _starts(height, side, stride)
        for left in _starts(width, side, stride)
    )


def _starts(length: int, side: int, stride: int) -> list[int]:
    free = max(0, length - side)
    steps = math.ceil(free / stride)
    return [round(free * i / steps) for i in range(steps + 1)] if steps else [0]


def blended(values: np.ndarray, tiles: tuple[Tile, ...], *, height: int, width: int) -> np.ndarray:
    """The mean, at every pixel, of the values of the tiles that cover it, each weighted by how near its middle is.

    The weight is a raised cosine in both directions, so that the map has no seams. A constant stays itself.

    Args:
        values: shape (N,) or (N, C), one row per tile; rows with a NaN count nowhere.
        tiles: N of them, which cover the picture.
        height: of the picture, in px.
        width: of the picture, in px.

    Returns:
        float32, shape (H, W) or (H, W, C); NaN where every tile's value is.
    """
    rows = np.asarray(values, dtype=np.float64).reshape(len(tiles), -1)
    total = np.zeros((height, width, rows.shape[1]))
    weight = np.zeros((height, width, 1))
    for row, tile in zip(rows, tiles, strict=True):
        if np.isnan(row).any():
            continue
        window = (_window(tile.bottom - tile.top)[:, None] * _window(tile.right - tile.left))[..., None]
        total[tile.top : tile.bottom, tile.left : tile.right] += window * row
        weight[tile.top : tile.bottom, tile.left : tile.right] += window
    mean = np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0).astype(np.float32)
    return mean[..., 0] if np.ndim(values) == 1 else mean


def _window(length: int) -> np.ndarray:
    """Weights in (0, 1], shape (length,), largest in the middle."""
    return np.asarray(_FLOOR + (1 - _FLOOR) * np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2)
