"""Thresholds from one half of the photographs, and what they do on the other half and on doubtful pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mllm_iqa.agreement import Figure, bootstrap, srcc
from mllm_iqa.errors import DataError
from mllm_iqa.levels import level_probs, mos_of, outside_mass
from mllm_iqa.trust import FeatureSpace, TrustLimits, feature_distance, feature_space, shared_thresholds, signals

from .pictures import KINDS
from .predict import PHOTO, PROMPT

FLAGGED = 0.05
"""Share of usual photographs that may be flagged."""
KEPT = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Shares kept for which the error is told."""
_FOLDS = 5
_FEWEST = 40


@dataclass(frozen=True, slots=True)
class Halves:
    """Rows of a predictions file: photographs to fit on, photographs to measure on, and the doubtful pictures."""

    fitted: list[dict[str, Any]]
    measured: list[dict[str, Any]]
    doubtful: list[dict[str, Any]]


def halves(rows: Sequence[dict[str, Any]], *, seed: int = 0) -> Halves:
    """The photographs in two random halves; a DataError where there are too few."""
    photos = [row for row in rows if row["set"] == PHOTO]
    if len(photos) < _FEWEST:
        raise DataError(f"thresholds take at least {_FEWEST} photographs, got {len(photos)}")
    order = np.random.default_rng(seed).permutation(len(photos))
    half = len(photos) // 2
    own, others = ([photos[i] for i in part] for part in (order[:half], order[half:]))
    return Halves(own, others, [row for row in rows if row["set"] != PHOTO])


def fit(own: Sequence[dict[str, Any]]) -> TrustLimits:
    """Thresholds such that about `FLAGGED` of these photographs reach one.

    Distances of a photograph are measured from the others: each fifth from the space of the rest, since a photograph
    lies nearer to a space that it helped to make.
    """
    features = _features(own)
    space = None if features is None else feature_space(features)
    found = signals_of(own, space)
    if features is not None:
        fold = np.arange(len(own)) % _FOLDS
        distances = np.empty(len(own))
        for f in range(_FOLDS):
            distances[fold == f] = feature_distance(features[fold == f], feature_space(features[fold != f]))
        found["feature distance"] = distances
    made_with = own[0]["made_with"]
    return TrustLimits(
        model=made_with["model"],
        weights=made_with["weights"],
        prompt=PROMPT,
        fitted_on=f"{len(own)} photographs with human scores, {FLAGGED:.0%} of which may be flagged",
        thresholds=shared_thresholds(found, FLAGGED),
        features=space,
    )


def signals_of(rows: Sequence[dict[str, Any]], space: FeatureSpace | None) -> dict[str, np.ndarray]:
    """Signals of the rows of a predictions file."""
    logprobs = np.array([row["logprobs"] for row in rows])
    asked = all(row["mos_by_question"] is not None for row in rows)
    return signals(
        outside=outside_mass(logprobs),
        probs=level_probs(logprobs),
        features=_features(rows),
        space=space,
        mos_by_question=np.array([row["mos_by_question"] for row in rows]) if asked else None,
    )


def _features(rows: Sequence[dict[str, Any]]) -> np.ndarray | None:
    found = [row["features"] for row in rows]
    return None if None in found else np.array(found)


def rates(parts: Halves, limits: TrustLimits, *, thorough: bool) -> dict[str, Figure]:
    """How often each kind of picture reaches a threshold, the measured photographs first.

    Args:
        parts: see `halves`.
        limits: from `fit`.
        thorough: whether the question is asked in several wordings.
    """
    out = {PHOTO: _rate(parts.measured, limits, thorough=thorough)}
    for kind in KINDS:
        rows = [row for row in parts.doubtful if row["set"] == kind]
        if rows:
            out[kind] = _rate(rows, limits, thorough=thorough)
    return out


def _rate(rows: Sequence[dict[str, Any]], limits: TrustLimits, *, thorough: bool) -> Figure:
    hits = flagged(rows, limits, thorough=thorough).astype(float)
    return bootstrap(lambda i: float(hits[i].mean()), [row["source"] for row in rows], total=len(rows))


def flagged(rows: Sequence[dict[str, Any]], limits: TrustLimits, *, thorough: bool) -> np.ndarray:
    """Whether each row reaches a threshold, shape (N,)."""
    return np.asarray(np.any(list(reached(rows, limits, thorough=thorough).values()), axis=0))


def reached(rows: Sequence[dict[str, Any]], limits: TrustLimits, *, thorough: bool) -> dict[str, np.ndarray]:
    """By signal, whether each row reaches its threshold."""
    found = signals_of(rows, limits.features)
    return {
        name: values >= limits.thresholds[name]
        for name, values in found.items()
        if name in limits.thresholds and (thorough or name != "prompt disagreement")
    }


def abstention(rows: Sequence[dict[str, Any]], limits: TrustLimits) -> dict[str, list[float]]:
    """RMSE of the MOS over the most trusted shares `KEPT` of photographs, by the signal they are ordered by.

    "all signals" orders by the largest of the signals' ranks; "error itself" shows the least that any order could give.
    """
    human = np.array([row["human"] for row in rows])
    error = np.abs(mos_of(level_probs(np.array([row["logprobs"] for row in rows]))) - human)
    found = signals_of(rows, limits.features)
    ranks = {name: values.argsort().argsort() / len(values) for name, values in found.items()}
    orders = {**found, "all signals": np.max(list(ranks.values()), axis=0), "error itself": error}
    return {name: [_rmse_of_least(values, error, kept) for kept in KEPT] for name, values in orders.items()}


def error_correlation(rows: Sequence[dict[str, Any]], limits: TrustLimits) -> dict[str, Figure]:
    """SRCC of each signal with the error of the MOS on photographs."""
    human = np.array([row["human"] for row in rows])
    error = np.abs(mos_of(level_probs(np.array([row["logprobs"] for row in rows]))) - human)
    groups = [row["source"] for row in rows]
    return {name: _srcc(values, error, groups) for name, values in signals_of(rows, limits.features).items()}


def _srcc(values: np.ndarray, error: np.ndarray, groups: list[str]) -> Figure:
    return bootstrap(lambda i: srcc(values[i], error[i]), groups, total=len(groups))


def _rmse_of_least(order_by: np.ndarray, error: np.ndarray, kept: float) -> float:
    chosen = np.argsort(order_by, kind="stable")[: max(1, round(kept * len(error)))]
    return float(np.sqrt(np.mean(error[chosen] ** 2)))
