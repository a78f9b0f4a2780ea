"""Which distortions: partial credit for families and kinds, the main one, clean pictures, confusion of families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mllm_iqa.agreement import Figure
from mllm_iqa.taxonomy import FAMILIES, FAMILY_OF

from ..metrics.labels import confusion, partial_credit
from ..metrics.reliability import expected_calibration_error, reliability_bins
from ..results import Chart, Named, Section, scored
from ..task import Row
from .common import breakdowns, constant, mean_figure

NONE = "none"


def _true(row: Row, what: str) -> set[str]:
    return {finding[what] for finding in row["truth"]["findings"]}


def _found(row: Row, what: str) -> set[str]:
    return {finding[what] for finding in row["answer"]["distortions"]}


def _main(findings: Sequence[Mapping[str, Any]]) -> str:
    return str(findings[0]["family"]) if findings else NONE


def _credit(rows: Sequence[Row], what: str) -> Figure:
    known = scored(rows)
    credits = [partial_credit(_found(row, what), _true(row, what)) for row in known]
    return mean_figure(credits, known, total=len(rows))


def identification(rows: Sequence[Row], options: Mapping[str, Any]) -> Section:
    """Findings against what was done to the picture; items whose distortions nobody knows are left out."""
    rows = [row for row in rows if row["truth"].get("findings") is not None]
    known, total = scored(rows), len(rows)
    figures = []
    for what in ("family", "kind"):
        figures.append(Named(f"{what}, partial credit", _credit(rows, what)))
        for count, name in ((1, "one distortion"), (2, "two distortions")):
            some = [row for row in rows if len(row["truth"]["findings"]) == count]
            if some:
                figures.append(Named(f"{what}, partial credit, {name}", _credit(some, what)))
    top = [float(_main(row["answer"]["distortions"]) in (_true(row, "family") or {NONE})) for row in known]
    figures.append(Named("main family is one of those there", mean_figure(top, known, total=total)))
    clean = [row for row in rows if not row["truth"]["findings"]]
    if clean:
        called = [float(not row["answer"]["distortions"]) for row in scored(clean)]
        figures.append(Named("clean called clean", mean_figure(called, scored(clean), total=len(clean))))
    tables, charts = breakdowns(rows, lambda some: _credit(some, "family"), "family, partial credit")
    single = [row for row in known if len(row["truth"]["findings"]) <= 1]
    said = [_main(row["answer"]["distortions"]) for row in single]
    true = [_main(row["truth"]["findings"]) for row in single]
    labels = [label for label in (*dict.fromkeys((*FAMILIES, *FAMILY_OF.values())), NONE) if label in {*said, *true}]
    named = [row for row in known if row["answer"]["distortions"]]
    stated = [min(1.0, row["answer"]["distortions"][0]["probability"]) for row in named]
    right = [row["answer"]["distortions"][0]["kind"] in _true(row, "kind") for row in named]
    bins = reliability_bins(stated, right)
    figures.append(
        constant("calibration error of the main kind", expected_calibration_error(bins), n=len(named), total=total)
    )
    return Section(
        "identification",
        "Distortions found",
        figures=tuple(figures),
        tables=tables,
        charts=(
            Chart(
                "confusion",
                "Main family, at most one distortion",
                {"labels": labels, "counts": confusion(said, true, labels).tolist()},
            ),
            *charts,
            Chart(
                "reliability", "Probability of the main kind", {"bins": [b.to_dict() for b in bins], "label": "right"}
            ),
        ),
        note="Kinds that a model was never taught count as misses; its families can still be right.",
    )
