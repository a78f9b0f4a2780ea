"""A result file that is either complete or not there: written beside its name, moved over it at the end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import ConfigError


def check_output(path: Path, *, inputs: Iterable[str | Path] = ()) -> None:
    """Refuse a result file that could not be written, or that would replace an input, before any work is done.

    Raises:
        ConfigError: `path` is a folder or a device, lies in no writable folder, has too long a name, or is one of
            `inputs`.
    """
    if os.path.isdir(path):
        raise ConfigError(f"--output {path} is a folder; give the name of a file")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ConfigError(f"--output {path} is not a regular file; leave --output out to print the results")
    if not os.path.isdir(path.parent):
        raise ConfigError(f"--output {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK) or (os.path.exists(path) and not os.access(path, os.W_OK)):
        raise ConfigError(f"--output {path}: no permission to write there")
    try:
        os.lstat(_partial(path))
    except FileNotFoundError:
        pass
    except OSError as error:  # a name too long
        raise ConfigError(f"--output {path}: {error.strerror}") from error
    if os.path.exists(path) and _is_one_of(path, inputs):
        raise ConfigError(f"--output {path} is one of the pictures to read")


def _is_one_of(path: Path, inputs: Iterable[str | Path]) -> bool:
    """Whether one of the inputs leads to the same name; only where the file is the same, its links are followed."""
    own, real = os.stat(path), os.path.realpath(path)
    for other in inputs:
        try:
            same = os.path.samestat(own, os.stat(other))
        except OSError:
            continue
        if same and os.path.realpath(other) == real:
            return True
    return False


def _partial(path: Path) -> Path:
    """The file that is written before it takes the place of `path`."""
    final = Path(os.path.realpath(path))
    return final.with_name(f".{final.name}.{os.getpid()}.partial")


@contextmanager
def replaced_at_end(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes the place of `path` when the block ends, or vanishes when the block raises.

    A link is followed: the file it points to is replaced, not the link.
    """
    partial = _partial(path)
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a power cut could leave the name on an empty file
        partial.replace(os.path.realpath(path))
    finally:
        partial.unlink(missing_ok=True)
