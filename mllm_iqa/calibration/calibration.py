"""A fitted calibration: what its file holds, and how it turns a MOS into a score on the user's scale."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..errors import CalibrationError
from ..types import Calibrated, Score
from .conformal import Method, jackknife_plus
from .maps import KNOTS, map_values


class Scale(BaseModel):
    """The user's scale.

    Attributes:
        low, high: its ends where the user stated them, else None.
        higher_is_better: False = DMOS and the like.
        label_low, label_high: lowest and highest label.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    low: float | None
    high: float | None
    higher_is_better: bool
    label_low: float
    label_high: float


class IntervalRule(BaseModel):
    """How an interval is made.

    Attributes:
        method: see `conformal`.
        coverage: aimed at, in (0, 1); `promise` says in words what is guaranteed.
        relative: whether residuals are in units of the standard deviation of the level distribution.
        quantile: of split conformal, None where there were too few labels.
        left_out: of jackknife+: the map without each label, at the knots; `residuals`: of each label under that map.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: Method
    coverage: float = Field(gt=0, lt=1)
    promise: str
    relative: bool
    quantile: float | None = None
    left_out: tuple[tuple[float, ...], ...] = ()
    residuals: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> IntervalRule:
        if len(self.left_out) != len(self.residuals) or any(len(row) != len(KNOTS) for row in self.left_out):
            raise ValueError("the maps without a label and the residuals do not fit together")
        return self


class Calibration(BaseModel):
    """From the MOS of one model to one user's scale.

    Attributes:
        format: of the file.
        name: what results call it.
        model, weights, prompt: whose MOS it takes: the model's name, what tells its weights apart, and the prompt.
        scale: the user's.
        n: labels it was fitted on.
        shape: of the map; `values` are those at `maps.KNOTS`.
        mos_low, mos_high: of the labeled pictures.
        interval: how intervals are made.
        report: what was measured on held-out labels, for people and programs; None under 20 labels.
        notes: what its user should know.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: int = Field(default=1, ge=1, le=1)
    name: str
    model: str
    weights: str
    prompt: str
    scale: Scale
    n: int
    shape: str
    values: tuple[float, ...] = Field(min_length=len(KNOTS), max_length=len(KNOTS))
    mos_low: float
    mos_high: float
    interval: IntervalRule
    report: dict[str, object] | None
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_monotone(self) -> Calibration:
        steps = np.diff(self.values) * (1 if self.scale.higher_is_better else -1)
        if not bool((steps > 0).all()):
            raise ValueError("its map is not strictly monotone in the direction of its scale")
        return self

    def check_model(self, model: str, weights: str) -> None:
        """Refuse to be used with another model; a CalibrationError says which one it was fitted with."""
        if model != self.model:
            raise CalibrationError(
                f"the calibration {self.name!r} was fitted with the model {self.model} and says nothing of {model}; "
                "make one for it with `mllm-iqa calibrate`"
            )
        if weights != self.weights:
            raise CalibrationError(
                f"the calibration {self.name!r} was fitted with other weights of {model}; "
                "fit it again with `mllm-iqa calibrate`"
            )

    def value(self, mos: float) -> float:
        """A MOS on the user's scale, within its ends where they are known."""
        return float(self.values_of(np.array([mos]))[0])

    def bounds(self, mos: float, std: float | None) -> tuple[float | None, float | None]:
        """Lower and upper end of the interval; None = unbounded on that side.

        Args:
            mos: the model's, in [1, 5].
            std: of its level distribution; None where the model writes a number.
        """
        ends = self.intervals(np.array([mos]), None if std is None else np.array([std]))
        low, high = (float(end[0]) for end in ends)
        return (low if math.isfinite(low) else None), (high if math.isfinite(high) else None)

    def values_of(self, mos: np.ndarray) -> np.ndarray:
        """As `value`, of many: shape (m,) -> (m,)."""
        return self._within(map_values(np.array(self.values), mos))

    def intervals(self, mos: np.ndarray, std: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """As `bounds`, of many, with infinite ends where it gives None; each of shape (m,)."""
        width = widths_of(std) if self.interval.relative and std is not None else np.ones(len(mos))
        if self.interval.method == "split conformal":
            reach = width * (math.inf if self.interval.quantile is None else self.interval.quantile)
            center = map_values(np.array(self.values), mos)
            low, high = center - reach, center + reach
        else:
            left_out = map_values(np.array(self.interval.left_out), mos)
            reach = np.array(self.interval.residuals)[:, None] * width
            low, high = jackknife_plus(left_out, reach, self.interval.coverage)
        return self._within(low), self._within(high)

    def applied(self, score: Score) -> Score:
        """The score with `calibrated` filled in.

        Raises:
            CalibrationError: it came from another prompt (with a reference, say) than the labels' scores.
        """
        if score.prompt != self.prompt:
            raise CalibrationError(
                f"the calibration {self.name!r} was fitted with the prompt {self.prompt}, and this score is from "
                f"{score.prompt}; score without a reference, or without the calibration"
            )
        low, high = self.bounds(score.mos, score.std)
        return replace(
            score,
            calibrated=Calibrated(
                value=self.value(score.mos),
                low=low,
                high=high,
                coverage=self.interval.coverage,
                higher_is_better=self.scale.higher_is_better,
                extrapolated=not self.mos_low <= score.mos <= self.mos_high,
                calibration=self.name,
                labels=self.n,
            ),
        )

    def _within(self, values: np.ndarray) -> np.ndarray:
        low = -math.inf if self.scale.low is None else self.scale.low
        high = math.inf if self.scale.high is None else self.scale.high
        return np.asarray(np.clip(values, low, high))


_NARROWEST = 0.1


def widths_of(std: np.ndarray) -> np.ndarray:
    """What intervals are as wide as: the spread of the level distributions, in MOS units, at least 0.1."""
    return np.asarray(np.maximum(std, _NARROWEST))
