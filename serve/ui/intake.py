"""Uploaded files into pictures of the session. A file is read once and deleted, whatever becomes of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mllm_iqa.errors import ImageError

from .entries import Refused
from .held import Held, TooManyPixelsError, hold


@dataclass(frozen=True, slots=True)
class Limits:
    """What one session may hold.

    Attributes:
        megabytes: of one file.
        megapixels: of one picture.
        pictures: how many at a time.
    """

    megabytes: int = 20
    megapixels: int = 50
    pictures: int = 12


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that the browser sent or refused to send.

    Attributes:
        name: the file's own name.
        path: where the server put it; None = not sent, because it is larger than the limit or the transfer failed.
        bytes: its size as the browser says.
    """

    name: str
    path: Path | None
    bytes: int


def take_in(
    held: Sequence[Held], uploads: Iterable[Upload], *, folder: Path, limits: Limits, next_number: int
) -> tuple[tuple[Held, ...], tuple[Refused, ...]]:
    """Read uploaded files, delete them, and add those that are pictures.

    Args:
        held: the session's pictures so far.
        uploads: new files.
        folder: where uploads lie; a path outside of it is refused unread.
        limits: of the session.
        next_number: of the first new picture.

    Returns:
        All pictures, and one refusal for each file that could not be taken.
    """
    pictures, refusals = list(held), list[Refused]()
    for upload in uploads:
        data = _drained(upload, folder)
        reason = _refusal(upload, data, len(pictures), limits)
        if reason is None and data is not None:
            taken = _held(data, upload.name, next_number, limits)
            if isinstance(taken, Held):
                pictures.append(taken)
                next_number += 1
            else:
                reason = taken
        if reason is not None:
            refusals.append(reason)
    return tuple(pictures), tuple(refusals)


def _held(data: bytes, name: str, number: int, limits: Limits) -> Held | Refused:
    try:
        return hold(data, number=number, name=name, max_pixels=limits.megapixels * 1_000_000)
    except TooManyPixelsError as error:
        values = (("name", name), ("size", str(error)), ("limit", str(limits.megapixels)))
        return Refused("error_picture", "too_many_pixels", values)
    except ImageError as error:
        return Refused("error_picture", detail=str(error))


def _refusal(upload: Upload, data: bytes | None, count: int, limits: Limits) -> Refused | None:
    """Why a file is not even decoded; None = it may be."""
    size = upload.bytes if data is None else len(data)
    if size > limits.megabytes * 2**20:
        values = (("name", upload.name), ("size", f"{size / 2**20:.0f}"), ("limit", str(limits.megabytes)))
        return Refused("error_picture", "too_large", values)
    if data is None:
        return Refused("error_picture", "upload_lost", (("name", upload.name),))
    if count >= limits.pictures:
        return Refused("error_picture", "too_many", (("name", upload.name), ("limit", str(limits.pictures))))
    return None


def _drained(upload: Upload, folder: Path) -> bytes | None:
    """The bytes of an upload, whose file is then gone; None where there is no such upload."""
    if upload.path is None:
        return None
    home = folder.resolve()
    path = upload.path.resolve()
    if home not in path.parents or upload.path.is_symlink() or not path.is_file():
        return None
    try:
        return path.read_bytes()
    finally:
        path.unlink(missing_ok=True)
        if path.parent != home:
            with suppress(OSError):  # not empty: another session is sending the same picture
                path.parent.rmdir()
