"""Files that hold many pictures: tar archives (webdataset shards) and Parquet tables.

Pictures are listed without reading them and read one at a time later, in any thread or process, from where the listing
says they are.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from typing import Any

from .errors import ImageError
from .images import MAX_SOURCE_BYTES, read_encoded

CONTAINERS = (".tar", ".parquet")

_PICTURE_COLUMNS = ("image", "bytes", "path")
_NAMES_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a file: a member of a tar archive."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Cell:
    """A place in a Parquet table: `row` counts within its row group."""

    group: int
    row: int
    column: str


@dataclass(frozen=True, slots=True)
class Item:
    """One picture to judge, not read yet.

    Attributes:
        name: what results call it: the path as the user spelled it, or `archive.tar/member`, `table.parquet#row`.
        path: the file that holds it.
        place: where in that file; None = the whole file.
        fault: why there is no picture, where the listing already met an error; None otherwise.
    """

    name: str
    path: str
    place: Span | Cell | None = None
    fault: str | None = None


def is_container(name: str) -> bool:
    """Whether a file of that name is listed for the pictures inside it."""
    return os.path.splitext(name)[1].lower() in CONTAINERS


def pictures_in(path: str) -> Iterator[Item]:
    """The pictures inside a container, in its order; an error on the way is one more item that says so.

    A tar archive gives its members that have a picture's extension. A Parquet table gives a picture for every row, from
    the first of these columns it has: `image` (encoded bytes, or a struct of `bytes` and `path`), `bytes`, `path`
    (relative to the table's folder). A column `name` says what to call them.
    """
    listing = _tar_members if path.lower().endswith(".tar") else _table_rows
    try:
        yield from listing(path)
    except (ImageError, OSError, tarfile.TarError, EOFError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        yield Item(path, path, fault=f"cannot be listed: {' '.join(reason.split())[:300]}")


def encoded(item: Item) -> bytes:
    """The encoded bytes of a picture.

    Raises:
        ImageError: they cannot be read, or are more than `images.MAX_SOURCE_BYTES`; without the item's name.
    """
    if item.fault is not None:
        raise ImageError(item.fault)
    if item.place is None:
        return read_encoded(item.path)
    if isinstance(item.place, Span):
        return _span(item.path, item.place)
    return _cell(item.path, item.place)


def _span(path: str, span: Span) -> bytes:
    if span.size > MAX_SOURCE_BYTES:
        raise ImageError(f"has {span.size} bytes; the limit is {MAX_SOURCE_BYTES}")
    try:
        with open(path, "rb") as file:
            file.seek(span.offset)
            data = file.read(span.size)
    except OSError as error:
        raise ImageError(f"cannot be opened: {error.strerror}") from error
    if len(data) != span.size:
        raise ImageError(f"the archive ends after {len(data)} of its {span.size} bytes")
    return data


def _tar_members(path: str) -> Iterator[Item]:
    from .inputs import is_picture_name

    with tarfile.open(path, "r:") as archive:  # not compressed: members are read by their place
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # else a list of all of them grows
            if not member.isreg() or not is_picture_name(os.path.basename(member.name)):
                continue
            name = f"{path}/{member.name}"
            if member.issparse():
                yield Item(name, path, fault="is a sparse member; pack the archive without sparse files")
            else:
                yield Item(name, path, Span(member.offset_data, member.size))
        # tarfile takes an archive cut off between members for a whole one; a whole one ends in a block of zeros
        if archive.offset + tarfile.BLOCKSIZE > os.path.getsize(path):
            raise ImageError("the archive is cut off: its end marker is missing")


def _table_rows(path: str) -> Iterator[Item]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as table:
        schema = table.schema_arrow
        column = next((name for name in _PICTURE_COLUMNS if name in schema.names), None)
        if column is None:
            raise ImageError(
                f"has none of the columns {', '.join(_PICTURE_COLUMNS)}; it has {', '.join(schema.names) or 'none'}"
            )
        of_paths = pa.types.is_string(schema.field(column).type) or pa.types.is_large_string(schema.field(column).type)
        wanted = [name for name in ("name", *([column] if of_paths else [])) if name in schema.names]
        seen = 0
        for group in range(table.metadata.num_row_groups):
            rows = table.metadata.row_group(group).num_rows
            names = _column_values(table, group, wanted, rows)
            for row, values in enumerate(names):
                given = values.get("name")
                name = given if isinstance(given, str) and given else f"{path}#{seen + row}"
                if not of_paths:
                    yield Item(name, path, Cell(group, row, column))
                elif isinstance(values[column], str) and values[column]:
                    file = os.path.join(os.path.dirname(path), values[column])
                    yield Item(given if isinstance(given, str) and given else file, file)
                else:
                    yield Item(name, path, fault=f"its {column} is empty")
            seen += rows


def _column_values(table: Any, group: int, columns: list[str], rows: int) -> Iterator[dict[str, Any]]:
    """One dict a row with the values of these columns, a few thousand rows held at a time."""
    if not columns:
        yield from ({} for _ in range(rows))
        return
    for batch in table.iter_batches(_NAMES_AT_ONCE, row_groups=[group], columns=columns):
        yield from batch.to_pylist()


_one_group_at_a_time = Lock()


def _cell(path: str, cell: Cell) -> bytes:
    try:
        with _one_group_at_a_time:  # neighbors are asked for at once, and lie in the same group
            value = _group(path, os.stat(path).st_mtime_ns, cell.group, cell.column)[cell.row].as_py()
    except (OSError, ValueError) as error:
        raise ImageError(f"cannot be read from the table: {' '.join(str(error).split())[:300]}") from error
    if isinstance(value, dict):
        data, file = value.get("bytes"), value.get("path")
        if data is None and file:
            return read_encoded(os.path.join(os.path.dirname(path), file))
        value = data
    if not isinstance(value, bytes):
        raise ImageError(f"its {cell.column} holds no bytes" if value is not None else f"its {cell.column} is empty")
    return value


@lru_cache(maxsize=2)  # a batch may lie on both sides of a border
def _group(path: str, _mtime_ns: int, group: int, column: str) -> Any:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as table:
        return table.read_row_group(group, columns=[column]).column(0)
