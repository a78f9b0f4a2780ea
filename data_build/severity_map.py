"""From full-reference metrics to the human scale: the map, and its fit to human means of (distortion, severity).

A picture's *damage* z says what share of quality is left: mos = 1 + (CLEAN_MOS - 1) exp(-z). It is a sum over metrics
of weight x distance^power with positive weights, so that an undistorted picture has CLEAN_MOS, more distance by any
metric is never better, the result lies in (1, CLEAN_MOS], and damages add where shares of quality multiply.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from .severity import CLEAN_MOS

_LOG_WEIGHT = (-8.0, 8.0)
_POWER = (0.25, 3.0)


@dataclass(frozen=True, slots=True)
class Term:
    """One metric's part of the damage: weight x distance^power."""

    metric: str
    weight: float
    power: float


def damage(distances: Mapping[str, np.ndarray | float], terms: Sequence[Term]) -> np.ndarray:
    """Damage >= 0 of pictures: the sum of the terms.

    Args:
        distances: for every metric of `terms` a distance >= 0 or an array (n,) of them.
        terms: of the map.

    Returns:
        Of the shape of the distances.
    """
    return np.asarray(sum(t.weight * np.asarray(distances[t.metric]) ** t.power for t in terms))


def mos_of_damage(z: np.ndarray | float) -> np.ndarray:
    """MOS in (1, CLEAN_MOS] of damage >= 0; the same shape."""
    return np.asarray(1.0 + (CLEAN_MOS - 1.0) * np.exp(-np.asarray(z)))


def damage_of_mos(mos: np.ndarray | float) -> np.ndarray:
    """Damage >= 0 of a MOS in (1, CLEAN_MOS]; the same shape."""
    return np.asarray(-np.log((np.asarray(mos) - 1.0) / (CLEAN_MOS - 1.0)))


@dataclass(frozen=True, slots=True)
class Cells:
    """Measured pictures in cells of (distortion, severity), each with a human mean.

    Attributes:
        distances: metric -> distance of every picture, shape (n,).
        cell: the cell of every picture, 0 .. number of cells - 1, shape (n,); every cell has a picture.
        human: the human mean of every cell, on 1..5.
        kinds: the kind of distortion of every cell.
    """

    distances: dict[str, np.ndarray]
    cell: np.ndarray
    human: np.ndarray
    kinds: np.ndarray

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Mean over the pictures of every cell."""
        totals = np.bincount(self.cell, weights=values, minlength=len(self.human))
        return np.asarray(totals / np.bincount(self.cell, minlength=len(self.human)))

    def predict(self, terms: Sequence[Term]) -> np.ndarray:
        """The map's mean MOS of every cell."""
        return self.mean(mos_of_damage(damage(self.distances, terms)))


def fit_terms(cells: Cells, metrics: Sequence[str], keep: np.ndarray) -> tuple[Term, ...]:
    """The weights and powers whose mean MOS of each cell is nearest to the human mean, in least squares.

    Args:
        cells: the pictures.
        metrics: to use, at least one.
        keep: boolean, the cells to fit to; at least as many as there are parameters (two per metric).
    """
    x = np.stack([cells.distances[m] for m in metrics])
    k = len(metrics)
    used = keep[cells.cell]
    x, cell = x[:, used], cells.cell[used]
    count = np.bincount(cell, minlength=len(keep))[keep]

    def residuals(parameters: np.ndarray) -> np.ndarray:
        z = np.exp(parameters[:k]) @ x ** parameters[k:, None]
        means = np.bincount(cell, weights=mos_of_damage(z), minlength=len(keep))[keep] / count
        return np.asarray(means - cells.human[keep])

    start = np.concatenate([np.log(1.0 / k / np.maximum(x.mean(axis=1), 1e-6)).clip(*_LOG_WEIGHT), np.ones(k)])
    bounds = np.repeat([_LOG_WEIGHT, _POWER], k, axis=0).T
    solved = least_squares(residuals, start, bounds=bounds).x
    return tuple(Term(m, float(np.exp(w)), float(p)) for m, w, p in zip(metrics, solved[:k], solved[k:], strict=True))


def leave_one_kind_out(cells: Cells, metrics: Sequence[str], keep: np.ndarray) -> np.ndarray:
    """The mean MOS of every cell by a map that never saw its kind; NaN where `keep` is False."""
    predicted = np.full(len(keep), np.nan)
    for kind in dict.fromkeys(cells.kinds[keep]):
        mine = keep & (cells.kinds == kind)
        predicted[mine] = cells.predict(fit_terms(cells, metrics, keep & (cells.kinds != kind)))[mine]
    return predicted
