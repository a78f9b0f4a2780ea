"""Prompting modes side by side: agreement of each mode's strengths with human scores inside sets, and overall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mllm_iqa.agreement import bootstrap, srcc

from ..metrics.pairs import rank_agreement
from ..results import Chart, Named, Section, Table, scored
from ..task import Row
from .common import mean_figure


def prompting(rows: Sequence[Row], options: Mapping[str, Any]) -> Section:
    """Kendall's tau per set of every mode, best one found, and SRCC over all pictures of the single modes."""
    known, total = scored(rows), len(rows)
    modes = list(known[0]["answer"]) if known else []
    figures, cells = [], []
    for mode in modes:
        tau = mean_figure(
            [rank_agreement(row["answer"][mode], row["truth"]["mos_each"]) for row in known], known, total=total
        )
        best = mean_figure(
            [np.argmax(row["answer"][mode]) == np.argmax(row["truth"]["mos_each"]) for row in known], known, total=total
        )
        figures.append(Named(f"{mode}: Kendall's tau per set", tau))
        pooled = float("nan")
        if mode.startswith("single/"):
            x = np.array([value for row in known for value in row["answer"][mode]])
            y = np.array([value for row in known for value in row["truth"]["mos_each"]])
            groups = [row["group"] for row in known for _ in row["truth"]["mos_each"]]
            figure = bootstrap(_srcc_over(x, y), groups, total=len(x), rounds=300)
            figures.append(Named(f"{mode}: SRCC over all pictures", figure))
            pooled = figure.value
        cells.append((*mode.split("/"), tau.value, best.value, pooled))
    bars = {"label": "Kendall's tau", "labels": modes, "values": [cell[2] for cell in cells], "low": [], "high": []}
    return Section(
        "prompting",
        "Prompting modes",
        figures=tuple(figures),
        tables=(Table("Modes", ("stimulus", "manner", "tau per set", "best found", "SRCC overall"), tuple(cells)),),
        charts=(Chart("bars", "Kendall's tau per set", bars),) if modes else (),
    )


def _srcc_over(x: np.ndarray, y: np.ndarray) -> Any:
    return lambda i: srcc(x[i], y[i])
