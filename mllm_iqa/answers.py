"""Reading a judgment that a model wrote as text, strictly: what is not in the asked form is not read at all.

The form is that of the prompt `judge.v1`: any reasoning, then one JSON object at the very end. Nothing is guessed: a
rating written as "8/10", off the scale, twice, or in words is no rating.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .levels import MOS_MAX, MOS_MIN, SEVERITIES
from .taxonomy import FAMILY_OF

NONE = "none"


@dataclass(frozen=True, slots=True)
class Judgment:
    """What an answer says.

    Attributes:
        mos: 1 (bad) to 5 (excellent).
        kind: of the most harmful distortion; None = there is none.
        severity: of it, 1 (slight) to 5 (catastrophic); None where `kind` is.
    """

    mos: float
    kind: str | None
    severity: int | None


@dataclass(frozen=True, slots=True)
class Unparsable:
    """An answer that is not in the asked form, and why."""

    reason: str


def parse_judgment(text: str) -> Judgment | Unparsable:
    """Read an answer to `judge.v1`.

    Args:
        text: all that the model said; spaces and line breaks around it do not matter.

    Returns:
        The judgment, or the first reason why there is none.
    """
    body = text.strip()
    start = body.rfind("{")
    if start < 0 or not body.endswith("}"):
        return Unparsable("does not end in a JSON object")
    try:
        fields = json.loads(body[start:], object_pairs_hook=_once, parse_constant=_no_constant)
    except ValueError as error:
        return Unparsable(f"its JSON object cannot be read: {error}")
    if set(fields) != {"rating", "distortion", "severity"}:
        return Unparsable(f"its keys are {', '.join(map(repr, fields)) or 'none'}, not rating, distortion and severity")
    mos = fields["rating"]
    if isinstance(mos, bool) or not isinstance(mos, int | float):
        return Unparsable(f"its rating {mos!r} is not a number")
    if not MOS_MIN <= mos <= MOS_MAX:
        return Unparsable(f"its rating {mos} is not between 1 and 5")
    kind, severity = fields["distortion"], fields["severity"]
    if kind == NONE and severity == NONE:
        return Judgment(float(mos), None, None)
    if not isinstance(kind, str) or kind not in FAMILY_OF:
        return Unparsable(f"its distortion {kind!r} is not one of those asked for")
    if severity not in SEVERITIES:
        return Unparsable(f"its severity {severity!r} is none of {', '.join(SEVERITIES)}")
    return Judgment(float(mos), kind, SEVERITIES.index(severity) + 1)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")
