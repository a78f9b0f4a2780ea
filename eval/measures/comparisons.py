"""Which of two is better: 2AFC with ties, accuracy without them, order swaps; and pictures against their reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mllm_iqa.agreement import Figure
from mllm_iqa.types import Winner

from ..metrics.labels import confusion
from ..metrics.pairs import most_probable, two_afc
from ..metrics.reliability import expected_calibration_error, reliability_bins
from ..reading.triplets import LABELS
from ..results import Chart, Named, Section, scored
from ..task import Row
from .common import breakdowns, constant, mean_figure

_GAPS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)


def _winner(row: Row) -> Winner:
    winner: Winner = row["answer"]["winner"]
    return winner


def _true(row: Row) -> Winner:
    share = row["truth"]["prefers_first"]
    return "tie" if share == 0.5 else "a" if share > 0.5 else "b"


def _agreement(rows: Sequence[Row]) -> Figure:
    known = scored(rows)
    values = [two_afc(_winner(row), row["truth"]["prefers_first"]) for row in known]
    return mean_figure(values, known, total=len(rows))


def comparisons(rows: Sequence[Row], options: Mapping[str, Any]) -> Section:
    """Winners against what people preferred."""
    known, total = scored(rows), len(rows)
    decided = [row for row in rows if _true(row) != "tie"]
    judged = scored(decided)
    forced = [most_probable(row["answer"]["probabilities"], ("a", "b")) for row in judged]
    ties = [row for row in rows if _true(row) == "tie"]
    said_tie = [float(_winner(row) == "tie") for row in known]
    flips = [float(row["answer"]["order_flip"]) for row in known]
    figures = [
        Named("2AFC, ties count half", _agreement(rows)),
        Named("three-way accuracy", mean_figure([_winner(r) == _true(r) for r in known], known, total=total)),
        Named(
            "accuracy where one is better",
            mean_figure([_winner(row) == _true(row) for row in judged], judged, total=len(decided)),
        ),
        Named(
            "the same, tie not allowed as an answer",
            mean_figure([f == _true(r) for f, r in zip(forced, judged, strict=True)], judged, total=len(decided)),
        ),
        Named("ties said", mean_figure(said_tie, known, total=total)),
        Named("the two orders disagree", mean_figure(flips, known, total=total)),
    ]
    if ties:
        found = [float(_winner(row) == "tie") for row in scored(ties)]
        figures.append(Named("ties found", mean_figure(found, scored(ties), total=len(ties))))
    stated = [min(1.0, float(max(row["answer"]["probabilities"].values()))) for row in known]
    bins = reliability_bins(stated, [_winner(row) == _true(row) for row in known])
    figures.append(constant("calibration error", expected_calibration_error(bins), n=len(known), total=total))
    tables, charts = breakdowns([_with_gap(row) for row in rows], _agreement, "2AFC")
    names = ("a", "b", "tie")
    counts = confusion([_winner(r) for r in known], [_true(r) for r in known], names)
    return Section(
        "comparisons",
        "Comparisons",
        figures=tuple(figures),
        tables=tables,
        charts=(
            Chart("confusion", "Winner", {"labels": ["first", "second", "tie"], "counts": counts.tolist()}),
            *charts,
            Chart("reliability", "Probability of the winner", {"bins": [b.to_dict() for b in bins], "label": "right"}),
        ),
    )


def _with_gap(row: Row) -> Row:
    """The row with the range of its true difference as a tag, where the difference is known."""
    gap = row["truth"].get("gap")
    if gap is None:
        return row
    place = min(int(np.searchsorted(_GAPS, gap, side="right")), len(_GAPS) - 1)
    tags = {**row["tags"], "true gap, MOS": f"{_GAPS[place - 1]:.2f} to {_GAPS[place]:.2f}"}
    return {**row, "tags": tags}


LABEL_OF = {"a": "better", "tie": "similar", "b": "worse"}
"""What the winner of picture (a) against reference (b) says of the picture."""


def imperfect(rows: Sequence[Row], options: Mapping[str, Any]) -> Section:
    """Better than, similar to or worse than its own reference."""
    known, total = scored(rows), len(rows)
    said = [LABEL_OF[_winner(row)] for row in known]
    true = [row["truth"]["label"] for row in known]
    decided = [row for row in rows if row["truth"]["label"] != "similar"]
    judged = scored(decided)
    by_score = [
        ("better" if row["answer"]["score"] > row["answer"]["reference_score"] else "worse") == row["truth"]["label"]
        for row in judged
    ]
    beaten = [row for row in rows if row["truth"]["label"] == "better"]
    found = [float(_winner(row) == "a") for row in scored(beaten)]

    def accuracy(some: Sequence[Row]) -> Figure:
        right = [float(LABEL_OF[_winner(row)] == row["truth"]["label"]) for row in scored(some)]
        return mean_figure(right, scored(some), total=len(some))

    tables, charts = breakdowns(rows, accuracy, "accuracy")
    return Section(
        "imperfect",
        "Imperfect references",
        figures=(
            Named("three-way accuracy", accuracy(rows)),
            Named("better than the reference, found", mean_figure(found, scored(beaten), total=len(beaten))),
            Named("two-way accuracy by score", mean_figure(by_score, judged, total=len(decided))),
            Named(
                "the two orders disagree",
                mean_figure([float(row["answer"]["order_flip"]) for row in known], known, total=total),
            ),
        ),
        tables=tables,
        charts=(
            Chart(
                "confusion",
                "Against the reference",
                {"labels": list(LABELS), "counts": confusion(said, true, LABELS).tolist()},
            ),
            *charts,
        ),
    )
