"""Predicted level probabilities against the distribution of human opinions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mllm_iqa.agreement import bootstrap, srcc
from mllm_iqa.levels import LEVELS, soft_label

from ..metrics.distribution import earth_movers, js_divergence, kl_divergence
from ..results import Named, Section, scored
from ..task import Row
from .common import groups_of, mean_figure

_NARROW = 0.1  # raters who agree more closely make no normal shape over levels one MOS apart


def distribution(rows: Sequence[Row], options: Mapping[str, Any]) -> Section:
    """KL, JS and EMD to the human distribution, and SRCC of the spreads; items without known spread are not counted."""
    known = [row for row in scored(rows) if "levels" in row["answer"] and _human(row) is not None]
    total = len(rows)
    if not known:
        return Section("distribution", "Opinion-score distributions", note="no item's spread of opinions is known")
    human = np.array([_human(row) for row in known], dtype=float)
    said = np.array([[row["answer"]["levels"][word] for word in LEVELS] for row in known])
    said = said / said.sum(axis=1, keepdims=True)
    stds = [(row["answer"]["std"], row["truth"]["std"]) for row in known if "std" in row["truth"]]
    spread_rows = [row for row in known if "std" in row["truth"]]
    ours, theirs = (np.array([pair[side] for pair in stds], dtype=float) for side in (0, 1))
    with np.errstate(divide="ignore"):
        kl = kl_divergence(human, said)
    return Section(
        "distribution",
        "Opinion-score distributions",
        figures=(
            Named("KL(human || predicted), nats", mean_figure(kl, known, total=total)),
            Named("Jensen-Shannon divergence, bits", mean_figure(js_divergence(human, said), known, total=total)),
            Named("earth mover's distance, MOS units", mean_figure(earth_movers(human, said), known, total=total)),
            Named(
                "SRCC of the standard deviations",
                bootstrap(lambda i: srcc(ours[i], theirs[i]), groups_of(spread_rows), total=total),
            ),
        ),
        note="The human distribution is that of the votes where the set gives five shares, else the soft label of "
        "mean and standard deviation.",
    )


def _human(row: Row) -> list[float] | None:
    truth = row["truth"]
    votes = truth.get("distribution")
    if votes is not None and len(votes) == len(LEVELS):
        return [float(share) for share in reversed(votes)]  # lowest value first in tables, best level first here
    if truth.get("std") is not None and truth["std"] >= _NARROW:
        return [float(share) for share in soft_label(truth["mos"], truth["std"])]
    return None
