"""Two-alternative choices with ties, and rankings of several pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import kendalltau

from mllm_iqa.types import Winner


def two_afc(said: Winner, prefers_first: float) -> float:
    """Share of people who agree with an answer (2AFC; Zhang et al., 2018), in [0, 1].

    Args:
        said: the answer.
        prefers_first: share of people who preferred the first, "a".

    Returns:
        `prefers_first` for "a", 1 - that for "b", one half for "tie": a tie is a coin toss, never a hit.
    """
    return {"a": prefers_first, "b": 1.0 - prefers_first, "tie": 0.5}[said]


def most_probable(probabilities: Mapping[str, float], names: Sequence[Winner] = ("a", "b", "tie")) -> Winner:
    """The most probable of some answers; a tie where "a" and "b" are exactly equal, else the first named."""
    if probabilities["a"] == probabilities["b"]:
        return "tie"
    return max(names, key=lambda name: probabilities[name])


def rank_agreement(strengths: Sequence[float], truth: Sequence[float]) -> float:
    """Kendall's tau-b of predicted strengths and true quality of one set; NaN where either is constant."""
    if np.ptp(strengths) == 0 or np.ptp(truth) == 0:
        return float("nan")
    return float(kendalltau(strengths, truth).statistic)
