"""When a score is not to be trusted: signals that a picture is unlike those on which the model was tested.

A model's thresholds lie in `trust.json` beside its weights; `mllm-iqa eval trust` fits them on photographs with human
scores. Without that file nothing is claimed: `Score.trust` is None.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from .errors import CheckpointError
from .types import Doubt, Trust

FILE_NAME = "trust.json"

SIGNALS: dict[str, str] = {
    "outside mass": "the model wants to say something else than a level",
    "level entropy": "the model hardly decides between the levels",
    "feature distance": "the picture looks unlike the photographs the model was tested on",
    "flatness": "the picture looks the same everywhere",
    "prompt disagreement": "the same question in other words gives another score",
}
"""What is measured, each greater where a score deserves less trust: name -> what it means when it is unusual."""


class FeatureSpace(BaseModel):
    """Vision features of photographs: their mean and the directions in which they differ most.

    Attributes:
        mean: D numbers.
        directions: K orthonormal directions of D numbers, the most varied first.
        deviations: standard deviation along each of them.
        rest: variance of everything beside them, summed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mean: tuple[float, ...]
    directions: tuple[tuple[float, ...], ...]
    deviations: tuple[float, ...]
    rest: float

    @model_validator(mode="after")
    def _fits_together(self) -> FeatureSpace:
        if len(self.directions) != len(self.deviations) or any(len(d) != len(self.mean) for d in self.directions):
            raise ValueError("mean, directions and deviations differ in size")
        return self


class TrustLimits(BaseModel):
    """What is usual for a model: `trust.json`.

    Attributes:
        model, weights, prompt: whose.
        fitted_on: photographs behind the thresholds, in words.
        thresholds: by signal; from there on a value is unusual.
        features: of the photographs; None where the engine gave none.
        results: how often each kind of picture is flagged, as measured on others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str
    weights: str
    prompt: str
    fitted_on: str
    thresholds: dict[str, float]
    features: FeatureSpace | None
    results: dict[str, object] = {}

    @model_validator(mode="after")
    def _knows_its_signals(self) -> TrustLimits:
        unknown = set(self.thresholds) - set(SIGNALS)
        if unknown:
            raise ValueError(f"unknown signals: {', '.join(sorted(unknown))}")
        return self


def read_limits(folder: Path, *, weights: str) -> TrustLimits | None:
    """The thresholds beside some weights; None where there are none, or only those of other weights.

    Raises:
        CheckpointError: a file that holds no thresholds.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        limits = TrustLimits.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, ValidationError) as error:
        raise CheckpointError(f"{path}: not valid thresholds: {error}") from error
    return limits if limits.weights == weights else None


def write_limits(folder: Path, limits: TrustLimits) -> None:
    """Write the thresholds beside some weights."""
    (folder / FILE_NAME).write_text(limits.model_dump_json() + "\n", encoding="utf-8")


def level_entropy(probs: np.ndarray) -> np.ndarray:
    """Entropy of level probabilities, in nats, 0 to ln 5; shape (..., 5) -> (...)."""
    p = np.asarray(probs, dtype=np.float64)
    return np.asarray(-(p * np.log(np.maximum(p, 1e-300))).sum(axis=-1))


def flatness(features: np.ndarray) -> np.ndarray:
    """How alike the places of a picture are: 1 / mean standard deviation of its features; (N, 2, D) -> (N,)."""
    return np.asarray(1.0 / np.maximum(np.asarray(features, dtype=np.float64)[:, 1].mean(axis=-1), 1e-6))


def feature_space(features: np.ndarray, directions: int = 16) -> FeatureSpace:
    """The space of some photographs' features, shape (N, 2, D), with N > `directions`."""
    pooled = np.asarray(features, dtype=np.float64)[:, 0]
    mean = pooled.mean(axis=0)
    _, s, axes = np.linalg.svd(pooled - mean, full_matrices=False)
    kept = min(directions, len(s) - 1)
    return FeatureSpace(
        mean=_short(mean),
        directions=tuple(_short(axis) for axis in axes[:kept]),
        deviations=_short(s[:kept] / np.sqrt(len(pooled))),
        rest=float(f"{(s[kept:] ** 2).sum() / len(pooled):.5g}"),
    )


def feature_distance(features: np.ndarray, space: FeatureSpace) -> np.ndarray:
    """How far pictures lie from the photographs of a space; shape (N, 2, D) -> (N,).

    The root of the mean squared deviation along its directions plus the squared deviation beside them, each in units
    of the photographs' own: about 1.4 for a usual photograph (a Mahalanobis distance of reduced rank).
    """
    off = np.asarray(features, dtype=np.float64)[:, 0] - np.array(space.mean)
    along = off @ np.array(space.directions).T
    beside = np.maximum((off**2).sum(axis=1) - (along**2).sum(axis=1), 0.0)
    mean_along = ((along / np.array(space.deviations)) ** 2).mean(axis=1)
    return np.asarray(np.sqrt(mean_along + beside / space.rest))


def _short(values: np.ndarray) -> tuple[float, ...]:
    """Five digits: the file stays small, and distances change by less than a thousandth."""
    return tuple(float(f"{value:.5g}") for value in values)


def signals(
    *,
    outside: np.ndarray,
    probs: np.ndarray,
    features: np.ndarray | None,
    space: FeatureSpace | None,
    mos_by_question: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Every signal there is material for, by name, each of shape (N,).

    Args:
        outside: shape (N,), outside mass.
        probs: shape (N, 5), of the levels.
        features: shape (N, 2, D), where the engine gives any.
        space: of photographs, where there is one.
        mos_by_question: shape (N, Q), MOS by wording of the question, where several were asked.
    """
    found = {"outside mass": np.asarray(outside, dtype=np.float64), "level entropy": level_entropy(probs)}
    if features is not None:
        found["flatness"] = flatness(features)
        if space is not None:
            found["feature distance"] = feature_distance(features, space)
    if mos_by_question is not None:
        found["prompt disagreement"] = np.ptp(mos_by_question, axis=1)
    return found


def verdicts(found: Mapping[str, np.ndarray], thresholds: Mapping[str, float]) -> list[Trust]:
    """One verdict for each picture, from its signals; those without a threshold do not count."""
    checked = tuple(name for name in SIGNALS if name in found and name in thresholds)
    count = len(next(iter(found.values()))) if found else 0
    return [_verdict({name: float(found[name][i]) for name in checked}, thresholds) for i in range(count)]


def _verdict(values: Mapping[str, float], thresholds: Mapping[str, float]) -> Trust:
    unusual = sorted(
        (name for name, value in values.items() if value >= thresholds[name]),
        key=lambda name: values[name] / max(thresholds[name], 1e-12),
        reverse=True,
    )
    reasons = tuple(Doubt(name, values[name], thresholds[name], SIGNALS[name]) for name in unusual)
    return Trust(trusted=not reasons, reasons=reasons, checked=tuple(values))


def shared_thresholds(found: Mapping[str, np.ndarray], rate: float) -> dict[str, float]:
    """Thresholds, each reached by an equal share of photographs, such that about `rate` of them reach any.

    Args:
        found: signals of the photographs, each of shape (N,).
        rate: share of photographs to be flagged, in (0, 1).
    """
    best: dict[str, float] = {}
    count = len(next(iter(found.values())))
    for flagged in range(1, count):
        tried = {name: _reached_by(values, flagged) for name, values in found.items()}
        hit = np.any([values >= tried[name] for name, values in found.items()], axis=0)
        if best and float(hit.mean()) > rate:
            break
        best = tried
    return {name: float(f"{value:.6g}") for name, value in best.items()}


def _reached_by(values: np.ndarray, flagged: int) -> float:
    """The threshold that so many photographs reach, or none of them where more are equal there."""
    threshold = float(np.sort(values)[len(values) - flagged])
    return threshold if int((values >= threshold).sum()) <= flagged else 1.0001 * float(values.max()) + 1e-9
