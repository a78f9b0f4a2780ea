"""The Parquet files that `mllm-iqa data read` wrote, back as a `Reading`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mllm_iqa.errors import DataError

from ..readers.records import Rated, RatedPair, Reading, Unrated

_PATHS = {"image", "reference", "first", "second"}


def read_reading(path: Path) -> Reading:
    """What a file holds: rated pictures, rated pairs or unrated pictures, told by its columns.

    Raises:
        DataError: a file that is missing, unreadable, empty or holds something else.
    """
    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not rows:
        raise DataError(f"{path}: holds no rows")
    name = str(rows[0].get("dataset"))
    kind = next((kind for kind in (Rated, RatedPair, Unrated) if {f.name for f in fields(kind)} == set(rows[0])), None)
    if kind is Rated:
        return Reading(name, rated=tuple(Rated(**_values(row)) for row in rows))
    if kind is RatedPair:
        return Reading(name, pairs=tuple(RatedPair(**_values(row)) for row in rows))
    if kind is Unrated:
        return Reading(name, unrated=tuple(Unrated(**_values(row)) for row in rows))
    columns = ", ".join(rows[0])
    raise DataError(f"{path}: expected a file that `mllm-iqa data read` wrote, got the columns {columns}")


def _values(row: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: Path(value) if name in _PATHS and value is not None else value for name, value in row.items()
    }
    if values.get("distribution") is not None:
        values["distribution"] = tuple(values["distribution"])
    return values
