"""Scores against human scores: SRCC, KRCC, PLCC raw and fitted, RMSE, by tag and range; coverage of the intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mllm_iqa.agreement import Figure, bootstrap, plcc, srcc

from ..metrics.correlation import FORMS, LogisticFit, fit_logistic, krcc, plcc_fitted, rmse
from ..results import Case, Chart, Named, Section, Table, scored
from ..task import Row
from .common import breakdowns, constant, distinct, groups_of, mean_figure

_CASES = 4
_CURVE_POINTS = 60


def correlation(rows: Sequence[Row], options: Mapping[str, Any]) -> Section:
    """Agreement of `answer.score` with `truth.mos`, raw predictions and their sign first."""
    known = scored(rows)
    x, y = _scores(known)
    groups, total = groups_of(known), len(rows)
    four, five = (fit_logistic(x, y, form=form) for form in FORMS)
    figures = [
        Named("SRCC", bootstrap(lambda i: srcc(x[i], y[i]), groups, total=total)),
        Named("KRCC", bootstrap(lambda i: krcc(x[i], y[i]), groups, total=total, rounds=300)),
        Named("PLCC, raw", bootstrap(lambda i: plcc(x[i], y[i]), groups, total=total)),
        *(_fitted(x, y, fit, groups, total) for fit in (four, five)),
        _error(x, y, known, four, total),
    ]
    tables, charts = breakdowns(rows, _srcc_of, "SRCC")
    ranges = _by_range(x, y)
    order = np.argsort(np.abs(_residuals(x, y, four)))
    label = str(options.get("truth", "human MOS"))
    return Section(
        "correlation",
        f"Agreement with {label}",
        figures=tuple(figures),
        tables=(*tables, ranges),
        charts=(_scatter(known, x, y, four, label), *charts),
        best=_cases(known, x, y, order, label),
        worst=_cases(known, x, y, order[::-1], label),
        note="SRCC, KRCC and raw PLCC are of the predictions as they are: a reversed predictor is negative. "
        "Fitted figures use a curve that never falls; their intervals hold the curve fixed.",
    )


def _scores(rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
    x = np.array([row["answer"]["score"] for row in rows], dtype=float)
    return x, np.array([row["truth"]["mos"] for row in rows], dtype=float)


def _srcc_of(rows: Sequence[Row]) -> Figure:
    known = scored(rows)
    x, y = _scores(known)
    return bootstrap(lambda i: srcc(x[i], y[i]), groups_of(known), total=len(rows), rounds=300)


def _fitted(x: np.ndarray, y: np.ndarray, fit: LogisticFit, groups: Sequence[str], total: int) -> Named:
    name = f"PLCC, after a {fit.form} fit"
    if fit.failure:
        return constant(name, float("nan"), n=len(x), total=total, note=f"no fit: {fit.failure}")
    mapped = fit.mapped(x)
    statistic: Callable[[np.ndarray], float] = lambda i: plcc(mapped[i], y[i])  # noqa: E731
    figure = bootstrap(statistic, groups, total=total)
    return Named(name, Figure(plcc_fitted(x, y, fit), figure.low, figure.high, figure.n, figure.total))


def _error(x: np.ndarray, y: np.ndarray, rows: Sequence[Row], fit: LogisticFit, total: int) -> Named:
    groups = groups_of(rows)
    if rows and all("mos" in row["answer"] for row in rows):
        return Named("RMSE, raw, MOS units", bootstrap(lambda i: rmse(x[i], y[i]), groups, total=total))
    mapped = fit.mapped(x)
    if fit.failure:
        return constant("RMSE, after the fit, MOS units", float("nan"), n=len(x), total=total, note=fit.failure)
    figure = bootstrap(lambda i: rmse(mapped[i], y[i]), groups, total=total)
    return Named("RMSE, after the fit, MOS units", figure, "the scores are not on the MOS scale")


def _by_range(x: np.ndarray, y: np.ndarray) -> Table:
    rows = []
    for low in range(1, 5):
        inside = (y >= low) & ((y < low + 1) | ((low == 4) & (y <= 5)))
        mean = float(np.mean(x[inside] - y[inside])) if inside.any() else float("nan")
        rows.append((f"{low} to {low + 1}", srcc(x[inside], y[inside]), mean, int(inside.sum())))
    return Table("By range of the true score", ("range", "SRCC", "mean predicted - true", "n"), tuple(rows))


def _residuals(x: np.ndarray, y: np.ndarray, fit: LogisticFit) -> np.ndarray:
    """Human minus fitted score; minus standardized prediction where there is no fit."""
    if not fit.failure:
        return np.asarray(y - fit.mapped(x))
    spread = x.std() if len(x) and x.std() > 0 else 1.0
    return np.asarray(y - y.mean() - (x - x.mean()) / spread) if len(x) else x


def _scatter(rows: Sequence[Row], x: np.ndarray, y: np.ndarray, fit: LogisticFit, label: str) -> Chart:
    curve: list[list[float]] = []
    if not fit.failure:
        at = np.linspace(x.min(), x.max(), _CURVE_POINTS)
        curve = [[float(a), float(b)] for a, b in zip(at, fit.mapped(at), strict=True)]
    band = float(np.std(_residuals(x, y, fit))) if curve else 0.0
    data = {
        "x": x.tolist(),
        "y": y.tolist(),
        "ids": [row["id"] for row in rows],
        "fit": curve,
        "band": 2 * band,
        "x_label": "predicted",
        "y_label": label,
        "legend": f"{fit.form} fit, band of two standard deviations of the residuals" if curve else "",
    }
    return Chart("scatter", f"Predicted score against {label}", data)


def _cases(rows: Sequence[Row], x: np.ndarray, y: np.ndarray, places: np.ndarray, label: str) -> tuple[Case, ...]:
    shown = distinct(rows, map(int, places), _CASES)
    return tuple(Case(rows[i]["id"], f"predicted {x[i]:.2f}, {label} {y[i]:.2f}") for i in shown)


def interval(rows: Sequence[Row], options: Mapping[str, Any]) -> Section:
    """How often the stated interval holds the human score, and its width."""
    known = [row for row in scored(rows) if row["answer"].get("interval")]
    inside = [a["interval"]["low"] <= r["truth"]["mos"] <= a["interval"]["high"] for r in known for a in [r["answer"]]]
    width = [row["answer"]["interval"]["high"] - row["answer"]["interval"]["low"] for row in known]
    stated = sorted({row["answer"]["interval"]["coverage"] for row in known})
    sources = sorted({row["answer"]["interval"]["source"] for row in known})
    note = f"stated coverage {', '.join(f'{s:.0%}' for s in stated) or 'none'}; from: {'; '.join(sources) or 'nothing'}"
    return Section(
        "interval",
        "Stated intervals",
        figures=(
            Named("human score inside the interval", mean_figure(inside, known, total=len(rows)), note),
            Named("width of the interval, MOS units", mean_figure(width, known, total=len(rows))),
        ),
    )
