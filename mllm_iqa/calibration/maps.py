"""Monotone maps from MOS to another scale. Pure functions; a map is its values at fixed knots.

Three shapes were compared on training photographs (docs/calibration.md): a straight line, a four-parameter logistic
and an isotonic one. All are strictly monotone, so that a map never makes ties of scores that differ.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.optimize import isotonic_regression, least_squares

from ..levels import MOS_MAX, MOS_MIN

KNOTS: np.ndarray = np.linspace(MOS_MIN, MOS_MAX, 17)
"""MOS at which a map is given; between them it is a monotone cubic (Fritsch & Carlson, 1980)."""
KNOTS.setflags(write=False)

_FLATTEST = 0.02
"""Least slope, as a share of the slope of a line through all of the labels' range: what keeps ranks apart."""
_STEEPEST_WIDTH = 0.3
"""Least width of a logistic, in MOS units: fewer labels than a few would make it a step."""


def map_values(knot_values: np.ndarray, mos: np.ndarray) -> np.ndarray:
    """A map, or several, at some MOS in [1, 5]: shape (17,) and (n,) -> (n,); shape (k, 17) and (n,) -> (k, n)."""
    return np.asarray(PchipInterpolator(KNOTS, knot_values, axis=-1)(np.clip(mos, MOS_MIN, MOS_MAX)))


def line(mos: np.ndarray, labels: np.ndarray, *, rising: bool) -> np.ndarray:
    """The least-squares line at the knots, no flatter than `_FLATTEST` allows; shapes (n,), (n,) -> (17,)."""
    x = mos - mos.mean()
    slope = float(x @ labels / max(float(x @ x), 1e-12))
    least = _least_slope(labels)
    slope = max(slope, least) if rising else min(slope, -least)
    return np.asarray(labels.mean() + slope * (KNOTS - mos.mean()))


def logistic(mos: np.ndarray, labels: np.ndarray, *, rising: bool) -> np.ndarray:
    """The least-squares logistic b + (a - b) / (1 + exp(-(x - c) / s)) at the knots, with s bounded from below."""
    span = float(np.ptp(labels))
    sign = 1.0 if rising else -1.0
    straight = line(mos, labels, rising=rising)

    def curve(p: np.ndarray, x: np.ndarray) -> np.ndarray:
        bottom, height, center, width = p
        return np.asarray(bottom + sign * height / (1 + np.exp(-(x - center) / width)))

    # Begin as the line: at its center the slope of a logistic is height / (4 width).
    height = min(max(abs(straight[-1] - straight[0]), 0.05 * span), 2.9 * span)
    start = [straight[8] - sign * height / 2, height, 3.0, 1.0]
    bounds = (
        [labels.min() - 3 * span, 0.02 * span, MOS_MIN - 1, _STEEPEST_WIDTH],
        [labels.max() + 3 * span, 3 * span, MOS_MAX + 1, 4.0],
    )
    start = list(np.clip(start, bounds[0], bounds[1]))
    fitted = least_squares(lambda p: curve(p, mos) - labels, start, bounds=bounds, x_scale=[span, span, 1.0, 1.0])
    return _strict(curve(fitted.x, KNOTS), labels, rising=rising)


def isotonic(mos: np.ndarray, labels: np.ndarray, *, rising: bool) -> np.ndarray:
    """Isotonic regression, averaged over half a MOS around each knot and continued by the line beyond the labels."""
    order = np.argsort(mos, kind="stable")
    steps = np.asarray(isotonic_regression(labels[order], increasing=rising).x)
    x = mos[order]
    straight = line(mos, labels, rising=rising)
    smooth = np.empty(len(KNOTS))
    for i, knot in enumerate(KNOTS):
        weights = np.exp(-0.5 * ((x - knot) / 0.25) ** 2)
        near = float(weights.sum())
        smooth[i] = (weights @ steps + straight[i]) / (near + 1)  # the line counts as one label at every knot
    return _strict(smooth, labels, rising=rising)


def _strict(values: np.ndarray, labels: np.ndarray, *, rising: bool) -> np.ndarray:
    """The values made monotone with at least the least slope between knots."""
    sign = 1.0 if rising else -1.0
    ordered = np.asarray(isotonic_regression(values, increasing=rising).x)
    steps = np.maximum(np.diff(sign * ordered), _least_slope(labels) * np.diff(KNOTS))
    made = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(ordered.mean() + sign * (made - made.mean()))


def _least_slope(labels: np.ndarray) -> float:
    return _FLATTEST * float(np.ptp(labels)) / (MOS_MAX - MOS_MIN)


SHAPES: dict[str, Callable[..., np.ndarray]] = {"line": line, "logistic": logistic, "isotonic": isotonic}
"""Ways to fit a map: name -> function of (mos, labels, *, rising) to the values at the knots."""


def shape_for(n: int) -> str:
    """The shape that did best on training photographs at this many labels; see docs/calibration.md."""
    return "line" if n < 100 else "logistic"
