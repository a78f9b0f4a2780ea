"""Models by name: what can be used and where it comes from."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from .errors import CheckpointError

NANO = Path(__file__).parent / "models" / "nano"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that has a name here.

    Attributes:
        name: what to pass as `model`.
        source: directory or hub id; revision: of the hub repository (None = not from a hub).
        licence: of the weights; parameters: how many, for people.
        can: of "score", "explain", "compare", "chat".
        note: one sentence on what to expect.
    """

    name: str
    source: str
    revision: str | None
    licence: str
    parameters: str
    can: tuple[str, ...]
    note: str


ALL = ("score", "explain", "compare", "chat")

MODELS: dict[str, ModelEntry] = {
    entry.name: entry
    for entry in (
        ModelEntry(
            "nano",
            str(NANO),
            None,
            "research use (trained on BIQ2021 and BSDS500); code Apache-2.0",
            "13 M",
            ALL,
            "Ships in the package; works offline on a CPU.",
        ),
        ModelEntry(
            "fake", "(no weights)", None, "Apache-2.0", "0", ALL, "For testing pipelines: results mean nothing."
        ),
    )
}


def resolve(model: str) -> str:
    """Directory or hub id behind a registry name; anything else is taken as a directory or hub id itself.

    Raises:
        CheckpointError: a path that does not exist, or a word that is neither a name here nor a hub id.
    """
    if model in MODELS:
        return MODELS[model].source
    if os.path.isdir(model):
        return model
    if model.startswith((".", "/", "~")) or "/" not in model:
        known = ", ".join(MODELS)
        raise CheckpointError(f"no model named {model!r}: not a directory, not one of {known}, not a hub id owner/name")
    return model
