"""Severity: exact, within one step, mean error with its sign, confusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mllm_iqa.agreement import bootstrap, srcc
from mllm_iqa.levels import SEVERITIES

from ..metrics.labels import confusion, ordinal_errors
from ..metrics.reliability import expected_calibration_error, reliability_bins
from ..results import Chart, Named, Section, scored
from ..task import Row
from .common import breakdowns, constant, groups_of, mean_figure


def severity(rows: Sequence[Row], options: Mapping[str, Any]) -> Section:
    """`answer.severity` against `truth.severity`, both 1..5."""
    known, total = scored(rows), len(rows)
    said = np.array([row["answer"]["severity"] for row in known], dtype=int)
    true = np.array([row["truth"]["severity"] for row in known], dtype=int)
    errors = ordinal_errors(said.tolist(), true.tolist())
    expected = np.array([np.dot(row["answer"]["probabilities"], range(1, 6)) for row in known])
    stated = [max(row["answer"]["probabilities"]) for row in known]
    bins = reliability_bins(stated, (errors == 0).tolist())
    figures = (
        Named("exact", mean_figure(errors == 0, known, total=total)),
        Named("within one step", mean_figure(np.abs(errors) <= 1, known, total=total)),
        Named("mean absolute error, steps", mean_figure(np.abs(errors), known, total=total)),
        Named("mean error, said - true, steps", mean_figure(errors, known, total=total)),
        Named(
            "SRCC of the expected severity",
            bootstrap(lambda i: srcc(expected[i], true[i]), groups_of(known), total=total, rounds=300),
        ),
        constant("calibration error", expected_calibration_error(bins), n=len(known), total=total),
    )
    tables, charts = breakdowns(
        rows,
        lambda some: mean_figure(
            [float(abs(r["answer"]["severity"] - r["truth"]["severity"]) <= 1) for r in scored(some)],
            scored(some),
            total=len(some),
        ),
        "within one step",
    )
    counts = confusion([SEVERITIES[s - 1] for s in said], [SEVERITIES[s - 1] for s in true], SEVERITIES)
    return Section(
        "severity",
        "Severity of a named distortion",
        figures=figures,
        tables=tables,
        charts=(
            Chart("confusion", "Severity", {"labels": list(SEVERITIES), "counts": counts.tolist()}),
            *charts,
            Chart(
                "reliability", "Probability of the severity", {"bins": [b.to_dict() for b in bins], "label": "exact"}
            ),
        ),
    )
