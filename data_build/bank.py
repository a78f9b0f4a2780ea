"""The bank: distorted crops and a table of photographs as Parquet files, the only thing training reads.

A shard is a function of its number and the seed alone and appears under its name only when complete, so a build
that was killed goes on where it stopped and ends with the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mllm_iqa.errors import DataError

from .crops import Labelled, distort_region, draw_distortions, draw_region
from .sources import SPLITS, Photo, Split, clean_sources, read_biq2021, read_bsds500, read_rgb

GROUP = 4
"""Crops of one region: three independent draws of distortions, then the region itself as their reference."""

SCHEMA = pa.schema(
    [
        ("pixels", pa.binary()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("group", pa.int64()),
        ("is_reference", pa.bool_()),
        ("kinds", pa.list_(pa.string())),
        ("severities", pa.list_(pa.int8())),
        ("mos", pa.float32()),
    ]
)


@dataclass(frozen=True, slots=True)
class BankPlan:
    """How many groups of crops of which size, and from where.

    Attributes:
        sizes: (side in px, number of shards) pairs.
        groups_per_shard: groups of `GROUP` crops in one shard.
        seed: of the whole bank.
    """

    sizes: tuple[tuple[int, int], ...] = ((96, 80), (128, 24), (256, 8))
    groups_per_shard: int = 500
    seed: int = 0


def _row(crop: Labelled, group: int, is_reference: bool) -> dict[str, object]:
    return {
        "pixels": crop.pixels.tobytes(),
        "height": crop.pixels.shape[0],
        "width": crop.pixels.shape[1],
        "group": group,
        "is_reference": is_reference,
        "kinds": [kind for kind, _ in crop.findings],
        "severities": [severity for _, severity in crop.findings],
        "mos": crop.mos,
    }


def shard_rows(
    sources: list[np.ndarray], size: int, groups: int, seed: int, number: int
) -> Iterator[dict[str, object]]:
    """The rows of shard `number` of `size`-px crops."""
    rng = np.random.default_rng([seed, size, number])
    for index in range(groups):
        group = number * groups + index
        region = draw_region(sources[rng.integers(len(sources))], size, rng)
        for _ in range(GROUP - 1):
            yield _row(distort_region(region, size, draw_distortions(rng), rng), group, False)
        yield _row(distort_region(region, size, (), rng), group, True)


_sources: dict[Split, list[np.ndarray]] = {}


def _load_sources(paths: dict[Split, list[Path]]) -> None:
    cv2.setNumThreads(1)
    for split, files in paths.items():
        _sources[split] = [read_rgb(path) for path in files]


def _write_shard(out: Path, split: Split, size: int, number: int, plan: BankPlan) -> Path:
    path = out / f"{split}-{size}px-{number:04d}.parquet"
    if not path.exists():
        # Validation regions come from other photographs and from another seed.
        seed = plan.seed + SPLITS.index(split) * 1_000_003
        rows = list(shard_rows(_sources[split], size, plan.groups_per_shard, seed, number))
        partial = path.with_suffix(f".{os.getpid()}.partial")
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), partial, compression="none")
        partial.rename(path)
    return path


def write_photos(photos: list[Photo], path: Path) -> None:
    """The photographs with human MOS as a table: path, mos (1..5), dataset, subset, split."""
    rows = [
        {"path": str(p.path.resolve()), "mos": p.mos, "dataset": p.dataset, "subset": p.subset, "split": p.split}
        for p in photos
        if p.mos is not None
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)


def build_bank(
    biq2021: Path, bsds500: Path, out: Path, *, plan: BankPlan | None = None, workers: int = 2
) -> Iterator[Path]:
    """Write the photo table and all shards; yields each path as it is complete (existing ones at once).

    Validation gets a twentieth as many shards of each size (at least one).

    Raises:
        DataError: a data folder is missing or holds unreadable pictures.
    """
    plan = plan or BankPlan()
    out.mkdir(parents=True, exist_ok=True)
    photos = read_biq2021(biq2021) + read_bsds500(bsds500)
    write_photos(photos, out / "photos.parquet")
    yield out / "photos.parquet"
    clean = clean_sources(photos)
    paths: dict[Split, list[Path]] = {s: [p.path for p in clean if p.split == s] for s in SPLITS}
    if not all(paths.values()):
        raise DataError("the clean sources do not fill both splits; are both data folders complete?")
    jobs = sorted(
        (number / shards, split, size, number)
        for size, count in plan.sizes
        for split, shards in (("train", count), ("val", max(1, count // 20)))
        for number in range(shards)
    )
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_load_sources, initargs=(paths,)) as pool:
        futures = [pool.submit(_write_shard, out, split, size, number, plan) for _, split, size, number in jobs]  # type: ignore[arg-type]
        for future in futures:
            yield future.result()
