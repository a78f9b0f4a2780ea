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


def expand(arguments: Sequence[str]) -> list[Path]:
    """The pictures that the arguments stand for.

    Args:
        arguments: each one of
            - an existing file: taken as it is, whatever its extension, so that a broken one becomes an error row;
            - a folder: every file below it with a picture's extension, in the order of their paths; links to folders
              are followed, names that start with a dot are not;
            - a pattern (`*`, `?`, `[...]`, and `**` for any depth): the files it matches that have a picture's
              extension, in the order of their paths. A folder that matches is not entered.

    Returns:
        Paths in the order of the arguments, as spelled there. A path met again, however spelled, is dropped; links are
        not resolved for this, so a link and its target are two pictures.

    Raises:
        ImageError: one sentence for every argument that stands for no picture, or for a folder that cannot be read.
    """
    found: dict[str, Path] = {}
    faults = []
    for argument in arguments:
        try:
            for path in _one(argument):
                found.setdefault(os.path.abspath(path), path)
        except ImageError as error:
            faults.append(str(error))
    if faults:
        raise ImageError("; ".join(faults))
    return list(found.values())


def _one(argument: str) -> list[Path]:
    """The pictures that one argument stands for; at least one."""
    path = Path(argument)
    if not argument:
        raise ImageError("a path is empty")
    if path.is_dir():
        below = list(_below(path, ()))
        if not below:
            raise ImageError(f"{argument}: the folder holds no picture (looked for {_looked_for()})")
        return below
    if path.exists():
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


def _below(folder: Path, ancestors: tuple[str, ...]) -> Iterator[Path]:
    """Picture files below a folder, depth first, each level sorted by name; a link back up is not entered."""
    real = os.path.realpath(folder)
    if real in ancestors:
        return
    try:
        with os.scandir(folder) as listing:
            entries = sorted((entry.name, entry.is_dir()) for entry in listing if not entry.name.startswith("."))
    except OSError as error:
        raise ImageError(f"{folder}: the folder cannot be read: {error.strerror}") from error
    for name, is_folder in entries:
        if is_folder:
            yield from _below(folder / name, (*ancestors, real))
        elif _is_picture_name(name):
            yield folder / name
