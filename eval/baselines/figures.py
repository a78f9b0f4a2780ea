"""The figures of a predictions file: agreement with the truth, and time. No picture and no metric is needed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mllm_iqa.agreement import Figure, bootstrap, plcc, srcc
from mllm_iqa.errors import DataError

from ..metrics.correlation import LogisticFit, fit_logistic, plcc_fitted

FEWEST_FITTED = 20
"""Pictures below which no curve is fitted: four parameters bend to a handful of points whatever these are."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one judge did on one set.

    Attributes:
        judge, title, kind: who; set: on what.
        srcc, plcc: with quality, the direction of the metric taken into account; raw values, no fitted mapping.
        plcc_fitted: after a 4-parameter logistic fit that only rises, on these same pictures; NaN without a fit.
        no_fit: why there is no fit; "" = there is one.
        ms: median milliseconds per picture on the clock.
        cpu_ms: median milliseconds of processor time per picture, all threads together.
        times_ours: median over pictures of the processor time over that of the first of our models on the same
            picture, the two measured one after the other; NaN without one.
        n: pictures with a value; measured: those the run has come to; total: pictures of the set.
        first_error: of a picture without a value; "" = none.
    """

    judge: str
    title: str
    kind: str
    set: str
    srcc: Figure
    plcc: Figure
    plcc_fitted: float
    no_fit: str
    ms: float
    cpu_ms: float
    times_ours: float
    n: int
    measured: int
    total: int
    first_error: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values; NaN becomes None."""
        return {k: _plain(v) for k, v in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value


def results(predictions: Path) -> list[Result]:
    """Figures of a predictions file, in the order in which sets and judges first appear; nothing else is read.

    Raises:
        DataError: there is no such file, it does not hold such rows, or a picture was measured twice by one judge.
    """
    by: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in _rows(predictions):
        by.setdefault((row["set"], row["judge"]), []).append(row)
    for rows in by.values():
        if len({row["key"] for row in rows}) < len(rows):
            raise DataError(f"{rows[0]['judge']} measured a picture of {rows[0]['set']} more than once")
    ours: dict[str, dict[str, float]] = {}
    for (name, _), rows in by.items():
        if rows[0]["kind"] == "ours":
            ours.setdefault(name, {row["key"]: row["cpu_ms"] for row in rows if row["cpu_ms"]})
    return [_result(rows, ours.get(name, {})) for (name, _), rows in by.items()]


def _rows(predictions: Path) -> Iterator[dict[str, Any]]:
    if not predictions.is_file():
        raise DataError(f"{predictions}: there is no such file; `mllm-iqa eval baselines run` writes one")
    for number, line in enumerate(predictions.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            yield from json.loads(line)["rows"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{predictions}, line {number}: not a picture of `mllm-iqa eval baselines run`") from error


def _result(rows: list[dict[str, Any]], ours: Mapping[str, float]) -> Result:
    first, total = rows[0], rows[0]["of"]
    good = [row for row in rows if row["value"] is not None]
    values = np.array([row["sign"] * row["value"] for row in good], dtype=float)
    truth = np.array([row["truth"] for row in good], dtype=float)
    groups = [row["group"] for row in good]
    fit = _fit(values, truth)
    times = [row["cpu_ms"] / ours[row["key"]] for row in good if row["key"] in ours]
    return Result(
        judge=first["judge"],
        title=first["title"],
        kind=first["kind"],
        set=first["set"],
        srcc=bootstrap(lambda i: srcc(values[i], truth[i]), groups, total=total),
        plcc=bootstrap(lambda i: plcc(values[i], truth[i]), groups, total=total),
        plcc_fitted=plcc_fitted(values, truth, fit),
        no_fit=fit.failure,
        ms=_median([row["ms"] for row in good]),
        cpu_ms=_median([row["cpu_ms"] for row in good]),
        times_ours=_median(times),
        n=len(good),
        measured=len(rows),
        total=total,
        first_error=next((row["error"] for row in rows if row["error"]), ""),
    )


def _fit(values: np.ndarray, truth: np.ndarray) -> LogisticFit:
    if len(values) < FEWEST_FITTED:
        return LogisticFit("4-parameter", (), 0.0, 1.0, f"needs {FEWEST_FITTED} pictures, got {len(values)}")
    return fit_logistic(values, truth)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else float("nan")


_HEADER = "| metric | kind | SRCC | PLCC, raw | PLCC, fitted | ms | CPU ms | times ours | n/total |"


def markdown(found: Sequence[Result]) -> str:
    """One table per set, best SRCC first; what could not be measured says why."""
    lines: list[str] = []
    for name in dict.fromkeys(result.set for result in found):
        lines += [f"**{name}**", "", _HEADER, "|---|---|---|---|---|---|---|---|---|"]
        rows = [r for r in found if r.set == name]
        for r in sorted(rows, key=lambda r: -r.srcc.value if r.n and not np.isnan(r.srcc.value) else 9.0):
            lines.append(
                f"| {r.title} | {r.kind} | {_cells(r) if r.n else f'{r.first_error} | | | | |'} | {r.n}/{r.total} |"
            )
        lines.append("")
    return "\n".join(lines)


def _cells(r: Result) -> str:
    fitted = "no fit" if r.no_fit else f"{r.plcc_fitted:.3f}"
    times = "" if np.isnan(r.times_ours) else f"{r.times_ours:.2f}"
    return f"{_figure(r.srcc)} | {_figure(r.plcc)} | {fitted} | {r.ms:.0f} | {r.cpu_ms:.0f} | {times}"


def _figure(figure: Figure) -> str:
    if np.isnan(figure.value):
        return "undefined"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
