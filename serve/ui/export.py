"""A session as a file of its own: JSON for programs, HTML for people. Nothing in either points anywhere else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import mllm_iqa
from mllm_iqa.gallery.page import Heading, data_uri
from mllm_iqa.gallery.page import page as gallery_page
from mllm_iqa.gallery.store import thumbnail, written
from mllm_iqa.near_duplicates import fingerprint
from mllm_iqa.tables import flat_row
from mllm_iqa.types import Failure, Score

from .cards import entry_card
from .entries import Answered, Compared, Entry, Filmed, Judged, Located, Ranked, Refused, Scored
from .held import EXPORT_SIDE, Held
from .markup import escaped
from .strings import Strings
from .theme import CARD_CSS, EXPORT_PALETTE


def as_json(entries: Sequence[Entry], *, now: datetime) -> str:
    """The conversation and every result in full, and what each picture was.

    Args:
        entries: of the session, oldest first.
        now: time of the export, with its time zone.
    """
    document: dict[str, Any] = {
        "program": "mllm-iqa",
        "version": mllm_iqa.__version__,
        "exported": now.isoformat(timespec="seconds"),
        "pictures": [
            {
                "number": held.number,
                "name": held.name,
                "width": held.width,
                "height": held.height,
                "sha256": hashlib.sha256(held.data).hexdigest(),
            }
            for held in _pictures(entries)
        ],
        "entries": [
            {**entry.to_dict(), "picture_numbers": [held.number for held in pictures_of(entry)]} for entry in entries
        ],
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2)


def as_html(entries: Sequence[Entry], strings: Strings, *, now: datetime) -> str:
    """The feed as a page that needs nothing else: styles and small pictures inside, no script but the slider's own.

    Args:
        entries: of the session, oldest first.
        strings: of the language to write it in.
        now: time of the export, with its time zone.
    """
    cards = "".join(
        entry_card(entry, strings, name=f"entry-{i}", views=_small_views(entry))
        for i, entry in enumerate(entries, start=1)
    )
    saved = escaped(strings.exported.format(time=now.isoformat(sep=" ", timespec="minutes")))
    return (
        f'<!doctype html>\n<html lang="{strings.code}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>mllm-iqa</title><style>{EXPORT_PALETTE}{CARD_CSS}</style></head>"
        f'<body class="iqa-export"><h1>mllm-iqa</h1><p class="iqa-note">{saved} · {mllm_iqa.__version__}</p>'
        f"{cards}</body></html>\n"
    )


def as_gallery(entries: Sequence[Entry], *, now: datetime) -> str | None:
    """The page of `mllm-iqa report` over every picture that was scored, the latest score of each; None without any.

    Args:
        entries: of the session, oldest first.
        now: time of the export, with its time zone.
    """
    latest: dict[int, tuple[Held, Score | Failure]] = {}
    for entry in entries:
        if isinstance(entry, Scored):
            latest |= {held.number: (held, one) for held, one in zip(entry.pictures, entry.results, strict=False)}
    if not latest:
        return None
    rows, thumbs = [], {}
    for number in sorted(latest):
        held, result = latest[number]
        row = {**flat_row(result), "sha256": hashlib.sha256(held.data).hexdigest(), "fingerprint": None}
        if row["error"] is None:
            picture = held.picture()
            row["fingerprint"] = written(fingerprint(picture.pixels))
            thumbs[row["sha256"]] = data_uri(thumbnail(picture))
        rows.append(row)
    heading = Heading("Picture quality", None, now, mllm_iqa.__version__)
    return gallery_page(rows, heading, thumb=lambda row: thumbs.get(row["sha256"]), inside=True)


def pictures_of(entry: Entry) -> tuple[Held, ...]:
    """The pictures an entry is about."""
    match entry:
        case Compared():
            return (entry.a, entry.b)
        case Scored() | Ranked() | Answered() | Judged() | Located():
            return entry.pictures
        case Refused() | Filmed():
            return ()


def _pictures(entries: Sequence[Entry]) -> list[Held]:
    """Every picture once, by number."""
    found = {held.number: held for entry in entries for held in pictures_of(entry)}
    return [found[number] for number in sorted(found)]


def _small_views(entry: Entry) -> tuple[str, str] | None:
    if not isinstance(entry, Compared):
        return None
    return entry.a.preview(EXPORT_SIDE, quality=85), entry.b.preview(EXPORT_SIDE, quality=85)
