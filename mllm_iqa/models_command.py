"""`mllm-iqa models`: what is known by name and whether it is here; `mllm-iqa models pull`: fetch one."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .errors import CheckpointError
from .hub import cached_folder, local_folder
from .registry import MODELS, ModelEntry, resolve
from .terminal import console, show_table

_COLUMNS = ("name", "can", "size", "licence", "where", "source", "note")


def show_models(*, as_json: bool) -> None:
    """Print all models known by name; see `described`."""
    rows = [described(entry) for entry in MODELS.values()]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    on = console()
    shown = _COLUMNS if not on.is_terminal else _COLUMNS[:5]
    show_table(list(shown), [[_cell(row[column]) for column in shown] for row in rows], on=on)


def described(entry: ModelEntry) -> dict[str, Any]:
    """Everything the registry says of a model, its size with the bytes it takes here, and where it is."""
    folder = None if entry.name == "fake" else cached_folder(entry.source)
    taken = None if folder is None else sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    where = "in the package" if entry.revision is None else "here" if folder is not None else "to be downloaded"
    size = entry.parameters if taken is None else f"{entry.parameters} ({_bytes(taken)})"
    return {**asdict(entry), "size": size, "where": where, "bytes": taken}


def pull(model: str) -> Path:
    """Fetch a model and return its folder.

    Args:
        model: a name from the registry or a hub id, which may end in `@revision`.

    Raises:
        CheckpointError: no such model, nothing to fetch, or a download that failed; one sentence says why.
    """
    source = resolve(model)
    if model == "fake":
        raise CheckpointError("fake has no weights, so there is nothing to fetch")
    return local_folder(source)


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _cell(value: object) -> str:
    return "-" if value is None else ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
