"""Rows of a JSON list, JSON Lines or Parquet file, and where the pictures they name lie."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mllm_iqa.errors import DataError
from mllm_iqa.images import ImageSource


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All rows of a file, or of every Parquet file of a folder.

    Raises:
        DataError: no such file, one that cannot be read, or one without rows.
    """
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise DataError(f"{path}: not found; expected a .json, .jsonl or .parquet file, or a folder of Parquet files")
    try:
        rows = [row for file in files for row in _rows(file)]
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: holds no rows")
    return rows


def _rows(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
        return rows
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    loaded = json.loads(text)
    return loaded if isinstance(loaded, list) else [loaded]


def field(row: Mapping[str, Any], name: str, where: str) -> Any:
    """A field of a row; a DataError names the row that lacks it."""
    if name not in row or row[name] is None:
        raise DataError(f"{where}: no {name}; it has: {', '.join(row)}")
    return row[name]


def picture(value: Any, source: Path, where: str) -> ImageSource:
    """A picture as a file names or holds it.

    Args:
        value: a path, starting from the file's folder or from `images/` in it, or {"bytes", "path"} as `datasets`
            writes it.
        source: the file that names it.
        where: what an error calls the row.
    """
    if isinstance(value, dict) and set(value) == {"bytes", "path"}:
        if value["bytes"] is not None:
            return bytes(value["bytes"])
        value = value["path"]
    if not isinstance(value, str) or not value:
        raise DataError(f"{where}: expected the path of a picture, got {str(value)[:60]!r}")
    base = source if source.is_dir() else source.parent
    inside = base / "images" / value
    return inside if inside.is_file() else base / value
