"""Reading what `data_build` wrote: crops from Parquet shards, and views of the photographs of a table.

Batch number n is a function of the files, the seed and n alone, so an interrupted run goes on with the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow.parquet as pq

from mllm_iqa.errors import DataError
from mllm_iqa.images import load_image, resized

Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True)
class Crop:
    """A crop of the bank: pixels uint8 RGB (H, W, 3), (kind, severity) findings, pseudo-MOS and its region's group."""

    pixels: np.ndarray
    findings: tuple[tuple[str, int], ...]
    mos: float
    group: int
    is_reference: bool


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph of the table with its human MOS (1..5)."""

    path: Path
    mos: float
    subset: str


@dataclass(frozen=True, slots=True)
class PhotoView:
    """What a batch shows of a photograph: its index in the list, pixels, MOS, and whether it is the whole picture."""

    index: int
    pixels: np.ndarray
    mos: float
    whole: bool


@lru_cache(maxsize=16)  # one shard of each size is in use at a time
def shard_crops(path: Path) -> list[Crop]:
    """All crops of one shard file, references included."""
    crops = []
    for row in pq.read_table(path).to_pylist():
        pixels = np.frombuffer(row["pixels"], np.uint8).reshape(row["height"], row["width"], 3)
        findings = tuple(zip(row["kinds"], row["severities"], strict=True))
        crops.append(Crop(pixels, findings, row["mos"], row["group"], row["is_reference"]))
    return crops


class CropShards:
    """All shards of one split and size ("96px" or "352x512px", as in their names), read in order, round and round."""

    def __init__(self, bank: Path, split: str, size: str, *, with_references: bool = False) -> None:
        self.paths = sorted(bank.glob(f"{split}-{size}-*.parquet"))
        if not self.paths:
            raise DataError(f"{bank}: no {split} shards of {size}; run `mllm-iqa data bank` first")
        rows: int = pq.read_metadata(self.paths[0]).num_rows
        self.with_references = with_references
        self.per_shard = rows if with_references else rows // 4 * 3

    def __len__(self) -> int:
        return self.per_shard * len(self.paths)

    def batch(self, number: int, count: int) -> list[Crop]:
        """Crops number*count .. (number+1)*count of the endless sequence."""
        crops = []
        for position in range(number * count, (number + 1) * count):
            shard, row = divmod(position % len(self), self.per_shard)
            if not self.with_references:
                row = row // 3 * 4 + row % 3
            crops.append(shard_crops(self.paths[shard])[row])
        return crops


def plan_of(bank: Path) -> str:
    """What the bank's files were made from, as `mllm-iqa data bank` noted it; "" where it noted nothing."""
    path = bank / "plan.json"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def read_photos(bank: Path, split: str | None) -> list[Photo]:
    """Photographs of a split (None = all) from the bank's table; a missing picture raises, named."""
    table = bank / "photos.parquet"
    if not table.is_file():
        raise DataError(f"{table}: not found; run `mllm-iqa data bank` first")
    rows = [row for row in pq.read_table(table).to_pylist() if split in (None, row["split"])]
    missing = [row["path"] for row in rows if not Path(row["path"]).is_file()]
    if missing:
        raise DataError(f"{len(missing)} photographs of {table} are missing, the first: {missing[0]}")
    return [Photo(Path(row["path"]), row["mos"], row["subset"]) for row in rows]


def photo_view(photo: Photo, size: int, rng: np.random.Generator, *, share_whole: float, index: int = -1) -> PhotoView:
    """A size x size view of a photograph: the whole picture reduced to that size, or a crop at 0.75 or full size.

    A photograph too small for a crop of 0.75 of its size is shown whole; half of all views are mirrored.
    """
    image = load_image(photo.path).pixels
    short = min(image.shape[:2])
    whole = bool(rng.random() < share_whole) or short * 0.75 < size
    if whole:
        view = resized(image, size, size)
    else:
        if rng.random() < 0.5:
            image = resized(image, *(round(0.75 * side) for side in image.shape[:2]))
        top = int(rng.integers(image.shape[0] - size + 1))
        left = int(rng.integers(image.shape[1] - size + 1))
        view = image[top : top + size, left : left + size]
    if rng.random() < 0.5:
        view = view[:, ::-1]
    return PhotoView(index, np.ascontiguousarray(view), photo.mos, whole)


def photo_batch(
    photos: list[Photo], *, size: int, count: int, seed: int, number: int, share_whole: float
) -> list[PhotoView]:
    """Views (see `photo_view`) of `count` different photographs."""
    rng = np.random.default_rng([seed, number])
    chosen = rng.choice(len(photos), size=count, replace=False)
    return [photo_view(photos[i], size, rng, share_whole=share_whole, index=int(i)) for i in chosen]


def prefetched(make: Callable[[int], Any], start: int, stop: int, ahead: int = 3) -> Iterator[Any]:
    """make(start), ..., make(stop - 1), prepared in order by one thread that stays `ahead` batches in front."""
    with ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(make, n) for n in range(start, min(start + ahead, stop))]
        for number in range(start, stop):
            ready = waiting.pop(0).result()
            if number + ahead < stop:
                waiting.append(pool.submit(make, number + ahead))
            yield ready
