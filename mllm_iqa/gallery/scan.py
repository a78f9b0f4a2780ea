"""Which pictures a folder holds now, told apart by size and time of change alone: nothing is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import ImageError
from ..inputs import is_picture_name
from ..terminal import printable


@dataclass(frozen=True, slots=True)
class Found:
    """A picture's file.

    Attributes:
        name: its path below the folder, with forward slashes; bytes that are no text are escaped.
        path: to open it by.
        size: in bytes; -1 where the file cannot be asked.
        mtime_ns: time of its last change.
    """

    name: str
    path: str
    size: int
    mtime_ns: int

    @property
    def state(self) -> tuple[int, int]:
        """What changes when the file does."""
        return self.size, self.mtime_ns


def scan(folder: Path, *, leave_out: Path | None = None) -> list[Found]:
    """The pictures below a folder, by name, in the order of their names.

    Names that begin with a dot are passed over; links to folders are followed, each real folder once. Whatever vanishes
    meanwhile is not there.

    Args:
        folder: to search, to any depth.
        leave_out: a folder that is not entered, such as the report's own.

    Raises:
        ImageError: there is no such folder, or it cannot be listed.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder}: there is no such folder")
    try:
        os.listdir(folder)
    except OSError as error:
        raise ImageError(f"{folder}: the folder cannot be listed: {error.strerror}") from error
    barred = {os.path.realpath(leave_out)} if leave_out is not None else set[str]()
    return sorted(_below(str(folder), "", barred), key=lambda found: found.name)


def _below(folder: str, prefix: str, entered: set[str]) -> Iterator[Found]:
    real = os.path.realpath(folder)
    if real in entered:
        return
    entered.add(real)
    try:
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError:  # unreadable or gone
        return
    for entry in listed:
        if entry.name.startswith("."):
            continue
        name = f"{prefix}{_text(entry.name)}"
        try:
            if entry.is_dir():
                yield from _below(entry.path, f"{name}/", entered)
                continue
            if not is_picture_name(entry.name):
                continue
            status = entry.stat()
            yield Found(name, entry.path, status.st_size, status.st_mtime_ns)
        except FileNotFoundError:
            if entry.is_symlink() and is_picture_name(entry.name):  # leads nowhere: an error row
                yield Found(name, entry.path, -1, 0)
        except OSError:
            yield Found(name, entry.path, -1, 0)


def _text(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        return printable(name)
    return name
