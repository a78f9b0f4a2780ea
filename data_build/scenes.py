"""Scenes: sets of pictures with conversations about them, written beside the bank for instruction tuning.

A row of an instruction file names its pictures by row number (of the bank shard of the same name, or of the table of
photographs) and carries the conversations as JSON. Files are functions of their number and the seed alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mllm_iqa.errors import DataError

from .bank import GROUP
from .instructions import Conversation, Judged, compare, group_conversations, single_picture
from .sources import CLEAN_FROM_MOS, SPLITS, read_rgb

PHOTOS_PER_SCENE = 8
PHOTO_ROUNDS = 6
"""How many times every photograph is seen, each time in another scene with other questions."""

SCHEMA = pa.schema([("images", pa.list_(pa.int32())), ("conversations", pa.string())])


def _json(conversations: list[Conversation]) -> str:
    return json.dumps([asdict(c) for c in conversations], separators=(",", ":"))


def _judged(row: dict[str, object]) -> Judged:
    height, width, pixels = row["height"], row["width"], row["pixels"]
    assert isinstance(height, int) and isinstance(width, int) and isinstance(pixels, bytes)
    findings = tuple(zip(row["kinds"], row["severities"], strict=True))  # type: ignore[call-overload]
    return Judged(np.frombuffer(pixels, np.uint8).reshape(height, width, 3), findings, float(row["mos"]))  # type: ignore[arg-type]


def crop_scenes(shard: Path, seed: int) -> Iterator[dict[str, object]]:
    """One scene per region of a bank shard: its pictures, their reference, and a picture of the next region."""
    rows = pq.read_table(shard).to_pylist()
    pictures = [_judged(row) for row in rows]
    number = int(shard.stem.rsplit("-", 1)[1])
    for start in range(0, len(rows), GROUP):
        rng = np.random.default_rng([seed, number, rows[start]["height"], start])
        other = (start + GROUP + int(rng.integers(GROUP - 1))) % len(rows)
        images = [*range(start, start + GROUP), other]
        conversations = group_conversations([pictures[i] for i in images], GROUP - 1, GROUP, rng)
        yield {"images": images, "conversations": _json(conversations)}


def photo_scenes(table: Path, split: str, seed: int) -> Iterator[dict[str, object]]:
    """Scenes of eight photographs with human MOS: each one's rating, and comparisons of neighbours."""
    rows = pq.read_table(table).to_pylist()
    mine = [i for i, row in enumerate(rows) if row["split"] == split]
    for round_ in range(PHOTO_ROUNDS):
        rng = np.random.default_rng([seed, SPLITS.index(split), round_])
        order = rng.permutation(mine)
        for start in range(0, len(order) - PHOTOS_PER_SCENE + 1, PHOTOS_PER_SCENE):
            images = [int(i) for i in order[start : start + PHOTOS_PER_SCENE]]
            pictures = []
            for i in images:
                clean = rows[i]["subset"] == "ss03" and rows[i]["mos"] >= CLEAN_FROM_MOS
                pictures.append(
                    Judged(read_rgb(Path(rows[i]["path"]))[::2, ::2], () if clean else None, rows[i]["mos"])
                )
            conversations = [c for k, p in enumerate(pictures) for c in single_picture(k, p, rng)]
            conversations += [compare(k, k + 1, pictures, rng) for k in range(0, len(images), 2)]
            yield {"images": images, "conversations": _json(conversations)}


def _write_scenes(bank: Path, name: str, seed: int) -> Path:
    """The instruction file of a shard, or of a split's photographs ("train-photos"), unless it is there."""
    path = bank / f"instruct-{name}.parquet"
    if not path.exists():
        split, _, what = name.partition("-")
        if what == "photos":
            scenes = photo_scenes(bank / "photos.parquet", split, seed)
        else:
            scenes = crop_scenes(bank / f"{name}.parquet", seed)
        partial = path.with_suffix(".partial")
        pq.write_table(pa.Table.from_pylist(list(scenes), schema=SCHEMA), partial)
        partial.rename(path)
    return path


def build_scenes(bank: Path, *, seed: int = 0, workers: int = 2) -> Iterator[Path]:
    """Write an instruction file for every shard of the bank and for the photographs of each split; existing ones stay.

    Raises:
        DataError: the folder holds no bank.
    """
    shards = sorted(p.stem for split in SPLITS for p in bank.glob(f"{split}-*px-*.parquet"))
    if not shards:
        raise DataError(f"{bank}: no bank here; build it first")
    names = [f"{split}-photos" for split in SPLITS] + shards
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_write_scenes, repeat(bank), names, repeat(seed))
