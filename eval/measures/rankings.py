"""Rankings of several pictures, by comparisons and by scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mllm_iqa.agreement import Figure

from ..metrics.pairs import rank_agreement
from ..results import Named, Section, scored
from ..task import Row
from .common import breakdowns, mean_figure

_KEYS = {"strengths": "comparisons", "scores": "scores"}


def rankings(rows: Sequence[Row], options: Mapping[str, Any]) -> Section:
    """Kendall's tau-b per set, the best one found, the whole order right."""
    known, total = scored(rows), len(rows)
    figures = []
    for key, name in _KEYS.items():
        best = [np.argmax(row["answer"][key]) == np.argmax(row["truth"]["mos_each"]) for row in known]
        whole = [_order(row["answer"][key]) == _order(row["truth"]["mos_each"]) for row in known]
        figures += [
            Named(f"Kendall's tau per set, by {name}", _tau(rows, key)),
            Named(f"best one found, by {name}", mean_figure(best, known, total=total)),
            Named(f"whole order right, by {name}", mean_figure(whole, known, total=total)),
        ]
    pairs = [_pairs(len(row["truth"]["mos_each"])) for row in known]
    flips = [row["answer"]["order_flips"] / n for row, n in zip(known, pairs, strict=True)]
    figures.append(Named("the two orders of a pair disagree", mean_figure(flips, known, total=total)))
    tables, charts = breakdowns(rows, lambda some: _tau(some, "strengths"), "Kendall's tau by comparisons")
    return Section("rankings", "Rankings of several pictures", tuple(figures), tables, charts)


def _tau(rows: Sequence[Row], key: str) -> Figure:
    known = scored(rows)
    values = [rank_agreement(row["answer"][key], row["truth"]["mos_each"]) for row in known]
    return mean_figure(values, known, total=len(rows))


def _order(values: Sequence[float]) -> list[int]:
    return [int(i) for i in np.argsort(-np.asarray(values), kind="stable")]


def _pairs(count: int) -> int:
    return count * (count - 1) // 2
