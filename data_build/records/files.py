"""Files of records: Parquet, in which a picture that several neighboring records show is stored once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mllm_iqa.errors import DataError
from mllm_iqa.output_file import replaced_at_end

from .schema import Record, arrow_schema, from_row, to_row

ROWS_AT_ONCE = 64
"""Records read and written together: what bounds the memory, and how near records must be to share a picture."""

_DICTIONARY_BYTES = 1 << 30  # past its limit Parquet would store every picture again


def write_records(records: Iterable[Record], path: Path) -> int:
    """Write a file of records, complete or not there; returns how many. Same records, same bytes."""
    schema, count = arrow_schema(), 0
    with replaced_at_end(path) as file:
        writer = pq.ParquetWriter(
            file, schema, compression="snappy", use_dictionary=True, dictionary_pagesize_limit=_DICTIONARY_BYTES
        )
        with writer:
            for rows in _chunks(records):
                writer.write_table(pa.Table.from_pylist([to_row(record) for record in rows], schema=schema))
                count += len(rows)
    return count


def record_files(path: Path) -> list[Path]:
    """The Parquet files of a folder, sorted by name, or the file itself.

    Raises:
        DataError: there is no such file, or no Parquet file in the folder.
    """
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise DataError(f"{path}: no records here; expected a Parquet file, or a folder of them")
    return files


def read_rows(path: Path, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows of a file or folder of records, a few at a time.

    Args:
        path: as in `record_files`.
        columns: those to read; None = all.

    Raises:
        DataError: no records there, or a file that cannot be read or holds something else.
    """
    for file in record_files(path):
        try:
            with pq.ParquetFile(file) as parquet:
                missing = [name for name in arrow_schema().names if name not in parquet.schema_arrow.names]
                if missing:
                    raise DataError(f"{file}: holds no instruction records: no column {', '.join(missing)}")
                for batch in parquet.iter_batches(ROWS_AT_ONCE, columns=columns):
                    yield from batch.to_pylist()
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{file}: cannot be read: {error}") from error


def read_records(path: Path) -> Iterator[Record]:
    """Records of a file or folder; errors as `read_rows`."""
    return map(from_row, read_rows(path))


def _chunks(records: Iterable[Record]) -> Iterator[list[Record]]:
    chunk: list[Record] = []
    for record in records:
        chunk.append(record)
        if len(chunk) == ROWS_AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
