"""Which pictures the user means: files, folders, patterns, lists and containers in; a stream in a fixed order out.

Nothing is read but names, and those are never held all at once: a folder's names are sorted in runs on disk where they
are many. Two things are held: the names of one folder while a pattern is matched against it, and, only where arguments
overlap, a 16-byte digest of every path already met below them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from glob import has_magic, iglob
from hashlib import blake2b
from pathlib import Path

from .containers import Item, is_container, pictures_in
from .errors import ImageError
from .external_sort import externally_sorted

_HEIF = (".heic", ".heif", ".hif")  # listed although they may need a plugin: an error row, not a picture passed over


@cache
def picture_extensions() -> frozenset[str]:
    """Lower-case extensions, dot included, that a folder or pattern is searched for."""
    from PIL import Image

    from .images import FORMATS

    known = Image.registered_extensions().items()
    return frozenset(extension for extension, name in known if name in FORMATS) | frozenset(_HEIF)


@dataclass(frozen=True, slots=True)
class Inputs:
    """Pictures, listed anew by every iteration and never held together.

    Attributes:
        arguments: as `find` took them.
        listing: a file of paths, one a line, after the arguments; None = none.
        empty: one sentence for every folder that holds no picture.
        total: how many pictures there were when they were counted.
    """

    arguments: tuple[str, ...]
    listing: Path | None
    empty: tuple[str, ...]
    total: int

    def __iter__(self) -> Iterator[Item]:
        yield from _distinct(self.arguments, lambda argument: _one(argument, ordered=True))
        if self.listing is not None:
            yield from _listed(self.listing)


def find(arguments: Sequence[str], *, listing: Path | None = None) -> Inputs:
    """The pictures that the arguments stand for, checked and counted.

    Args:
        arguments: each one of
            - an existing file: taken as it is, whatever its extension, so that a broken one becomes an error row; but
              a `.tar` or `.parquet` stands for the pictures inside it (`containers.pictures_in`);
            - a folder: every file below it with a picture's extension, in the order of their paths; links to folders
              are followed, names that start with a dot are not;
            - a pattern (`*`, `?`, `[...]`, and `**` for any depth): the files it matches that have a picture's
              extension, in the order of their paths; one that itself ends in `.tar` or `.parquet` matches containers.
              A folder that matches is not entered.
        listing: a text file (UTF-8) of one picture or container a line, each taken as it is, repeats included.

    Returns:
        Pictures in the order of the arguments, named as spelled there. A path met again, however spelled, is dropped;
        links are not resolved for this, so a link and its target are two pictures.

    Raises:
        ImageError: one sentence for every argument that names nothing, or a folder that cannot be read; or there is no
            picture at all.
    """
    faults: list[str] = []
    empty: list[str] = []

    def counted(argument: str) -> Iterator[str]:
        count = 0
        try:
            for count, path in enumerate(_one(argument, ordered=False), 1):  # noqa: B007
                yield path
        except ImageError as error:
            faults.append(str(error))
        else:
            if count == 0:
                empty.append(f"{argument}: the folder holds no picture (looked for {_looked_for()})")

    total = sum(1 for _ in _distinct(tuple(dict.fromkeys(arguments)), counted))
    if listing is not None and not os.path.isfile(listing):
        faults.append(f"{listing}: there is no such list of pictures")
    if faults:
        raise ImageError("; ".join([*faults, *empty]))
    if listing is not None:
        total += sum(1 for _ in _listed(listing))
    if total == 0:
        raise ImageError("; ".join(empty) or "there is no picture to score; name files, folders or patterns")
    return Inputs(tuple(arguments), listing, tuple(empty), total)


def is_picture_name(name: str) -> bool:
    """Whether a file of that name, without its folder, is looked at where a folder or archive is searched."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in picture_extensions()


def _items(path: str) -> Iterable[Item]:
    if is_container(path) and os.path.isfile(path):
        return pictures_in(path)
    return (Item(path, path),)


def _distinct(arguments: Sequence[str], files_of: Callable[[str], Iterator[str]]) -> Iterator[Item]:
    """The pictures of the arguments' files, without those of a file met before."""
    overlapping = _overlapping(arguments)
    seen: set[bytes] = set()
    for argument in arguments:
        for path in files_of(argument):
            if overlapping(argument):
                key = blake2b(os.fsencode(os.path.abspath(path)), digest_size=16).digest()
                if key in seen:
                    continue
                seen.add(key)
            yield from _items(path)


def _listed(listing: Path) -> Iterator[Item]:
    with listing.open(encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            if path := line.rstrip("\r\n"):
                yield from _items(path)


def _one(argument: str, *, ordered: bool) -> Iterator[str]:
    """The files that one argument stands for, as they are spelled; none for a folder without pictures."""
    if not argument:
        raise ImageError("a path is empty")
    if os.path.isdir(argument):  # these two say no where Path's own raise: a name too long, a folder out of bounds
        yield from _below(Path(argument), (), ordered=ordered)
    elif os.path.exists(argument):
        yield str(Path(argument))
    elif not has_magic(argument):
        raise ImageError(f"{argument}: there is no such file or folder")
    else:
        yield from _matches(argument)


def _matches(pattern: str) -> Iterator[str]:
    wanted = is_container if is_container(pattern) else is_picture_name
    others, found = 0, False

    def keys() -> Iterator[list[str]]:
        nonlocal others
        for match in iglob(pattern, recursive=True):
            if wanted(os.path.basename(match)) and os.path.isfile(match):
                yield list(Path(match).parts)
            else:
                others += 1

    last: list[str] = []
    for parts in externally_sorted(keys()):
        if parts != last:  # `**` may find a file twice
            found, last = True, parts
            yield str(Path(*parts))
    if not found:
        other = f"the {others} matches include no picture file" if others else "nothing matches the pattern"
        raise ImageError(f"{pattern}: {other} (looked for {_looked_for()})")


def _looked_for() -> str:
    return " ".join(sorted(picture_extensions()))


def _overlapping(arguments: Sequence[str]) -> Callable[[str], bool]:
    """Which arguments might name a path that another one names too."""
    root_of = {argument: os.path.abspath(_fixed_part(argument)) for argument in arguments}
    count = Counter(root_of[argument] for argument in arguments)
    shared = {root for root, times in count.items() if times > 1}
    for root in count:
        above = {str(parent) for parent in Path(root).parents} & count.keys()
        if above:
            shared |= {root, *above}
    return lambda argument: root_of[argument] in shared


def _fixed_part(argument: str) -> str:
    """The folder that all matches of a pattern lie in; the argument itself where it is no pattern."""
    if os.path.exists(argument) or not has_magic(argument):
        return argument
    parts = Path(argument).parts
    fixed = next(index for index, part in enumerate(parts) if has_magic(part))
    return str(Path(*parts[:fixed])) if fixed else "."


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """False, too, for a link that leads nowhere or to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _below(folder: Path, ancestors: tuple[str, ...], *, ordered: bool) -> Iterator[str]:
    """Picture files below a folder, depth first, each level sorted by name if so asked; no link back up is entered."""
    real = os.path.realpath(folder)
    if real in ancestors:
        return
    entries = _entries(folder)
    for name, is_folder in externally_sorted(entries) if ordered else entries:
        if is_folder:
            yield from _below(folder / name, (*ancestors, real), ordered=ordered)
        else:
            yield str(folder / name)


def _entries(folder: Path) -> Iterator[list[str]]:
    """Name and "folder" or "" for every folder and picture in a folder."""
    try:
        with os.scandir(folder) as listing:
            for entry in listing:
                if entry.name.startswith("."):
                    continue
                if _is_folder(entry):
                    yield [entry.name, "folder"]
                elif is_picture_name(entry.name):
                    yield [entry.name, ""]
    except OSError as error:
        raise ImageError(f"{folder}: the folder cannot be read: {error.strerror}") from error
