"""Which pictures the user means: files, folders and patterns in; an ordered list without repeats out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cache
from glob import glob, has_magic
from pathlib import Path

from .errors import ImageError

_HEIF = (".heic", ".heif", ".hif")  # listed although they may need a plugin: an error row, not a picture passed over


@cache
def picture_extensions() -> frozenset[str]:
    """Lower-case extensions, dot included, that a folder or pattern is searched for."""
    from PIL import Image

    from .images import FORMATS

    known = Image.registered_extensions().items()
    return frozenset(extension for extension, name in known if name in FORMATS) | frozenset(_HEIF)


def expand(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The pictures that the arguments stand for.

    Args:
        arguments: each one of
            - an existing file: taken as it is, whatever its extension, so that a broken one becomes an error row;
            - a folder: every file below it with a picture's extension, in the order of their paths; links to folders
              are followed, names that start with a dot are not;
            - a pattern (`*`, `?`, `[...]`, and `**` for any depth): the files it matches that have a picture's
              extension, in the order of their paths. A folder that matches is not entered.

    Returns:
        Paths in the order of the arguments, as spelled there, and one sentence for every folder that holds no picture.
        A path met again, however spelled, is dropped; links are not resolved for this, so a link and its target are
        two pictures.

    Raises:
        ImageError: one sentence for every argument that names nothing, or a folder that cannot be read; or there is no
            picture at all.
    """
    found: dict[str, Path] = {}
    faults, empty = [], []
    for argument in arguments:
        try:
            for path in _one(argument):
                found.setdefault(os.path.abspath(path), path)
        except _EmptyFolderError as error:
            empty.append(str(error))
        except ImageError as error:
            faults.append(str(error))
    if faults or not found:
        raise ImageError("; ".join([*faults, *empty]))
    return list(found.values()), empty


class _EmptyFolderError(ImageError):
    """A folder without pictures, which is no fault among others that have some."""


def _one(argument: str) -> list[Path]:
    """The pictures that one argument stands for; at least one."""
    path = Path(argument)
    if not argument:
        raise ImageError("a path is empty")
    if os.path.isdir(argument):  # these two say no where Path's own raise: a name too long, a folder out of bounds
        below = list(_below(path, ()))
        if not below:
            raise _EmptyFolderError(f"{argument}: the folder holds no picture (looked for {_looked_for()})")
        return below
    if os.path.exists(argument):
        return [path]
    if not has_magic(argument):
        raise ImageError(f"{argument}: there is no such file or folder")
    matches = sorted(Path(match) for match in glob(argument, recursive=True))
    pictures = [match for match in matches if _is_picture_name(match.name) and match.is_file()]
    if not pictures:
        other = f"the {len(matches)} matches include no picture file" if matches else "nothing matches the pattern"
        raise ImageError(f"{argument}: {other} (looked for {_looked_for()})")
    return pictures


def _is_picture_name(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in picture_extensions()


def _looked_for() -> str:
    return " ".join(sorted(picture_extensions()))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """False, too, for a link that leads nowhere or to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _below(folder: Path, ancestors: tuple[str, ...]) -> Iterator[Path]:
    """Picture files below a folder, depth first, each level sorted by name; a link back up is not entered."""
    real = os.path.realpath(folder)
    if real in ancestors:
        return
    try:
        with os.scandir(folder) as listing:
            entries = sorted((e.name, _is_folder(e)) for e in listing if not e.name.startswith("."))
    except OSError as error:
        raise ImageError(f"{folder}: the folder cannot be read: {error.strerror}") from error
    for name, is_folder in entries:
        if is_folder:
            yield from _below(folder / name, (*ancestors, real))
        elif _is_picture_name(name):
            yield folder / name
