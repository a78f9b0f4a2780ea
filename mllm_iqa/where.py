"""Where a picture is damaged: a map of its quality, boxes around each distortion, and what a gradient points at.

from mllm_iqa import quality_map
found = quality_map("photo.jpg")
found.damage     # float32 (H, W), 0 .. 1
found.regions    # which distortion where, worst first
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .assistant import _shared
from .errors import ConfigError, ImageError
from .images import MIN_SIDE, ImageSource, Picture, load_image
from .regions import Region, regions_of
from .tile_reading import TileReading, read_tiles
from .tiles import blended, tiles_of
from .types import ImageInfo

if TYPE_CHECKING:
    from .assistant import Assistant

Method = Literal["tiles", "attribution"]
METHODS: tuple[Method, ...] = ("tiles", "attribution")

TILE_SIDE = 128
TILE_STRIDE = 64
"""In pixels of the judged picture; chosen on training photographs, see docs/where.md."""
THRESHOLDS: dict[str, float] = {"tiles": 0.5, "attribution": 0.3}
"""`damage` from which on a place counts as damaged, by method. That of tiles was chosen on training photographs, see
docs/where.md; that of attribution was set by eye, since its scale differs from picture to picture."""

USUAL_AT_MOST = 2.0
MARGIN = 0.4
"""In log odds of damage: what a picture's median tile is taken for at most, and by how much a tile must exceed that to
count as damaged. A part of a picture alone looks worse to a model than the whole; this takes that back. Chosen on
training photographs, see docs/where.md."""

MAX_TILES = 4096
FALLBACK_PIXELS = 1_048_576
"""Pixel budget of the map for models that have none of their own."""


@dataclass(frozen=True, slots=True, eq=False)
class QualityMap:
    """Where a picture is damaged.

    Attributes:
        damage: float32 (H, W) in [0, 1] at the judged size, 0 = nothing wrong, `THRESHOLDS` = damaged from there on.
            By tiles: see `damage_of`. By attribution: each place's part in making the picture look damaged, 1 = the
            largest; its zero means nothing in particular, and every picture has a largest.
        mos: float32 (H, W), 1 .. 5: the score of the surroundings of each pixel; None by attribution.
        regions: distortions and their boxes, worst first; empty when clean or by attribution, None where the model
            cannot tell distortions.
        image: what was judged; `extent` is the picture's size that boxes are given in.
        method: how it was made.
        side, stride, tiles: of the tiles, in px, and how many; 0 by attribution.
        unread: tiles to which the model gave no score.
        model: name and version.
    """

    damage: np.ndarray
    mos: np.ndarray | None
    regions: tuple[Region, ...] | None
    image: ImageInfo
    method: Method
    side: int
    stride: int
    tiles: int
    unread: int
    model: str

    @property
    def extent(self) -> tuple[int, int, int, int]:
        """What the maps cover, as (left, top, right, bottom) in pixels of the upright picture."""
        return 0, 0, self.image.width, self.image.height

    @property
    def damaged_share(self) -> float:
        """Share of the picture that counts as damaged."""
        return float((self.damage >= THRESHOLDS[self.method]).mean())

    def at_full_size(self) -> np.ndarray:
        """`damage` at the upright picture's own size, float32 (height, width)."""
        from PIL import Image

        small = Image.fromarray(self.damage)
        large = small.resize((self.image.width, self.image.height), Image.Resampling.BILINEAR)
        return np.clip(np.asarray(large, dtype=np.float32), 0, 1)

    def to_dict(self, *, grid: int = 32) -> dict[str, Any]:
        """Plain values for JSON; the maps as means over a grid whose longer side has `grid` cells."""
        damage = coarse(self.damage, grid)
        return {
            "method": self.method,
            "model": self.model,
            "image": asdict(self.image),
            "extent": list(self.extent),
            "damaged_share": round(self.damaged_share, 4),
            "regions": None if self.regions is None else [region.to_dict() for region in self.regions],
            "grid": {"width": damage.shape[1], "height": damage.shape[0]},
            "damage": np.round(damage, 3).tolist(),
            "mos": None if self.mos is None else np.round(coarse(self.mos, grid), 2).tolist(),
            "tiles": {"side": self.side, "stride": self.stride, "count": self.tiles, "unread": self.unread},
        }

    def __str__(self) -> str:
        head = f"{self.image.name}: {self.damaged_share:.0%} of it damaged ({self.method})"
        return "\n".join([head, *map(str, self.regions or ())])


def coarse(values: np.ndarray, grid: int) -> np.ndarray:
    """Means of a map over cells, of which the longer side has `grid` (fewer where the map has fewer pixels).

    Args:
        values: shape (H, W).
        grid: at least 1.
    """
    height, width = values.shape
    rows = max(1, min(height, round(grid * height / max(height, width))))
    columns = max(1, min(width, round(grid * width / max(height, width))))
    y, x = (np.linspace(0, n, k + 1).round().astype(int)[:-1] for n, k in ((height, rows), (width, columns)))
    sums = np.add.reduceat(np.add.reduceat(values.astype(np.float64), y, axis=0), x, axis=1)
    heights, widths = (np.diff([*starts, n]) for starts, n in ((y, height), (x, width)))
    return np.asarray(sums / (heights[:, None] * widths), dtype=np.float32)


def damage_of(reading: TileReading) -> np.ndarray:
    """How much damage there is in each tile, float64 (N,) in [0, 1]; NaN where the model gave no score.

    Where the model tells distortions: its log odds of any of them, less those of the picture's median tile (or less
    `USUAL_AT_MOST`, so that damage all over is not taken for the usual) and `MARGIN`, as a probability. Else how far
    the score lies below 5, which also falls where a part of a picture is merely dull.
    """
    if reading.probs is None:
        return (5.0 - reading.mos) / 4.0
    clean = np.clip(reading.probs[:, 0], 1e-6, 1 - 1e-6)
    odds = np.where(np.isnan(reading.mos), np.nan, np.log1p(-clean) - np.log(clean))
    usual = min(float(np.nanmedian(odds)), USUAL_AT_MOST) if not np.isnan(odds).all() else 0.0
    return np.asarray(1.0 / (1.0 + np.exp(usual + MARGIN - odds)))


def map_of(
    assistant: Assistant,
    image: ImageSource,
    *,
    method: Method = "tiles",
    side: int = TILE_SIDE,
    stride: int = TILE_STRIDE,
    max_pixels: int | None = None,
    name: str | None = None,
    batch_size: int = 16,
    advance: Callable[[int, int], None] | None = None,
) -> QualityMap:
    """Find where a picture is damaged.

    Args:
        assistant: the model.
        image: anything `load_image` takes.
        method: "tiles" reads overlapping tiles as pictures of their own, on every engine; "attribution" follows the
            gradient of the score of the whole picture, on the transformers engine, in one pass.
        side: of a tile, in px of the judged picture.
        stride: from one tile to the next at most.
        max_pixels: what the picture is reduced to first; None = as for its score. More shows damage that only shows at
            full size, and takes more tiles.
        name: what to call the picture.
        batch_size: tiles in one call of the engine; does not change the result.
        advance: told (tiles read, tiles in all) as it goes on.

    Raises:
        ImageError: a picture that cannot be read, or of which not one tile could be scored.
        ConfigError: tiles too small, too far apart, or too many.
        BackendError: an attribution by an engine or model that gives no gradients.
    """
    if method not in METHODS:
        raise ConfigError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    budget = max_pixels if max_pixels is not None else (assistant.max_pixels or FALLBACK_PIXELS)
    picture = load_image(image, name=name, max_pixels=budget)
    if method == "attribution":
        return _by_attribution(assistant, picture)
    if side < MIN_SIDE:
        raise ConfigError(f"tiles must be at least {MIN_SIDE} px wide and high to be judged, got {side}")
    height, width = picture.pixels.shape[:2]
    tiles = tiles_of(height, width, side=side, stride=stride)
    if len(tiles) > MAX_TILES:
        raise ConfigError(f"{width}x{height} pixels make {len(tiles)} tiles, more than {MAX_TILES}; take larger tiles, "
                          "a longer stride or fewer pixels")  # fmt: skip
    done = 0

    def count(some: int) -> None:
        nonlocal done
        done += some
        if advance is not None:
            advance(done, len(tiles))

    cuts = [_tile_picture(tile.cut(picture.pixels), picture, i) for i, tile in enumerate(tiles)]
    reading = read_tiles(assistant, cuts, batch_size=batch_size, advance=count)
    unread = int(np.isnan(reading.mos).sum())
    if unread == len(tiles):
        raise ImageError(
            f"{picture.info.name}: {assistant.backend.name} gave not one of its {len(tiles)} tiles a score"
        )
    size = {"height": height, "width": width}
    damage = _without_gaps(blended(damage_of(reading), tiles, **size))
    return QualityMap(
        damage=np.clip(damage, 0, 1),
        mos=_without_gaps(blended(reading.mos, tiles, **size)),
        regions=None if reading.probs is None else regions_of(reading, tiles, picture.info, damage=damage),
        image=picture.info,
        method="tiles",
        side=side,
        stride=stride,
        tiles=len(tiles),
        unread=unread,
        model=assistant.backend.name,
    )


def _by_attribution(assistant: Assistant, picture: Picture) -> QualityMap:
    from .attribution import attribution

    return QualityMap(
        damage=attribution(assistant, picture),
        mos=None,
        regions=(),
        image=picture.info,
        method="attribution",
        side=0,
        stride=0,
        tiles=0,
        unread=0,
        model=assistant.backend.name,
    )


def _tile_picture(pixels: np.ndarray, whole: Picture, number: int) -> Picture:
    return load_image(pixels, name=f"{whole.info.name} tile {number}")


def _without_gaps(values: np.ndarray) -> np.ndarray:
    """Pixels that only unread tiles cover get the mean of the others: no better, no worse."""
    known = ~np.isnan(values)
    return values if known.all() else np.where(known, values, values[known].mean(dtype=np.float64)).astype(np.float32)


def quality_map(
    image: ImageSource, *, method: Method = "tiles", model: str = "nano", device: str = "auto", **options: Any
) -> QualityMap:
    """Find where a picture is damaged; see `map_of` for the options. The last used model stays loaded."""
    return map_of(_shared(model, device), image, method=method, **options)
