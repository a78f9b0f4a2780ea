"""Pictures in a stream, their results in the same order: threads read and decode ahead while the model works."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, TypeAlias

from .assistant import Assistant
from .containers import Item, encoded
from .errors import ImageError
from .images import Picture, load_image
from .prefetch import decoding_threads, in_order
from .tables import Result
from .terminal import printable
from .types import Failure

Row: TypeAlias = dict[str, Any]

_BATCHES_AHEAD = 2
_BATCHES_WAITING = 16  # results known beforehand are handed on after at most so many


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one picture.

    Attributes:
        name: as results call it.
        sha256: of its encoded bytes, hex; None where they could not be read.
        result: the score or failure; None where a row was known beforehand.
        known: that row.
    """

    name: str
    sha256: str | None
    result: Result | None
    known: Row | None = None


@dataclass(frozen=True, slots=True)
class _Loaded:
    name: str
    sha256: str | None
    content: Picture | Failure | Row


def judged(
    assistant: Assistant,
    items: Iterable[Item],
    *,
    explain: bool = True,
    language: str = "en",
    batch_size: int = 8,
    known: Callable[[str], Row | None] | None = None,
    look: Callable[[str, Picture], None] | None = None,
) -> Iterator[Judged]:
    """Judge pictures in their order; about three batches of decoded pictures are held.

    Args:
        assistant: who judges.
        items: taken as needed.
        explain: see `Assistant.score`.
        language: see `Assistant.score`.
        batch_size: pictures in one call of `Assistant.score_many`.
        known: the row of a picture judged before, by the SHA-256 of its encoded bytes; None = not judged before. Called
            in threads. A picture with a row is neither decoded nor judged again.
        look: shown every picture that is decoded, with the SHA-256 of its encoded bytes. Called in threads.

    Raises:
        IqaError: what the engine raises; a picture that cannot be read is a `Failure` in its place.
        ValueError: the engine gave fewer results than it got pictures.
    """
    load = partial(_load, max_pixels=assistant.max_pixels, known=known, look=look)
    ahead = _BATCHES_AHEAD * batch_size
    for chunk in _chunks(in_order(load, items, threads=decoding_threads(), ahead=ahead), batch_size):
        pictures = [one.content for one in chunk if isinstance(one.content, Picture)]
        scores = assistant.score_many(pictures, explain=explain, language=language, batch_size=batch_size)
        pairs = zip(pictures, scores, strict=True)
        for one in chunk:
            if isinstance(one.content, Picture):
                yield Judged(one.name, one.sha256, _plain(next(pairs)[1]))
            elif isinstance(one.content, Failure):
                yield Judged(one.name, one.sha256, one.content)
            else:
                yield Judged(one.name, one.sha256, None, one.content)


def _plain(result: Result) -> Result:
    """A failure says its name once."""
    if isinstance(result, Failure):
        return Failure(result.name, result.error.removeprefix(f"{result.name}: "))
    return result


def _chunks(loaded: Iterator[_Loaded], batch_size: int) -> Iterator[list[_Loaded]]:
    """Neighbors, cut where their pictures fill a batch or they are many."""
    chunk: list[_Loaded] = []
    pictures = 0
    for one in loaded:
        chunk.append(one)
        pictures += isinstance(one.content, Picture)
        if pictures == batch_size or len(chunk) >= _BATCHES_WAITING * batch_size:
            yield chunk
            chunk, pictures = [], 0
    if chunk:
        yield chunk


def _load(
    item: Item,
    *,
    max_pixels: int | None,
    known: Callable[[str], Row | None] | None,
    look: Callable[[str, Picture], None] | None,
) -> _Loaded:
    name = printable(item.name)
    try:
        data = encoded(item)
    except ImageError as error:
        return _Loaded(name, None, Failure(name, str(error)))
    digest = sha256(data).hexdigest()
    row = None if known is None else known(digest)
    if row is not None:
        return _Loaded(name, digest, row)
    try:
        picture = load_image(data, name=name, max_pixels=max_pixels)
        if look is not None:
            look(digest, picture)
        return _Loaded(name, digest, picture)
    except ImageError as error:
        return _Loaded(name, digest, Failure(name, str(error).removeprefix(f"{name}: ")))
