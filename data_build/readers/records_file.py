"""Records as a Parquet file, one row per record, paths as text."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from mllm_iqa.output_file import replaced_at_end

from .records import Reading

_SCORED = {
    **{name: "string" for name in ("image", "reference", "distortion", "dataset", "split", "group")},
    **{name: "double" for name in ("mos", "std", "original", "original_std")},
    "level": "int64",
}
_PAIRED = {
    **{name: "string" for name in ("first", "second", "reference", "dataset", "split", "group")},
    "prefers_first": "double",
}
_UNRATED = {"image": "string", "reference": "string", "distortion": "string", "level": "int64"}
_UNRATED |= {"dataset": "string", "group": "string"}


def write_parquet(reading: Reading, out: Path) -> None:
    """Write the records of a reading; the columns are the fields of their class, the file is complete or not there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = _PAIRED if reading.pairs else _UNRATED if reading.unrated else _SCORED
    fields = [(name, pa.type_for_alias(kind)) for name, kind in types.items()]
    if types is _SCORED:
        fields.append(("distribution", pa.list_(pa.float64())))
    rows = [_row(asdict(record)) for record in reading.records]
    table = pa.Table.from_pylist(rows, schema=pa.schema(fields))
    with replaced_at_end(out) as file:
        pq.write_table(table, file)


def _row(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value.as_posix() if isinstance(value, Path) else value for name, value in fields.items()}
