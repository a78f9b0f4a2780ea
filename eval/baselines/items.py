"""Pictures with a known quality: from a table of files, from a held-out set, from a bank's photographs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq

from mllm_iqa.errors import DataError
from mllm_iqa.images import load_image


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of a set.

    Attributes:
        key: tells it apart within its set.
        truth: grows with quality: a MOS, or minus a severity.
        group: pictures of one source share it; intervals resample groups.
        pixels: reads the picture, uint8 RGB (H, W, 3); reference: reads its reference, None = it has none.
    """

    key: str
    truth: float
    group: str
    pixels: Callable[[], np.ndarray]
    reference: Callable[[], np.ndarray] | None


def _reader(path: Path) -> Callable[[], np.ndarray]:
    return lambda: load_image(path).pixels


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a CSV or Parquet file.

    Raises:
        DataError: no such file, or neither format.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if path.suffix.lower() == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    elif path.suffix.lower() == ".csv":
        rows = pyarrow.csv.read_csv(path).to_pylist()
    else:
        raise DataError(f"{path}: expected a .csv or .parquet table, got {path.suffix or 'no extension'}")
    return rows


def table_items(path: Path) -> list[Item]:
    """Items of a table with columns `path`, `mos` (finite, larger = better) and optionally `reference` and `group`.

    Paths are relative to the table's folder. Without `group`, pictures of one reference are a group.

    Raises:
        DataError: a column is missing, a MOS is no finite number, a picture is named twice.
    """
    rows = read_rows(path)
    if not rows:
        raise DataError(f"{path}: has no rows")
    lacking = [name for name in ("path", "mos") if name not in rows[0]]
    if lacking:
        raise DataError(f"{path}: has no column {' or '.join(lacking)}; it has: {', '.join(rows[0])}")
    items: list[Item] = []
    for number, row in enumerate(rows, start=1):
        mos, reference = row["mos"], row.get("reference")
        if isinstance(mos, bool) or not isinstance(mos, int | float) or not math.isfinite(mos):
            raise DataError(f"{path}, row {number}: mos must be a finite number, got {mos!r}")
        key, group = str(row["path"]), str(row.get("group") or reference or row["path"])
        compared = _reader(path.parent / str(reference)) if reference else None
        items.append(Item(key, float(mos), group, _reader(path.parent / key), compared))
    key, times = Counter(item.key for item in items).most_common(1)[0]
    if times > 1:
        raise DataError(f"{path}: names {key} {times} times")
    return items


def synthetic_items(path: Path) -> list[Item]:
    """The distorted pictures of a set written by `mllm-iqa data heldout`; truth is minus the severity (-1..-5).

    The reference is the same source undistorted, which the set holds as severity 0. The clean pictures themselves
    are left out: to a full-reference metric they are their own reference.
    """
    rows = read_rows(path)
    lacking = [n for n in ("pixels", "height", "width", "source", "distortion", "severity") if n not in rows[0]]
    if lacking:
        raise DataError(f"{path}: has no column {lacking[0]}; `mllm-iqa data heldout` writes such a set")

    def decoded(row: dict[str, Any]) -> Callable[[], np.ndarray]:
        return lambda: np.frombuffer(row["pixels"], np.uint8).reshape(row["height"], row["width"], 3)

    clean = {row["source"]: decoded(row) for row in rows if row["severity"] == 0}
    return [
        Item(
            f"{row['source']}/{row['distortion']}/{row['severity']}",
            -float(row["severity"]),
            row["source"],
            decoded(row),
            clean.get(row["source"]),
        )
        for row in rows
        if row["severity"] > 0
    ]


def photo_items(path: Path) -> list[Item]:
    """The validation photographs of a bank's photos.parquet, with their human MOS; no references."""
    rows = [row for row in read_rows(path) if row.get("split") == "val"]
    if not rows:
        raise DataError(f"{path}: has no rows with split 'val'; `mllm-iqa data bank` writes such a table")
    return [Item(row["path"], float(row["mos"]), row["path"], _reader(Path(row["path"])), None) for row in rows]


def sample(items: Sequence[Item], limit: int | None, *, seed: int = 0) -> list[Item]:
    """At most `limit` items, drawn without replacement, in their order; None = all."""
    if limit is None or limit >= len(items):
        return list(items)
    chosen = np.random.default_rng(seed).choice(len(items), limit, replace=False)
    return [items[i] for i in sorted(chosen)]
