"""A table of scores as columns for the page: compact, and safe inside HTML whatever a file is called."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ..levels import LEVELS
from ..near_duplicates import near_groups
from ..terminal import printable
from ..types import Doubt
from .store import Row, read_back

DETAILS_PER_FILE = 500


def columns_of(rows: Sequence[Row], groups: Sequence[Sequence[int]]) -> dict[str, Any]:
    """One list for each thing the page sorts, filters or draws, all in the order of the rows.

    `found` is flat: place in `kinds`, severity, place, severity ...; `group` is 0 where there are no near-duplicates;
    `thumb` is empty where there is none; a failure has its `error` and null for every number.

    Args:
        rows: flat rows, see `store`.
        groups: of near-duplicates, see `groups_of`.
    """
    findings = [json.loads(row["distortions"]) if row["distortions"] else [] for row in rows]
    kinds = sorted({one["kind"] for found in findings for one in found})
    group = [0] * len(rows)
    for number, members in enumerate(groups, 1):
        for place in members:
            group[place] = number
    return {
        "levels": list(LEVELS),
        "kinds": kinds,
        "name": [printable(row["name"]) for row in rows],
        "mos": [_short(row["mos"]) for row in rows],
        "low": [_short(row["interval_low"]) for row in rows],
        "high": [_short(row["interval_high"]) for row in rows],
        "level": [None if row["level"] is None else LEVELS.index(row["level"]) for row in rows],
        "confidence": [_short(row["confidence"]) for row in rows],
        "found": [[n for one in found for n in (kinds.index(one["kind"]), one["severity"])] for found in findings],
        "group": group,
        "width": [row["width"] for row in rows],
        "height": [row["height"] for row in rows],
        "thumb": ["" if row["error"] is not None else row["sha256"][:20] for row in rows],
        "error": {str(i): row["error"] for i, row in enumerate(rows) if row["error"] is not None},
    }


def groups_of(rows: Sequence[Row]) -> list[list[int]]:
    """Near-duplicates and frames of bursts, by place."""
    return near_groups([read_back(row["fingerprint"]) for row in rows], [row["name"] for row in rows])


def details_of(rows: Sequence[Row]) -> list[list[Any]]:
    """Explanation, notes on intake, what to do, and why the score is not to be trusted, of each picture."""
    return [[row["explanation"], row["notes"] or None, advice_of(row), doubts_of(row)] for row in rows]


def advice_of(row: Row) -> list[str]:
    """What to do about what was found, most useful first."""
    return [piece["text"] for piece in json.loads(row["advice"] or "[]")]


def doubts_of(row: Row) -> list[str]:
    """Why the score is not to be trusted, the most unusual first; none where it is, or where nothing says."""
    return [str(Doubt(**doubt)) for doubt in json.loads(row["distrust"] or "[]")]


def in_html(value: Mapping[str, Any] | Sequence[Any]) -> Markup:
    """JSON that stands in a script element, where nothing in it can end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
