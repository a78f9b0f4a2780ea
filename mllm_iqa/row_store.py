"""Rows by the content of their pictures, on disk, surviving a kill: what a run that goes on need not judge again."""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING

from .errors import ConfigError

if TYPE_CHECKING:
    from .score_stream import Row

_SYNC_SECONDS = 1.0


class RowStore:
    """SHA-256 of a picture's encoded bytes -> the row of its score. For any number of threads of one process.

    What was added is on the disk a second later, whatever happens to the process or the machine.
    """

    def __init__(self, path: Path) -> None:
        """Open or begin a store; a ConfigError says that the file is none."""
        self._lock = Lock()
        try:
            self._rows = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._rows.execute("PRAGMA journal_mode = WAL")
            self._rows.execute("PRAGMA synchronous = FULL")  # a commit waits for the disk
            self._rows.execute("CREATE TABLE IF NOT EXISTS rows (sha256 BLOB PRIMARY KEY, row TEXT NOT NULL)")
        except sqlite3.Error as error:
            raise ConfigError(f"{path}: no store of rows ({error}); delete it to score these pictures again") from error
        self._open = False
        self._synced = monotonic()

    def __len__(self) -> int:
        with self._lock:
            return int(self._rows.execute("SELECT count(*) FROM rows").fetchone()[0])

    def get(self, sha256: str) -> Row | None:
        """The row of a picture; None when it was not added."""
        with self._lock:
            found = self._rows.execute("SELECT row FROM rows WHERE sha256 = ?", (bytes.fromhex(sha256),)).fetchone()
        row: Row | None = None if found is None else json.loads(found[0])
        return row

    def add(self, sha256: str, row: Row) -> None:
        """Keep a row; one that is there already stays."""
        text = json.dumps(row, ensure_ascii=False, allow_nan=False)
        with self._lock:
            if not self._open:
                self._rows.execute("BEGIN")
                self._open = True
            self._rows.execute("INSERT OR IGNORE INTO rows VALUES (?, ?)", (bytes.fromhex(sha256), text))
            if monotonic() - self._synced >= _SYNC_SECONDS:
                self._commit()

    def sync(self) -> None:
        """Put everything on the disk now."""
        with self._lock:
            self._commit()

    def close(self) -> None:
        """Put everything on the disk and let go of the file."""
        with self._lock:
            self._commit()
            with suppress(sqlite3.Error):  # another process reads it: the log stays beside it, nothing is lost
                self._rows.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._rows.close()

    def _commit(self) -> None:
        if self._open:
            self._rows.execute("COMMIT")
            self._open = False
        self._synced = monotonic()
