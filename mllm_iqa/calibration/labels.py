"""Tables of pictures with scores on any one scale, and everything that can be wrong with them, in one line each."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError

IMAGE_COLUMNS = ("image", "path", "picture", "file", "filename", "file_name", "name")
SCORE_COLUMNS = ("score", "mos", "dmos", "rating", "label")
SCALE_COLUMNS = ("scale", "set", "dataset")
MIN_LABELS = 5
"""Fewer say nothing that a calibration could hold."""

_SHARE_OF_A_SCALE = 0.25
_HIGHER = 7
_WIDER = 5.0


@dataclass(frozen=True, slots=True)
class Label:
    """One picture and its score on the user's scale."""

    path: Path
    score: float


def read_labels(
    table: Path,
    *,
    image_column: str | None = None,
    score_column: str | None = None,
    limits: tuple[float, float] | None = None,
) -> list[Label]:
    """The labels of a .csv, .tsv, .json, .jsonl or .parquet table, checked; a picture that occurs twice counts once.

    Args:
        table: relative paths in it start from its folder.
        image_column: of the paths; None = the first of `IMAGE_COLUMNS` that is there.
        score_column: of the scores; None = the first of `SCORE_COLUMNS` that is there.
        limits: lowest and highest score of the scale; None = not stated.

    Raises:
        DataError: one sentence on what is wrong: no such table or column, a score that is no number or outside the
            scale, pictures that are not there, one picture with two scores, two scales in one table, too few labels,
            or labels that are all equal.
    """
    rows = _rows(table)
    columns = list(rows[0]) if rows else []
    image = _column(table, columns, image_column, IMAGE_COLUMNS, "--image-column")
    score = _column(table, columns, score_column, SCORE_COLUMNS, "--score-column")
    _check_one_scale(table, rows, {image, score})
    labels = [_label(table, number, row, image, score) for number, row in enumerate(rows, start=1)]
    missing = [label.path for label in labels if not label.path.is_file()]
    if missing:
        raise DataError(f"{table}: {len(missing)} of {len(labels)} pictures are not there, the first: {missing[0]}")
    labels = _distinct(table, labels)
    check_scores(str(table), [label.score for label in labels], limits)
    return labels


def check_scores(where: str, scores: Sequence[float], limits: tuple[float, float] | None) -> None:
    """Refuse scores that no calibration can be learned from; see `read_labels`."""
    if limits is not None:
        low, high = limits
        outside = [value for value in scores if not low <= value <= high]
        if outside:
            raise DataError(
                f"{where}: {len(outside)} of {len(scores)} scores lie outside the range {low:g} to {high:g}, "
                f"the first: {outside[0]:g}; are there two scales in one table?"
            )
    if len(scores) < MIN_LABELS:
        raise DataError(
            f"{where}: {len(scores)} labeled pictures are too few; a calibration takes at least {MIN_LABELS}, "
            "promises little under 20, and works well from 50"
        )
    if max(scores) == min(scores):
        raise DataError(f"{where}: every score is {scores[0]:g}; labels that do not differ say nothing of a scale")
    split = None if limits is not None else two_scales(np.array(scores))
    if split is not None:
        low_part, high_part = split
        raise DataError(
            f"{where}: two scales in one table? {len(low_part)} scores lie within {low_part.min():g} to "
            f"{low_part.max():g} and {len(high_part)} within {high_part.min():g} to {high_part.max():g}; "
            "calibrate each on its own, or state --range LOW HIGH if it is one"
        )


def two_scales(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The two groups of scores that look like two scales, such as 0..1 and 0..100; None where they look like one.

    They do where the upper group is at least five times as wide as the lower one and its scores reach at least seven
    times as high, the gap between them is wider than the lower one, and each has a quarter of the scores (at least 3).
    """
    ordered = np.sort(scores)
    fewest = max(3, math.ceil(_SHARE_OF_A_SCALE * len(ordered)))
    for cut in range(fewest, len(ordered) - fewest + 1):
        low, high = ordered[:cut], ordered[cut:]
        narrow, wide = float(np.ptp(low)), float(np.ptp(high))
        apart = high[0] - low[-1] > narrow and high[-1] >= _HIGHER * low[-1] > 0
        if apart and wide >= _WIDER * narrow > 0:
            return low, high
    return None


def _rows(table: Path) -> list[dict[str, Any]]:
    if not table.is_file():
        raise DataError(f"{table}: not found; expected a table of pictures and scores (.csv, .json, .jsonl, .parquet)")
    try:
        match table.suffix.lower():
            case ".csv" | ".tsv":
                with table.open(newline="", encoding="utf-8-sig") as file:
                    dialect = "excel-tab" if table.suffix.lower() == ".tsv" else "excel"
                    rows: Any = list(csv.DictReader(file, dialect=dialect))
            case ".jsonl":
                rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines() if line.strip()]
            case ".json":
                rows = json.loads(table.read_text(encoding="utf-8"))
            case ".parquet":
                import pyarrow.parquet as pq

                rows = pq.read_table(table).to_pylist()
            case other:
                raise DataError(f"{table}: {other or 'no extension'} is no table; give .csv, .json, .jsonl or .parquet")
    except (OSError, ValueError, csv.Error) as error:  # Arrow's errors are ValueErrors or OSErrors
        raise DataError(f"{table}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{table}: holds no rows of pictures and scores")
    return rows


def _column(table: Path, columns: list[str], asked: str | None, usual: Sequence[str], option: str) -> str:
    found = [name for name in usual if name in columns] if asked is None else [asked] * (asked in columns)
    if not found:
        wanted = f"a column {asked!r}" if asked is not None else f"any of the columns {', '.join(usual)}"
        raise DataError(f"{table}: has not {wanted}, it has {', '.join(map(str, columns))}; name it with {option}")
    return found[0]


def _check_one_scale(table: Path, rows: list[dict[str, Any]], used: set[str]) -> None:
    for column in SCALE_COLUMNS:
        values = sorted({str(row[column]) for row in rows if row.get(column) not in (None, "")})
        if column not in used and len(values) > 1:
            shown = ", ".join(values[:3])
            raise DataError(f"{table}: the column {column!r} names {len(values)} of them ({shown}); calibrate one each")


def _label(table: Path, number: int, row: dict[str, Any], image: str, score: str) -> Label:
    named = row.get(image)
    if not isinstance(named, str) or not named.strip():
        raise DataError(f"{table}: row {number} names no picture in {image!r}")
    try:
        value = float(row[score])
    except (TypeError, ValueError, KeyError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{table}: row {number} ({named}): the score {row.get(score)!r} is not a number")
    return Label(table.parent / named, value)


def _distinct(table: Path, labels: list[Label]) -> list[Label]:
    """Each picture once, told by its content."""
    known: dict[bytes, Label] = {}
    for label in labels:
        digest = sha256(label.path.read_bytes()).digest()
        first = known.setdefault(digest, label)
        if first.score != label.score:
            raise DataError(
                f"{table}: one picture has two scores, {first.score:g} ({first.path.name}) and {label.score:g} "
                f"({label.path.name}); average them or drop one"
            )
    return list(known.values())
