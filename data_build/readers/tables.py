"""Tables with one picture per row in five formats, a folder with a score file, and pyiqa's meta files.

They take the scale from the caller, look for pictures below a folder, and check and report as `read` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mllm_iqa.errors import ConfigError, DataError

from .archive import Archive
from .entries import Entry, split_named
from .options import DEFAULTS, Options, collect_below
from .records import Reading
from .scale import Scale
from .score_files import check_columns, csv_rows, csv_table, json_objects, lines

_PICTURES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column of a table holds what; None = the table has no such column."""

    image: str = "image"
    mos: str = "mos"
    std: str | None = None
    reference: str | None = None
    split: str | None = None
    group: str | None = None
    distortion: str | None = None

    @property
    def used(self) -> list[str]:
        """The names of the columns that the table has."""
        named = (self.image, self.mos, self.std, self.reference, self.split, self.group, self.distortion)
        return [column for column in named if column is not None]


def read_table(
    path: Path,
    *,
    scale: Scale,
    columns: Columns | None = None,
    media_root: Path | None = None,
    options: Options = DEFAULTS,
) -> Reading:
    """A CSV, TSV, JSON (a list of objects), JSON Lines or Parquet table with one picture per row.

    Args:
        path: the file; its extension says the format.
        scale: of the scores; deviations are taken as the raters' spread on the same scale.
        columns: which column holds what; a split may be train, val, test, their longer names, or 0, 1, 2.
        media_root: folder that picture paths start from; None = the folder of the file.
        options: name, count and strictness.

    Raises:
        DataError: as `read`; also a column that is not there, and a split that is none.
        ConfigError: an unknown extension.
    """
    named = columns or Columns()

    def entries(archive: Archive) -> Iterator[Entry]:
        for row in _rows(path, named.used):
            yield from entry_of_row(row, named, path, archive)

    return collect_below(path, entries, scale, media_root, options)


def read_folder(images: Path, scores: Path, *, scale: Scale, options: Options = DEFAULTS) -> Reading:
    """A folder of pictures and a file of "name score" lines, separated by a comma, a tab or blanks, without a header.

    Every picture of the folder must have a score, and every score a picture.
    """

    def entries(archive: Archive) -> Iterator[Entry]:
        scored: set[str] = set()
        for line in lines(scores):
            name, score = _name_and_score(line)
            if not score:
                archive.report("unreadable score", scores, f"expected a name and a score, got {line!r}")
                continue
            scored.add(name.lower())
            yield Entry(image=name, score=score)
        for path in archive.glob("*"):
            if path.suffix.lower() in _PICTURES and path.name.lower() not in scored:
                archive.report("unreadable score", path, f"no score in {scores}")

    return collect_below(images, entries, scale, images, options)


def read_pyiqa_csv(
    path: Path,
    *,
    scale: Scale,
    media_root: Path,
    split_column: str | None = None,
    reference_root: Path | None = None,
    options: Options = DEFAULTS,
) -> Reading:
    """A pyiqa `meta_info` CSV, told by its header.

    No-reference: the first column is the picture, the second the score. Full-reference (the first column begins with
    `ref`): reference, picture, score. A column `std` is read where there is one. `scale` says whether a column called
    dmos is better when higher.

    Args:
        path: the file.
        scale: of the scores.
        media_root: folder that picture names start from.
        split_column: one of the file's split columns, holding 0, 1, 2 or train, val, test.
        reference_root: folder that reference names start from; None = `media_root`.
        options: name, count and strictness.
    """
    header = next(csv_rows(path), [])
    paired = bool(header) and header[0].lower().startswith("ref")
    if len(header) < (3 if paired else 2):
        raise DataError(f"{path}: expected a header of (reference,) picture and score, got {', '.join(header)}")
    named = Columns(
        image=header[1] if paired else header[0],
        mos=header[2] if paired else header[1],
        std="std" if "std" in header else None,
        reference=header[0] if paired else None,
        split=split_column,
    )

    def entries(archive: Archive) -> Iterator[Entry]:
        for row in csv_table(path, named.used):
            for entry in entry_of_row(row, named, path, archive):
                if entry.reference is None or reference_root is None:
                    yield entry
                else:
                    yield replace(entry, reference=str(reference_root.absolute() / entry.reference))

    return collect_below(path, entries, scale, media_root, options)


def entry_of_row(row: Mapping[str, Any], columns: Columns, path: Path, archive: Archive) -> Iterator[Entry]:
    """The entry of a row; none, and a report, when its split is no split."""
    written = _cell(row, columns.split)
    split = split_named(written)
    if written and split is None:
        what = f"{written!r} of column {columns.split} is no split; use train, val or test"
        archive.report("unreadable score", path, what)
        return
    reference = _cell(row, columns.reference)
    yield Entry(
        image=_cell(row, columns.image),
        score=row.get(columns.mos),
        std=None if columns.std is None else row.get(columns.std),
        reference=reference or None,
        distortion=_cell(row, columns.distortion) or None,
        split=split,
        group=_cell(row, columns.group) or reference or None,
    )


def _cell(row: Mapping[str, Any], column: str | None) -> str:
    value = None if column is None else row.get(column)
    return "" if value is None else str(value).strip()


def _rows(path: Path, columns: list[str]) -> Iterator[Mapping[str, Any]]:
    match path.suffix.lower():
        case ".csv":
            yield from csv_table(path, columns)
        case ".tsv":
            yield from csv_table(path, columns, delimiter="\t")
        case ".json" | ".jsonl":
            for item in json_objects(path):
                check_columns(path, item, columns)
                yield item
        case ".parquet":
            rows = _parquet(path)
            if rows:
                check_columns(path, rows[0], columns)
            yield from rows
        case suffix:
            raise ConfigError(f"{path}: unknown kind of table {suffix!r}; use csv, tsv, json, jsonl or parquet")


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return rows


def _name_and_score(line: str) -> tuple[str, str]:
    """A name, which may hold separators, and the score after the last of them; '' without one."""
    match = re.fullmatch(r"(.+?)(?:\s*,\s*|\s+)([^\s,]+)", line)
    return (line, "") if match is None else (match[1], match[2])
