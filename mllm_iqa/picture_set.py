"""Many pictures by the digest of what is judged: all looked at once, decoded again when needed, few held at a time."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeAlias

from .containers import Item, encoded
from .errors import ImageError
from .images import ImageSource, Picture, load_image, shown_name
from .prefetch import decoding_threads, in_order
from .terminal import printable
from .types import Failure, ImageInfo

Source: TypeAlias = ImageSource | Item

_HELD_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Known:
    """A picture that was looked at: what it is, and the SHA-256 of the pixels that are judged."""

    info: ImageInfo
    digest: str


class PictureSet:
    """Pictures by digest. Equal pictures have one digest, whatever they are called."""

    def __init__(self, *, max_pixels: int | None) -> None:
        self._max_pixels = max_pixels
        self._sources: dict[str, tuple[Source, str]] = {}
        self._held: OrderedDict[str, Picture] = OrderedDict()
        self._bytes = 0

    def look_at(self, sources: Iterable[Source]) -> list[Known | Failure]:
        """Read every picture once, several side by side; one that cannot be read is a `Failure` in its place."""
        out: list[Known | Failure] = []
        threads = decoding_threads()
        for source, picture in in_order(self._read, sources, threads=threads, ahead=2 * threads):
            if isinstance(picture, Failure):
                out.append(picture)
                continue
            digest = digest_of(picture)
            if digest not in self._sources:
                again: Source = source if isinstance(source, str | os.PathLike | bytes | Item) else picture
                self._sources[digest] = (again, picture.info.name)
                self._hold(digest, picture)
            out.append(Known(picture.info, digest))
        return out

    def picture(self, digest: str) -> Picture:
        """A picture that was looked at.

        Raises:
            ImageError: its file was changed or removed since.
        """
        if digest in self._held:
            self._held.move_to_end(digest)
            return self._held[digest]
        source, name = self._sources[digest]
        picture = _loaded(source, name, self._max_pixels)
        if digest_of(picture) != digest:
            raise ImageError(f"{name}: the file was changed while its picture was being compared; run again")
        self._hold(digest, picture)
        return picture

    def _hold(self, digest: str, picture: Picture) -> None:
        self._held[digest] = picture
        self._bytes += picture.pixels.nbytes
        while self._bytes > _HELD_BYTES and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1].pixels.nbytes

    def _read(self, source: Source) -> tuple[Source, Picture | Failure]:
        try:
            return source, _loaded(source, None, self._max_pixels)
        except ImageError as error:
            return source, Failure(_name_of(source), str(error))


def digest_of(picture: Picture) -> str:
    """SHA-256 of a picture's shape and pixels, hex."""
    return sha256(repr(picture.pixels.shape).encode() + picture.pixels.tobytes()).hexdigest()


def _loaded(source: Source, name: str | None, max_pixels: int | None) -> Picture:
    if not isinstance(source, Item):
        return load_image(source, name=name, max_pixels=max_pixels)
    shown = printable(source.name)
    try:
        data = encoded(source)
    except ImageError as error:
        raise ImageError(f"{shown}: {error}") from error
    return load_image(data, name=shown, max_pixels=max_pixels)


def _name_of(source: Source) -> str:
    return printable(source.name) if isinstance(source, Item) else shown_name(source)
