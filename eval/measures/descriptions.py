"""Descriptions beside golden ones: marks of a judge model, if one was asked, and measures without a judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.texts import rouge_l, term_f1
from ..results import Case, Named, Section, scored
from ..task import Row
from .common import distinct, mean_figure

_CASES = 3


def descriptions(rows: Sequence[Row], options: Mapping[str, Any]) -> Section:
    """Completeness, preciseness and relevance (0..2 each) by the judge; ROUGE-L and quality terms without one."""
    known, total = scored(rows), len(rows)
    marked = [row for row in known if "marks" in row["answer"]]
    figures = []
    for aspect in marked[0]["answer"]["marks"] if marked else ():
        values = [row["answer"]["marks"][aspect] for row in marked]
        figures.append(Named(f"{aspect}, mark of the judge, 0 to 2", mean_figure(values, marked, total=total)))
    pairs = [(row["answer"]["text"], row["truth"]["description"]) for row in known]
    terms = [term_f1(*pair) for pair in pairs]
    figures += [
        Named("quality terms, F1", mean_figure(terms, known, total=total)),
        Named("ROUGE-L, F1", mean_figure([rouge_l(*pair) for pair in pairs], known, total=total)),
        Named("words", mean_figure([len(said.split()) for said, _ in pairs], known, total=total)),
        Named("nothing said", mean_figure([float(not said) for said, _ in pairs], known, total=total)),
    ]
    order = sorted(range(len(known)), key=lambda i: (-terms[i], known[i]["id"]))
    cases = {i: Case(known[i]["id"], f"said: {pairs[i][0]} | golden: {pairs[i][1]}") for i in order}
    return Section(
        "descriptions",
        "Descriptions",
        figures=tuple(figures),
        best=tuple(cases[i] for i in distinct(known, order, _CASES)),
        worst=tuple(cases[i] for i in distinct(known, reversed(order), _CASES)),
        note="" if marked else "no judge was asked; name one with --judge when predicting",
    )
