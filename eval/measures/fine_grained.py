"""SRCC inside narrow ranges of human quality (FG-IQA)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mllm_iqa.agreement import bootstrap

from ..metrics.ranges import srcc_in_ranges, weighted_mean
from ..results import Chart, Named, Section, Table, scored
from ..task import Row
from .common import groups_of


def fine_grained(rows: Sequence[Row], options: Mapping[str, Any]) -> Section:
    """Mean SRCC over ranges of `width` MOS units (0.5 unless told), weighted by size, and each range's own."""
    width = float(options.get("width", 0.5))
    known = scored(rows)
    x = np.array([row["answer"]["score"] for row in known], dtype=float)
    y = np.array([row["truth"]["mos"] for row in known], dtype=float)
    ranges = srcc_in_ranges(x, y, width=width)
    figure = bootstrap(
        lambda i: weighted_mean(srcc_in_ranges(x[i], y[i], width=width)), groups_of(known), total=len(rows), rounds=300
    )
    labels = [f"{one.low:.2f} to {one.high:.2f}" for one in ranges]
    return Section(
        "fine_grained",
        "Fine differences",
        figures=(Named(f"SRCC within ranges of {width} MOS", figure),),
        tables=(
            Table(
                "SRCC inside narrow ranges",
                ("true MOS", "SRCC", "n"),
                tuple((label, one.srcc, one.n) for label, one in zip(labels, ranges, strict=True)),
            ),
        ),
        charts=()
        if all(np.isnan(one.srcc) for one in ranges)
        else (
            Chart(
                "bars",
                "SRCC inside narrow ranges",
                {"label": "SRCC", "labels": labels, "values": [one.srcc for one in ranges], "low": [], "high": []},
            ),
        ),
    )
