"""Do explanations agree with the numbers and findings they belong to?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.consistency import inconsistent
from ..results import Case, Named, Section, scored
from ..task import Row
from .common import mean_figure

_CASES = 4


def consistency(rows: Sequence[Row], options: Mapping[str, Any]) -> Section:
    """Share of explanations that name another level, kind or strength than the result, and their length."""
    known = [row for row in scored(rows) if row["answer"].get("explanation") is not None]
    wrong = [inconsistent(row["answer"]) for row in known]
    words = [len(row["answer"]["explanation"].split()) for row in known]
    distinct = len({row["answer"]["explanation"] for row in known})
    cases = [Case(row["id"], row["answer"]["explanation"]) for row, bad in zip(known, wrong, strict=True) if bad]
    return Section(
        "consistency",
        "Explanations against their numbers",
        figures=(
            Named("explanations that contradict their result", mean_figure(wrong, known, total=len(rows))),
            Named("words per explanation", mean_figure(words, known, total=len(rows))),
        ),
        worst=tuple(cases[:_CASES]),
        note=f"{distinct} different texts among {len(known)}",
    )
