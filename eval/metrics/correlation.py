"""Agreement of predicted with human scores beyond SRCC and raw PLCC: KRCC, RMSE, PLCC after a monotone fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.special import expit
from scipy.stats import kendalltau

from mllm_iqa.agreement import plcc

Form = Literal["4-parameter", "5-parameter"]
FORMS: tuple[Form, ...] = ("4-parameter", "5-parameter")

_EVALUATIONS = 20_000
_FLAT = 1e-6  # share of the spread of the truth below which a fitted curve counts as constant


def krcc(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Kendall rank correlation (tau-b, ties corrected), in [-1, 1], with its sign; NaN as for SRCC."""
    if len(predicted) < 3 or np.ptp(predicted) == 0 or np.ptp(truth) == 0:
        return float("nan")
    return float(kendalltau(predicted, truth).statistic)


def rmse(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square error in the units of both; NaN without items."""
    if len(predicted) == 0:
        return float("nan")
    return float(np.sqrt(np.mean((np.asarray(predicted) - np.asarray(truth)) ** 2)))


@dataclass(frozen=True, slots=True)
class LogisticFit:
    """A monotone increasing map from predictions to human scores, or the reason why there is none.

    Attributes:
        form: "4-parameter" or "5-parameter".
        parameters: of the curve on standardized predictions; empty where the fit failed.
        center, scale: predictions are standardized as (x - center) / scale.
        failure: why there is no curve; "" where there is one.
    """

    form: Form
    parameters: tuple[float, ...]
    center: float
    scale: float
    failure: str = ""

    def mapped(self, predicted: np.ndarray) -> np.ndarray:
        """Predictions on the scale of the human scores; NaN where the fit failed."""
        if self.failure:
            return np.full(len(predicted), np.nan)
        return _CURVES[self.form]((np.asarray(predicted, dtype=float) - self.center) / self.scale, *self.parameters)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def _four(x: np.ndarray, low: float, rise: float, middle: float, slope: float) -> np.ndarray:
    """Low + rise / (1 + exp(-slope (x - middle))); increasing for rise, slope >= 0."""
    return np.asarray(low + rise * expit(slope * (x - middle)))


def _five(x: np.ndarray, low: float, rise: float, middle: float, slope: float, line: float) -> np.ndarray:
    """The same with a linear part, increasing for rise, slope, line >= 0 (Sheikh et al., 2006, constrained)."""
    return np.asarray(_four(x, low, rise, middle, slope) + line * x)


_CURVES: dict[Form, Callable[..., np.ndarray]] = {"4-parameter": _four, "5-parameter": _five}


def fit_logistic(predicted: np.ndarray, truth: np.ndarray, *, form: Form = "4-parameter") -> LogisticFit:
    """Least-squares fit of a logistic curve that never falls.

    The curve of VQEG (4 parameters) or of Sheikh et al. (2006; 5), both bounded to be increasing: a predictor that
    runs against the human scores gets no curve and no flattering correlation.

    Args:
        predicted: shape (N,), finite, higher = better.
        truth: shape (N,), human scores.
        form: the curve.

    Returns:
        The fit; with `failure` for fewer items than parameters + 1, constant input, no convergence, or a best curve
        that is constant (the predictor is unrelated or reversed).
    """
    x, y = np.asarray(predicted, dtype=float), np.asarray(truth, dtype=float)
    count = 4 if form == "4-parameter" else 5
    if len(x) <= count:
        return LogisticFit(form, (), 0.0, 1.0, f"needs more than {count} items, got {len(x)}")
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return LogisticFit(form, (), 0.0, 1.0, "the predictions or the human scores are constant")
    center, scale = float(x.mean()), float(x.std())
    z, spread = (x - center) / scale, float(np.ptp(y))
    best: tuple[float, np.ndarray] | None = None
    for slope in (1.0, 4.0):
        start = [float(y.min()), spread, 0.0, slope, *([0.01 * spread] if count == 5 else [])]
        low = [-np.inf, 0.0, -np.inf, 0.0, *([0.0] if count == 5 else [])]
        try:
            found, _ = _quiet_fit(_CURVES[form], z, y, start, low)
        except (RuntimeError, ValueError):  # no convergence from here
            continue
        error = float(np.sum((_CURVES[form](z, *found) - y) ** 2))
        if best is None or error < best[0]:
            best = (error, found)
    if best is None:
        return LogisticFit(form, (), center, scale, "the fit did not converge")
    if np.ptp(_CURVES[form](z, *best[1])) <= _FLAT * spread:
        return LogisticFit(form, (), center, scale, "the best increasing curve is constant: unrelated or reversed")
    return LogisticFit(form, tuple(float(value) for value in best[1]), center, scale)


def _quiet_fit(
    curve: Callable[..., np.ndarray], x: np.ndarray, y: np.ndarray, start: list[float], low: list[float]
) -> tuple[np.ndarray, np.ndarray]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # the covariance, which nobody reads
        found, covariance = curve_fit(curve, x, y, p0=start, bounds=(low, np.inf), maxfev=_EVALUATIONS)
    return np.asarray(found), np.asarray(covariance)


def plcc_fitted(predicted: np.ndarray, truth: np.ndarray, fit: LogisticFit) -> float:
    """Pearson correlation of the mapped predictions; NaN where the fit failed."""
    return float("nan") if fit.failure else plcc(fit.mapped(predicted), np.asarray(truth))
