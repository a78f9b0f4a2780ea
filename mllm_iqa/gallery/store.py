"""A folder's scores on disk: one Parquet table, and only new and changed files judged when it is brought up to date.

scores.parquet    a row for each picture: `tables.COLUMNS`, then `MORE`; what it was made with in its metadata
scores.csv        the same for spreadsheets
index.html        the page; with details/ beside it where there are many pictures
thumbnails/       small pictures by content
maps/             where the worst pictures are damaged, by content, where that was asked for
_rows.sqlite      while pictures are judged: rows by content, synced every second; so a kill loses a second
_lock             held by the process that writes
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image

from ..assistant import Assistant
from ..containers import Item
from ..errors import ConfigError
from ..images import Picture
from ..near_duplicates import Fingerprint, fingerprint
from ..output_file import replaced_at_end
from ..row_store import RowStore
from ..score_stream import judged
from ..tables import arrow_schema, flat_row
from .scan import Found

Row: TypeAlias = dict[str, Any]

TABLE, CSV, PAGE, THUMBNAILS, MAPS = "scores.parquet", "scores.csv", "index.html", "thumbnails", "maps"
MORE = {"sha256": "string", "bytes": "int64", "mtime_ns": "int64", "fingerprint": "string"}
"""Columns after those of `tables.COLUMNS`: of the encoded bytes, their number, time of the file's last change, and
hashes of the picture and its mirror image (hex, joined by a colon; null for one too flat to be compared)."""

THUMBNAIL_SIDE = 240
_STORE, _LOCK = "_rows.sqlite", "_lock"
_SETTINGS = b"mllm_iqa.settings"


@dataclass(frozen=True, slots=True)
class Change:
    """What bringing a table up to date came to: rows kept, judged anew, taken over by content, and gone."""

    kept: int
    scored: int
    moved: int
    failed: int
    gone: int

    @property
    def any(self) -> bool:
        """Whether the table is another one than before."""
        return self.scored + self.moved + self.failed + self.gone > 0


class FolderStore:
    """The table of one folder's scores; `opened` makes it."""

    def __init__(self, home: Path, settings: Mapping[str, Any]) -> None:
        self.home = home
        self._settings = json.loads(json.dumps(settings, default=str))
        self.rows: dict[str, Row] = {}
        self.outdated = 0
        path = home / TABLE
        if path.is_file():
            self._read(path)

    def _read(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.ParquetFile(path).read()
        except (pa.ArrowException, OSError) as error:
            raise ConfigError(f"{path}: no table of scores ({error}); delete it to score the folder anew") from error
        made_with = (table.schema.metadata or {}).get(_SETTINGS)
        if made_with is None or json.loads(made_with) != self._settings:
            self.outdated = table.num_rows
            shutil.rmtree(self.home / MAPS, ignore_errors=True)
            return
        self.rows = {row["name"]: row for row in table.to_pylist()}

    def update(
        self,
        assistant: Assistant | None,
        found: Sequence[Found],
        *,
        explain: bool = True,
        language: str = "en",
        batch_size: int = 8,
        tell: Callable[[Row], None] = lambda row: None,
    ) -> Change:
        """Judge what is new or changed, drop what is gone; the table on disk follows.

        Args:
            assistant: who judges; None where nothing is new or changed.
            found: everything the folder holds now.
            explain: see `Assistant.score`.
            language: see `Assistant.score`.
            batch_size: pictures in one pass.
            tell: told every row that is new, as it comes.
        """
        kept = {one.name: row for one in found if (row := self.unchanged(one)) is not None}
        fresh = [one for one in found if one.name not in kept]
        gone = len(self.rows.keys() - {one.name for one in found})
        new: dict[str, Row] = {}
        moved = 0
        if fresh:
            if assistant is None:
                raise ValueError(f"{len(fresh)} pictures are to be judged, and there is nobody to do it")
            judging = self._judged(assistant, fresh, explain=explain, language=language, batch_size=batch_size)
            for row, taken_over in judging:
                new[row["name"]] = row
                moved += taken_over
                tell(row)
        self.rows = kept | new
        failed = sum(row["error"] is not None for row in new.values())
        change = Change(len(kept), len(new) - failed - moved, moved, failed, gone)
        if change.any or not (self.home / TABLE).is_file():
            self._write()
        for suffix in ("", "-wal", "-shm"):
            (self.home / f"{_STORE}{suffix}").unlink(missing_ok=True)
        return change

    def _judged(
        self, assistant: Assistant, fresh: Sequence[Found], *, explain: bool, language: str, batch_size: int
    ) -> Iterator[tuple[Row, bool]]:
        """Row of each file, and whether it was taken over from equal content; none of files deleted meanwhile."""
        by_content = {row["sha256"]: row for row in self.rows.values() if row["error"] is None}
        prints: dict[str, str | None] = {}

        def look(digest: str, picture: Picture) -> None:
            prints[digest] = written(fingerprint(picture.pixels))
            save_thumbnail(self.home, digest, picture)

        with closing(RowStore(self.home / _STORE)) as partial:

            def known(digest: str) -> Row | None:
                row = by_content.get(digest) or partial.get(digest)
                return row if row is not None and thumbnail_path(self.home, digest).is_file() else None

            items = (Item(one.name, one.path) for one in fresh)
            stream = judged(
                assistant, items, explain=explain, language=language, batch_size=batch_size, known=known, look=look
            )
            for one, judgement in zip(fresh, stream, strict=True):
                if judgement.known is not None:
                    row = dict(judgement.known)
                else:
                    assert judgement.result is not None
                    row = {**flat_row(judgement.result), "sha256": judgement.sha256}
                    row["fingerprint"] = None if judgement.sha256 is None else prints.get(judgement.sha256)
                row |= {"name": one.name, "bytes": one.size, "mtime_ns": one.mtime_ns}
                if row["error"] is None:
                    partial.add(row["sha256"], row)
                elif not os.path.lexists(one.path):
                    continue
                yield row, judgement.known is not None

    def sorted_rows(self) -> list[Row]:
        """All rows, in the order of their names."""
        return [self.rows[name] for name in sorted(self.rows)]

    def unchanged(self, one: Found) -> Row | None:
        """The row of a file that is as it was; None where it must be judged."""
        row = self.rows.get(one.name)
        if row is None or (row["bytes"], row["mtime_ns"]) != one.state:
            return None
        return None if row["error"] is not None and row["sha256"] is None else row  # could not be read: tried again

    def _write(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = self.sorted_rows()
        schema = arrow_schema(None, **MORE).with_metadata({_SETTINGS: json.dumps(self._settings).encode()})
        with replaced_at_end(self.home / TABLE) as file:
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), file)
        with replaced_at_end(self.home / CSV) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            writer = csv.DictWriter(text, schema.names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
            text.detach()
        self._drop_thumbnails({str(row["sha256"]) for row in rows})

    def _drop_thumbnails(self, wanted: set[str]) -> None:
        """Those of pictures that are gone."""
        names = {thumbnail_path(self.home, digest).name for digest in wanted}
        for path in (self.home / THUMBNAILS).glob("*/*.webp"):
            if path.name not in names:
                path.unlink(missing_ok=True)


@contextmanager
def opened(home: Path, settings: Mapping[str, Any]) -> Iterator[FolderStore]:
    """The store in a folder, made if need be, for one process at a time.

    Raises:
        ConfigError: the folder holds other things, cannot be written, or another process is at it.
    """
    if home.exists() and not home.is_dir():
        raise ConfigError(f"--output {home} is a file; name a folder for the report")
    if (
        home.is_dir()
        and not (home / TABLE).exists()
        and set(os.listdir(home)) - {_LOCK, _STORE, THUMBNAILS} - {f"{_STORE}{suffix}" for suffix in ("-wal", "-shm")}
    ):
        raise ConfigError(f"--output {home} holds other files and no report; name a new folder")
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = (home / _LOCK).open("wb")
    except OSError as error:
        raise ConfigError(f"--output {home}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(f"--output {home}: another process is writing there") from error
        for left in home.glob(".*.partial"):  # of a run that was killed
            with suppress(FileNotFoundError):
                left.unlink()
        yield FolderStore(home, settings)


def thumbnail_path(home: Path, digest: str) -> Path:
    """Where the small picture of some content lies."""
    return home / THUMBNAILS / digest[:2] / f"{digest[:20]}.webp"


def save_thumbnail(home: Path, digest: str, picture: Picture) -> None:
    """Write the small picture, whole or not at all, unless it is there."""
    path = thumbnail_path(home, digest)
    if path.is_file():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_at_end(path) as file:
        file.write(thumbnail(picture))


def thumbnail(picture: Picture) -> bytes:
    """The picture as WebP with at most `THUMBNAIL_SIDE` pixels a side."""
    return small_webp(Image.fromarray(picture.pixels), THUMBNAIL_SIDE, quality=74)


def small_webp(image: Image.Image, side: int, *, quality: int) -> bytes:
    """An image as WebP, reduced in place to at most `side` pixels a side."""
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()


def written(found: Fingerprint | None) -> str | None:
    """A fingerprint as text."""
    return None if found is None else f"{found.hash:016x}:{found.mirrored:016x}"


def read_back(text: str | None) -> Fingerprint | None:
    """A fingerprint from its text."""
    return None if text is None else Fingerprint(*(int(part, 16) for part in text.split(":")))
