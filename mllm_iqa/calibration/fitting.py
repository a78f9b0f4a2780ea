"""Fitting a calibration to labels, and measuring it on labels it has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..agreement import bootstrap, plcc, srcc
from ..errors import ConfigError, DataError
from ..levels import MOS_MAX, MOS_MIN
from .calibration import Calibration, IntervalRule, Scale, widths_of
from .conformal import SPLIT_SHARE, method_for, promise, split_quantile
from .labels import check_scores
from .maps import SHAPES, map_values, shape_for

REPORT_FROM = 20
"""Labels under which nothing is measured on held-out ones: what came out would be chance."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a model said of the labeled pictures, in their order.

    Attributes:
        model, weights, prompt: who said it; see `Calibration`.
        mos: shape (n,), in [1, 5].
        std: shape (n,), of the level distributions; None where the model writes numbers.
    """

    model: str
    weights: str
    prompt: str
    mos: np.ndarray
    std: np.ndarray | None


@dataclass(frozen=True, slots=True)
class Settings:
    """How to calibrate.

    Attributes:
        name: what the calibration is called.
        limits: the ends of the scale, if the user states them.
        higher_is_better: None = whichever way the labels follow the MOS.
        coverage: of the interval, in (0, 1).
        held_out: share of the labels that each turn of the measurement holds out, in [0.05, 0.5].
        seed: of the splits.
        shape: of the map, a key of `maps.SHAPES`; None = by the number of labels.
    """

    name: str
    limits: tuple[float, float] | None = None
    higher_is_better: bool | None = None
    coverage: float = 0.9
    held_out: float = 0.2
    seed: int = 0
    shape: str | None = None


def calibrate(judged: Judged, scores: Sequence[float], settings: Settings) -> Calibration:
    """A calibration of a model to labels.

    The map and the interval use all labels. The report is of maps and intervals fitted without the labels they are
    measured on: each turn holds out a share, so that every label is held out once.

    Raises:
        ConfigError: settings out of their range.
        DataError: labels nothing can be learned from; see `labels.check_scores`, and `direction`.
    """
    _check(settings)
    check_scores("the labels", scores, settings.limits)
    labels = np.asarray(scores, dtype=np.float64)
    rising, notes = direction(judged.mos, labels, settings.higher_is_better)
    values, rule = _fitted(judged.mos, judged.std, labels, settings, rising)
    n = len(labels)
    if n < REPORT_FROM:
        notes.append(
            f"{n} labels are under {REPORT_FROM}: the map is a straight line and was not measured on held-out labels"
        )
    low, high = (None, None) if settings.limits is None else settings.limits
    return Calibration(
        name=settings.name,
        model=judged.model,
        weights=judged.weights,
        prompt=judged.prompt,
        scale=Scale(
            low=low,
            high=high,
            higher_is_better=rising,
            label_low=float(labels.min()),
            label_high=float(labels.max()),
        ),
        n=n,
        shape=settings.shape or shape_for(n),
        values=tuple(float(v) for v in values),
        mos_low=float(judged.mos.min()),
        mos_high=float(judged.mos.max()),
        interval=rule,
        report=report(judged, labels, settings, rising) if n >= REPORT_FROM else None,
        notes=tuple(notes),
    )


def fitted(judged: Judged, labels: np.ndarray, settings: Settings, *, rising: bool) -> Calibration:
    """Map and interval from labels of a known direction, unchecked and without a report: for measurements."""
    values, rule = _fitted(judged.mos, judged.std, labels, settings, rising)
    return _bare(judged, settings, values, rule, labels, rising)


def direction(mos: np.ndarray, labels: np.ndarray, wanted: bool | None) -> tuple[bool, list[str]]:
    """Whether higher labels mean better pictures, and what to say of it.

    Args:
        mos: of the model.
        labels: of the user.
        wanted: what the user says; None = the sign of the rank correlation.

    Raises:
        DataError: the sign is uncertain, or it is certain and not what the user says.
    """
    if float(np.ptp(mos)) == 0:
        raise DataError(f"the model gives every labeled picture the same MOS, {mos[0]:.2f}; there is nothing to map")
    figure = bootstrap(lambda i: srcc(mos[i], labels[i]), [str(i) for i in range(len(mos))], total=len(mos))
    found = f"SRCC {figure.value:+.2f} with the MOS, 95% interval {figure.low:+.2f} to {figure.high:+.2f}"
    certain = figure.low > 0 or figure.high < 0
    rising = figure.value > 0
    if wanted is None:
        if not certain:
            raise DataError(
                f"the labels say neither that higher is better nor that lower is ({found}); "
                "state --higher-is-better or --lower-is-better, and expect little of the result"
            )
        word = "higher" if rising else "lower"
        return rising, [f"{word} is better, as read from the labels ({found}); state it if that is wrong"]
    if certain and rising != wanted:
        word, other = ("higher", "lower") if wanted else ("lower", "higher")
        raise DataError(
            f"--{word}-is-better, yet the labels rise where the MOS says {other} ({found}); which is wrong?"
        )
    if not certain:
        return wanted, [f"the model hardly follows these labels ({found}): expect little of this calibration"]
    return wanted, []


def _fitted(
    mos: np.ndarray, std: np.ndarray | None, labels: np.ndarray, settings: Settings, rising: bool
) -> tuple[np.ndarray, IntervalRule]:
    """The map at the knots, and how its intervals are made."""
    n = len(labels)
    shape = SHAPES[settings.shape or shape_for(n)]
    method = method_for(n)
    widths = np.ones(n) if std is None else widths_of(std)
    spared = round(n * SPLIT_SHARE) if method == "split conformal" else n
    words = promise(method, settings.coverage, spared)
    rule = IntervalRule(method=method, coverage=settings.coverage, promise=words, relative=std is not None)
    if method == "split conformal":
        order = np.random.default_rng(settings.seed).permutation(n)
        own, others = order[spared:], order[:spared]
        values = shape(mos[own], labels[own], rising=rising)
        residuals = np.abs(labels[others] - map_values(values, mos[others])) / widths[others]
        quantile = split_quantile(residuals, settings.coverage)
        return values, rule.model_copy(update={"quantile": None if math.isinf(quantile) else quantile})
    left_out, residuals_ = [], []
    for i in range(n):
        rest = np.arange(n) != i
        without = shape(mos[rest], labels[rest], rising=rising)
        left_out.append(tuple(float(v) for v in without))
        residuals_.append(float(abs(labels[i] - map_values(without, mos[i : i + 1])[0]) / widths[i]))
    update = {"left_out": tuple(left_out), "residuals": tuple(residuals_)}
    return shape(mos, labels, rising=rising), rule.model_copy(update=update)


def straight_reading(mos: np.ndarray, limits: tuple[float, float], *, rising: bool) -> np.ndarray:
    """What MOS would be on a scale if its ends were those of the scale: the reading without a calibration."""
    share = (mos - MOS_MIN) / (MOS_MAX - MOS_MIN)
    low, high = limits
    return np.asarray(low + (high - low) * (share if rising else 1 - share))


def report(judged: Judged, labels: np.ndarray, settings: Settings, rising: bool) -> dict[str, object]:
    """Figures before and after, each with a 95 % bootstrap interval, on labels that were held out.

    "before" reads the MOS straight onto the scale: 1 and 5 are its stated ends, or else the lowest and highest label.
    """
    n = len(labels)
    turns = round(1 / settings.held_out)
    turn_of = np.random.default_rng(settings.seed).permutation(n) % turns
    after, low, high = np.empty(n), np.empty(n), np.empty(n)
    for turn in range(turns):
        out = turn_of == turn
        std = None if judged.std is None else judged.std[~out]
        values, rule = _fitted(judged.mos[~out], std, labels[~out], settings, rising)
        part = _bare(judged, settings, values, rule, labels, rising)
        after[out] = part.values_of(judged.mos[out])
        low[out], high[out] = part.intervals(judged.mos[out], None if judged.std is None else judged.std[out])
    limits = settings.limits or (float(labels.min()), float(labels.max()))
    before = straight_reading(judged.mos, limits, rising=rising)
    covered = (low <= labels) & (labels <= high)
    groups = [str(i) for i in range(n)]

    def rmse(values: np.ndarray, i: np.ndarray) -> float:
        return float(np.sqrt(np.mean((values[i] - labels[i]) ** 2)))

    figures = {
        "SRCC before": bootstrap(lambda i: srcc(before[i], labels[i]), groups, total=n),
        "SRCC after": bootstrap(lambda i: srcc(after[i], labels[i]), groups, total=n),
        "PLCC before": bootstrap(lambda i: plcc(before[i], labels[i]), groups, total=n),
        "PLCC after": bootstrap(lambda i: plcc(after[i], labels[i]), groups, total=n),
        "RMSE before": bootstrap(lambda i: rmse(before, i), groups, total=n),
        "RMSE after": bootstrap(lambda i: rmse(after, i), groups, total=n),
        "RMSE change": bootstrap(lambda i: rmse(after, i) - rmse(before, i), groups, total=n),
        "coverage": bootstrap(lambda i: float(covered[i].mean()), groups, total=n),
    }
    plain = {
        name: {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in figure.to_dict().items()}
        for name, figure in figures.items()
    }
    bounded = np.isfinite(high) & np.isfinite(low)
    width = float(np.mean((high - low)[bounded])) if bounded.any() else None
    return {"turns": turns, "held out each turn": settings.held_out, **plain, "mean interval width": width}


def _bare(
    judged: Judged, settings: Settings, values: np.ndarray, rule: IntervalRule, labels: np.ndarray, rising: bool
) -> Calibration:
    """A calibration of one turn of the measurement."""
    low, high = (None, None) if settings.limits is None else settings.limits
    ends = {"label_low": float(labels.min()), "label_high": float(labels.max())}
    return Calibration(
        name=settings.name,
        model=judged.model,
        weights=judged.weights,
        prompt=judged.prompt,
        scale=Scale(low=low, high=high, higher_is_better=rising, **ends),
        n=len(labels),
        shape="",
        values=tuple(float(v) for v in values),
        mos_low=MOS_MIN,
        mos_high=MOS_MAX,
        interval=rule,
        report=None,
    )


def _check(settings: Settings) -> None:
    if not 0.5 <= settings.coverage < 1:
        raise ConfigError(f"--coverage must lie in [0.5, 1), got {settings.coverage:g}")
    if not 0.05 <= settings.held_out <= 0.5:
        raise ConfigError(f"--held-out must lie in [0.05, 0.5], got {settings.held_out:g}")
    if settings.limits is not None and not settings.limits[0] < settings.limits[1]:
        raise ConfigError(f"--range takes the lower end first, got {settings.limits[0]:g} {settings.limits[1]:g}")
    if settings.shape is not None and settings.shape not in SHAPES:
        raise ConfigError(f"no map of the shape {settings.shape!r}; there are {', '.join(SHAPES)}")
