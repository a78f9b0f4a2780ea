"""Reading a judgment that a model wrote as text, strictly: what is not in the asked form is not read at all.

The form is the prompt's: of `judge.v1`, any reasoning, then one JSON object at the very end; of a prompt for ratings, a
number between the words that it says stand around it. Nothing is guessed: a rating written as "8/10", off the scale,
twice, or in words is no rating.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from .levels import MOS_MAX, MOS_MIN, SEVERITIES
from .prompt_files import Prompt
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
    mos = _on_scale(fields["rating"])
    if isinstance(mos, Unparsable):
        return mos
    kind, severity = fields["distortion"], fields["severity"]
    if kind == NONE and severity == NONE:
        return Judgment(mos, None, None)
    if not isinstance(kind, str) or kind not in FAMILY_OF:
        return Unparsable(f"its distortion {kind!r} is not one of those asked for")
    if severity not in SEVERITIES:
        return Unparsable(f"its severity {severity!r} is none of {', '.join(SEVERITIES)}")
    return Judgment(mos, kind, SEVERITIES.index(severity) + 1)


@dataclass(frozen=True, slots=True)
class Rating:
    """A number that a model wrote, 1 (bad) to 5 (excellent), and the reasoning before it ("" where there is none)."""

    mos: float
    reasoning: str


def parse_rating(text: str, prompt: Prompt) -> Rating | Unparsable:
    """Read an answer to a prompt that asks for a number.

    Args:
        text: all that the model said; spaces and line breaks around it do not matter.
        prompt: with the phrases "rating/before" and "rating/after", which stand around the number once, at the end;
            "rating/key" where it is a JSON object of that one key (a code fence around it is allowed); and
            "reasoning/before" and "reasoning/after", which are left out of the reasoning.

    Returns:
        The rating, or the first reason why there is none.
    """
    body = text.strip()
    before, after = prompt.phrase("rating/before"), prompt.phrase("rating/after")
    if not body.endswith(after):
        return Unparsable(f"does not end in {after}")
    if (body.count(before), body.count(after)) != (1, 1):
        return Unparsable(f"{before} or {after} does not stand in it exactly once")
    reasoning, _, inside = body.removesuffix(after).partition(before)
    key = prompt.phrase("rating/key") if "rating/key" in prompt.phrases else None
    mos = _on_scale(_written_number(inside.strip()) if key is None else _of_key(inside.strip(), key))
    if isinstance(mos, Unparsable):
        return mos
    opening, closing = prompt.phrase("reasoning/before"), prompt.phrase("reasoning/after")
    return Rating(mos, reasoning.strip().removeprefix(opening).removesuffix(closing).strip())


def _written_number(text: str) -> float | Unparsable:
    return float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) else Unparsable(f"{text[:40]!r} is not a number")


def _of_key(text: str, key: str) -> Any:
    fenced = re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", text, re.DOTALL)
    try:
        fields = json.loads(fenced[1] if fenced else text, object_pairs_hook=_once, parse_constant=_no_constant)
    except ValueError as error:
        return Unparsable(f"its JSON object cannot be read: {error}")
    if not isinstance(fields, dict) or set(fields) != {key}:
        return Unparsable(f"{text[:40]!r} is not a JSON object of the one key {key!r}")
    return fields[key]


def _on_scale(mos: Any) -> float | Unparsable:
    if isinstance(mos, Unparsable):
        return mos
    if isinstance(mos, bool) or not isinstance(mos, int | float):
        return Unparsable(f"its rating {mos!r} is not a number")
    if not MOS_MIN <= mos <= MOS_MAX:
        return Unparsable(f"its rating {mos} is not between 1 and 5")
    return float(mos)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")
