"""What happens to the session's pictures and feed; no page, no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .entries import Entry
from .export import pictures_of
from .held import Held
from .intake import Upload


def chosen(pictures: Sequence[Held]) -> tuple[Held, ...]:
    """The pictures that the buttons work on."""
    return tuple(held for held in pictures if held.chosen)


def toggled(pictures: Sequence[Held], number: int) -> tuple[Held, ...]:
    """The pictures with one left out or taken back in."""
    return tuple(replace(held, chosen=not held.chosen) if held.number == number else held for held in pictures)


def without(pictures: Sequence[Held], number: int) -> tuple[Held, ...]:
    """The pictures without one of them."""
    return tuple(held for held in pictures if held.number != number)


def next_number(pictures: Sequence[Held], entries: Sequence[Entry]) -> int:
    """A number that no picture of the session has or had in its feed."""
    seen = [held.number for held in pictures]
    seen += [held.number for entry in entries for held in pictures_of(entry)]
    return 1 + max(seen, default=0)


def uploads_of(files: object) -> list[Upload]:
    """What the browser says it sent. It may say anything: what is not of the right form is left out."""
    uploads = []
    for item in files if isinstance(files, list) else []:
        fields: dict[str, Any] = item if isinstance(item, dict) else {}
        name, size, path = fields.get("name"), fields.get("bytes"), fields.get("path")
        if isinstance(name, str) and isinstance(size, int) and isinstance(path, str | None):
            short = Path(name.replace("\\", "/")).name[-120:] or "?"
            uploads.append(Upload(short, None if path is None else Path(path), size))
    return uploads
