"""The bank: distorted crops and pictures and a table of photographs as Parquet files, the only thing training reads.

A shard is a function of its number and the seed alone and appears under its name only when complete, so a build
that was killed goes on where it stopped and ends with the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mllm_iqa.errors import DataError
from mllm_iqa.output_file import replaced_at_end

from .crops import Labelled, distort_region, distort_whole, draw_distortions, draw_region, draw_whole
from .sources import SPLITS, Photo, Split, clean_sources, read_biq2021, read_bsds500, read_rgb

GROUP = 4
"""Pictures of one region: three independent draws of distortions, then the region itself as their reference."""

Size = int | tuple[int, int]
"""A crop's side in px, or the (height, width) in px that whole pictures are padded to, multiples of 32."""

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
    """How many groups of pictures of which size, and from where.

    Attributes:
        sizes: (size, number of shards) pairs.
        groups_per_shard: groups of `GROUP` crops in one shard.
        whole_groups_per_shard: the same for whole pictures, which are larger.
        share_varied: how many of the distortions are made by a variation of the published code; see `variations`.
        seed: of the whole bank.
    """

    sizes: tuple[tuple[Size, int], ...] = (
        (96, 80),
        (128, 24),
        (256, 8),
        ((288, 416), 4),
        ((352, 512), 8),
        ((512, 352), 4),
        ((384, 384), 6),
        ((384, 512), 6),
        ((512, 384), 4),
        ((512, 512), 4),
    )
    groups_per_shard: int = 500
    whole_groups_per_shard: int = 80
    share_varied: float = 0.5
    seed: int = 0


def label(size: Size) -> str:
    """How a size stands in a shard's name: "96px" or "352x512px" (height first)."""
    return f"{size}px" if isinstance(size, int) else f"{size[0]}x{size[1]}px"


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
    sources: list[np.ndarray], size: Size, groups: int, seed: int, number: int, share_varied: float = 0.0
) -> Iterator[dict[str, object]]:
    """The rows of shard `number` of crops or whole pictures of a size.

    Raises:
        DataError: no source is large enough.
    """
    sides: tuple[int, ...]
    draw: Callable[..., np.ndarray]
    distort: Callable[..., Labelled]
    if isinstance(size, int):
        sides, (height, width) = (size,), (size, size)
        draw, distort = partial(draw_region, size=size), partial(distort_region, size=size)
    else:
        sides, (height, width) = size, (side - 31 for side in size)
        draw, distort = partial(draw_whole, size=size), distort_whole
    sources = [s for s in sources if s.shape[0] >= height and s.shape[1] >= width]
    if not sources:
        raise DataError(f"no clean source is large enough for pictures of {label(size)}")
    rng = np.random.default_rng([seed, *sides, number])
    for index in range(groups):
        region = draw(sources[rng.integers(len(sources))], rng=rng)
        for place in range(GROUP):
            is_reference = place == GROUP - 1
            drawn = () if is_reference else draw_distortions(rng)
            picture = distort(region, distortions=drawn, rng=rng, share_varied=share_varied)
            yield _row(picture, number * groups + index, is_reference)


_sources: dict[Split, list[np.ndarray]] = {}


def _load_sources(paths: dict[Split, list[Path]]) -> None:
    cv2.setNumThreads(1)
    for split, files in paths.items():
        _sources[split] = [read_rgb(path) for path in files]


def _write_shard(out: Path, split: Split, size: Size, number: int, plan: BankPlan) -> Path:
    path = out / f"{split}-{label(size)}-{number:04d}.parquet"
    if not path.exists():
        # Validation regions come from other photographs and from another seed.
        seed = plan.seed + SPLITS.index(split) * 1_000_003
        groups = plan.groups_per_shard if isinstance(size, int) else plan.whole_groups_per_shard
        rows = list(shard_rows(_sources[split], size, groups, seed, number, plan.share_varied))
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
    with replaced_at_end(path) as file:
        pq.write_table(pa.Table.from_pylist(rows), file)


def _claim(out: Path, plan: BankPlan, photos: list[Photo]) -> None:
    """Note in the folder what its files are made from, or check that it is the same.

    The photographs count too: conversations name them by their place in the table.
    """
    path = out / "plan.json"
    mine = {k: v for k, v in asdict(plan).items() if k != "sizes"}  # more sizes and shards may come later
    known = [(p.path.name, p.dataset, p.subset, p.split, p.mos) for p in photos]
    mine["photographs"] = hashlib.sha256(repr(known).encode()).hexdigest()
    text = json.dumps(mine, indent=2) + "\n"
    if path.exists() or any(out.glob("*.parquet")):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            raise DataError(
                f"{out}: holds a bank of another plan or of other photographs (see its plan.json); name another folder"
            )
        return
    with replaced_at_end(path) as file:
        file.write(text.encode())


def build_bank(
    biq2021: Path, bsds500: Path, out: Path, *, plan: BankPlan | None = None, workers: int = 2
) -> Iterator[Path]:
    """Write the photo table and all shards; yields each path as it is complete (existing ones at once).

    Validation gets a twentieth as many shards of each size (at least one).

    Raises:
        DataError: a data folder is missing or holds unreadable pictures, or `out` a bank of another plan.
    """
    plan = plan or BankPlan()
    out.mkdir(parents=True, exist_ok=True)
    photos = read_biq2021(biq2021) + read_bsds500(bsds500)
    _claim(out, plan, photos)
    write_photos(photos, out / "photos.parquet")
    yield out / "photos.parquet"
    clean = clean_sources(photos)
    paths: dict[Split, list[Path]] = {s: [p.path for p in clean if p.split == s] for s in SPLITS}
    if not all(paths.values()):
        raise DataError("the clean sources do not fill both splits; are both data folders complete?")
    jobs = sorted(
        (
            (number / shards, split, size, number)
            for size, count in plan.sizes
            for split, shards in (("train", count), ("val", max(1, count // 20)))
            for number in range(shards)
        ),
        key=lambda job: job[:2],
    )
    context = get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_load_sources, initargs=(paths,)) as pool:
        futures = [pool.submit(_write_shard, out, split, size, number, plan) for _, split, size, number in jobs]  # type: ignore[arg-type]
        for future in futures:
            yield future.result()
