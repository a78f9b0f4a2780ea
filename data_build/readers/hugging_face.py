"""Hugging Face datasets on disk, with paths to pictures or with the pictures inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mllm_iqa.errors import ConfigError, DataError

from .archive import Archive
from .entries import Entry, split_named
from .options import DEFAULTS, Options, collect_below
from .records import Reading
from .scale import Scale
from .score_files import check_columns
from .tables import Columns, entry_of_row


def read_hf(
    folder: Path,
    *,
    scale: Scale,
    columns: Columns | None = None,
    media_root: Path | None = None,
    extract_to: Path | None = None,
    options: Options = DEFAULTS,
) -> Reading:
    """A Hugging Face dataset or dataset dictionary that `save_to_disk` wrote.

    The image column holds paths, or pictures; pictures stored inside the dataset are written to `extract_to`, once.
    The names of a dataset dictionary are the splits unless a split column is named; a name that is none gives None.

    Raises:
        ConfigError: pictures inside the dataset and no `extract_to`.
        DataError: as `read`; also a folder that `load_from_disk` cannot read.
    """
    import datasets

    named = columns or Columns()
    try:
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:  # whatever the folder's files make it raise
        raise DataError(f"{folder}: not a dataset written by save_to_disk: {error}") from error
    parts = loaded.items() if isinstance(loaded, datasets.DatasetDict) else [(None, loaded)]

    def entries(archive: Archive) -> Iterator[Entry]:
        for name, part in parts:
            check_columns(folder, part.column_names, named.used)
            if isinstance(part.features[named.image], datasets.Image):
                part = part.cast_column(named.image, datasets.Image(decode=False))
            for index, row in enumerate(part):
                stem = f"{name or 'all'}-{index:07d}"
                image = _stored(row[named.image], stem, folder, extract_to)
                for entry in entry_of_row({**row, named.image: image}, named, folder, archive):
                    group = stem if entry.group is None and image != row[named.image] else entry.group
                    yield replace(entry, group=group, split=entry.split if named.split else split_named(name))

    return collect_below(folder, entries, scale, media_root or folder, options)


def _stored(value: Any, stem: str, folder: Path, extract_to: Path | None) -> str:
    """The path of a picture of a Hugging Face dataset, which may hold the picture itself."""
    if value is None or isinstance(value, str):
        return value or ""
    if not isinstance(value, dict):
        raise DataError(f"{folder}: the image column holds {type(value).__name__}; expected paths or pictures")
    content, written = value.get("bytes"), value.get("path") or ""
    if content is None:
        return str(written)
    if extract_to is None:
        raise ConfigError(f"{folder}: the pictures are inside the dataset; name a folder to write them to (extract_to)")
    extract_to.mkdir(parents=True, exist_ok=True)
    path = extract_to.absolute() / f"{stem}{Path(written).suffix or '.png'}"
    if not path.is_file() or path.read_bytes() != content:
        path.write_bytes(content)
    return str(path)
