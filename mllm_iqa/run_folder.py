"""The folder of a large run: parts of the table that are complete or not there, and what the run was asked to do.

    _run.json            settings that change rows; a run of other settings is refused here
    part-00000.parquet   the first rows (or .jsonl); written beside its name, synced, then moved there
    part-00001.parquet   the next ones ...
    _rows.sqlite         while the local engine works: rows by picture content, synced every second
    _summary.json        counts, once the run is complete; absent while it is not
    _lock                held by the process that writes

Names that begin with `_` or `.` are passed over by readers of Parquet folders, so the folder is one table to them.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeAlias

from .errors import ConfigError
from .output_file import replaced_at_end
from .score_stream import Judged, Row
from .tables import arrow_schema, flat_row, nested_row
from .types import Failure

PartFormat: TypeAlias = Literal["parquet", "jsonl"]

_SETTINGS, _SUMMARY, _STORE, _LOCK = "_run.json", "_summary.json", "_rows.sqlite", "_lock"
_PART = re.compile(r"part-(\d{5,})\.(parquet|jsonl)")


def part_row(judged: Judged, format: PartFormat) -> Row:
    """The row of a picture in a part: that of `tables`, and the SHA-256 of the encoded bytes as `sha256`."""
    if judged.known is not None:
        row = {**judged.known, "name": judged.name}
        return row if format == "parquet" else {**row, "image": {**row["image"], "name": judged.name}}
    assert judged.result is not None
    if format == "parquet":
        return {**flat_row(judged.result), "sha256": judged.sha256}
    row = nested_row(judged.result)
    if isinstance(judged.result, Failure):
        return {**row, "sha256": judged.sha256}
    plain: Row = json.loads(json.dumps({**row, "sha256": judged.sha256}))  # as it reads back: lists for tuples
    return plain


def part_path(folder: Path, index: int, format: PartFormat) -> Path:
    """Where a part stands, counted from 0."""
    return folder / f"part-{index:05d}.{format}"


def write_part(folder: Path, index: int, rows: Sequence[Row], format: PartFormat) -> None:
    """Put a part in its place, whole and on the disk, over one that was there."""
    with replaced_at_end(part_path(folder, index, format)) as file:
        if format == "jsonl":
            for row in rows:
                file.write((json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode())
        else:
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pylist(list(rows), schema=arrow_schema(sha256="string")), file)
    _sync(folder)


def read_part(folder: Path, index: int, format: PartFormat) -> list[Row]:
    """The rows of a part, each as it was written; none where there is no such part."""
    path = part_path(folder, index, format)
    if not path.is_file():
        return []
    if format == "jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line]
    import pyarrow.parquet as pq

    rows: list[Row] = pq.ParquetFile(path).read().to_pylist()
    return rows


class RunFolder:
    """A folder that one process may write parts to; `claimed` makes it."""

    def __init__(self, folder: Path, format: PartFormat) -> None:
        self.folder = folder
        self.format = format

    @property
    def store(self) -> Path:
        """Where the rows of the local engine are kept while it works."""
        return self.folder / _STORE

    def parts(self) -> list[int]:
        """Numbers of the parts that are there, ascending."""
        found = map(_PART.fullmatch, os.listdir(self.folder))
        return sorted(int(match[1]) for match in found if match is not None and match[2] == self.format)

    def known_rows(self) -> Iterator[Row]:
        """The scores, without failures, in the parts that are there."""
        for index in self.parts():
            yield from (row for row in read_part(self.folder, index, self.format) if row["error"] is None)

    def finish(self, parts: int, summary: Mapping[str, Any]) -> None:
        """Declare the run complete: parts beyond it, of an earlier and longer one, go; the summary is written."""
        for index in self.parts():
            if index >= parts:
                part_path(self.folder, index, self.format).unlink()
        with replaced_at_end(self.folder / _SUMMARY) as file:
            file.write((json.dumps({**summary, "parts": parts}, indent=2) + "\n").encode())
        for suffix in ("", "-wal", "-shm"):
            (self.folder / f"{_STORE}{suffix}").unlink(missing_ok=True)
        _sync(self.folder)

    def joined_into(self, output: Path) -> None:
        """Write all parts, in order, into one file of their format, which is complete or not there."""
        with replaced_at_end(output) as file:
            if self.format == "jsonl":
                for index in self.parts():
                    file.write(part_path(self.folder, index, self.format).read_bytes())
                return
            import pyarrow.parquet as pq

            with pq.ParquetWriter(file, arrow_schema(sha256="string")) as writer:
                for index in self.parts():
                    writer.write_table(pq.ParquetFile(part_path(self.folder, index, self.format)).read())


@contextmanager
def claimed(folder: Path, settings: Mapping[str, Any], format: PartFormat) -> Iterator[RunFolder]:
    """The folder, made if need be, for a run of these settings alone.

    Args:
        folder: new or empty, or of an earlier run of the same settings.
        settings: plain values for JSON.
        format: of the parts.

    Raises:
        ConfigError: it holds something else, a run of other settings, or a run that is going on.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--run {folder} is a file; name a folder")
    path = folder / _SETTINGS
    if folder.is_dir() and not path.is_file() and set(os.listdir(folder)) - {_LOCK}:
        raise ConfigError(f"--run {folder} holds other files and no run; name a new folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("wb")
    except OSError as error:
        raise ConfigError(f"--run {folder}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"--run {folder}: another process is writing there") from error
        asked = json.loads(json.dumps({**settings, "format": format}, default=str))  # as it reads back
        if path.is_file():
            _check_same(folder, json.loads(path.read_text("utf-8")), asked)
        else:
            with replaced_at_end(path) as file:
                file.write((json.dumps(asked, indent=2) + "\n").encode())
        (folder / _SUMMARY).unlink(missing_ok=True)
        for left in folder.glob(".*.partial"):  # of a run that was killed
            with suppress(FileNotFoundError):
                left.unlink()
        yield RunFolder(folder, format)


def _check_same(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for key in now:
        if before.get(key) != now[key]:
            raise ConfigError(
                f"--run {folder} holds a run whose {key} was {before.get(key)}, not {now[key]}; name another folder"
            )


def _sync(folder: Path) -> None:
    """Put the folder's list of names on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
