"""Fit what `content_severity` uses and measure how well: the command that writes `severity_fit.json`.

    python -m mllm_iqa.data_build.severity_fit DATA KADID_TABLE WORK data_build/severity_fit.json

DATA holds biq2021/ and bsds500/; KADID_TABLE is kadid10k_mos_by_type_and_level.csv; measurements are kept in WORK, so
that a killed run goes on. The result is a function of the data and the options.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from scipy.optimize import brentq

from mllm_iqa.errors import DataError
from mllm_iqa.output_file import replaced_at_end

from .content_severity import Correction, typical_damage
from .distortions import DISTORTIONS, DQ495K
from .fr_metrics import METRICS
from .severity import human_sources, severity_table
from .severity_figures import agreements, by_distortion, corrected_mos, falls, same_parameters, spread_of
from .severity_map import Cells, damage, fit_terms, leave_one_kind_out, mos_of_damage
from .severity_measure import Measured, choose_sources, measure, read_measured
from .sources import read_biq2021, read_bsds500

NOT_FITTED = frozenset({"noise.color_noise"})
"""Human rows that the map is not fitted to: KADID has 2.4 to 2.7 at the parameters that this row gives 3.3."""

ASSUMED_CORRELATION = 0.5
"""Of the metrics' and people's deviations from the mean of a (kind, level), over pictures. No human-scored pairs are at
hand to measure it; the correction lowers the error wherever the true one is more than half of this."""

_WORTH_A_METRIC = 0.01  # lower leave-one-kind-out RMSE, in MOS
_LEAST_DAMAGE = 1e-6  # of a picture that a distortion leaves as it was, such as a grey one desaturated


def published_cells(measured: Sequence[Measured]) -> tuple[Cells, list[tuple[str, int]], list[str]]:
    """Pictures with one distortion at a published severity.

    Returns:
        The cells, the (distortion, severity) of each, and the source of each picture.
    """
    steps = [(name, severity) for name in DQ495K for severity in range(1, 6)]
    number: dict[tuple[tuple[str, float], ...], int] = {
        ((name, float(severity)),): i for i, (name, severity) in enumerate(steps)
    }
    mine = [m for m in measured if m.distortions in number]
    cells = Cells(
        {metric: np.array([m.distances[metric] for m in mine]) for metric in METRICS},
        np.array([number[m.distortions] for m in mine]),
        np.array([severity_table()[name][severity] for name, severity in steps]),
        np.array([DISTORTIONS[name].kind for name, _ in steps]),
    )
    return cells, steps, [m.source for m in mine]


def choose_metrics(cells: Cells, keep: np.ndarray) -> tuple[str, ...]:
    """Metrics added one by one, the most helpful first, while each lowers the leave-one-kind-out RMSE by 0.01 MOS."""
    chosen: tuple[str, ...] = ()
    best = np.inf
    while len(chosen) < len(METRICS):
        rmse = {
            m: float(np.sqrt(np.nanmean((leave_one_kind_out(cells, (*chosen, m), keep) - cells.human) ** 2)))
            for m in METRICS
            if m not in chosen
        }
        metric = min(rmse, key=lambda m: rmse[m])
        if rmse[metric] > best - _WORTH_A_METRIC:
            break
        chosen, best = (*chosen, metric), rmse[metric]
    return chosen


def read_kadid(path: Path) -> dict[str, list[tuple[float, float]]]:
    """For each type of KADID-10k the (human mean, its standard deviation over pictures) of levels 1..5.

    Raises:
        DataError: the file is not that table.
    """
    table: dict[str, list[tuple[float, float]]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as f:
            for row in csv.DictReader(f):
                table.setdefault(row["type"], []).append((float(row["mos_mean"]), float(row["mos_std_over_images"])))
    except (OSError, KeyError, ValueError) as error:
        raise DataError(
            f"{path}: not KADID-10k's means ({error!r}); expected columns type, level, mos_mean, mos_std_over_images"
        ) from error
    return table


def content_spread(source: str, mos: float, kadid: dict[str, list[tuple[float, float]]]) -> float:
    """Standard deviation over pictures that people show at a mean of `mos`, for the KADID type that `source` names.

    Interpolated between the type's levels, less what raters alone cause: the spread of KADID's least spread cell, a
    distortion that cannot be seen. NaN for a source that names no type of KADID.
    """
    noise = min(std for levels in kadid.values() for _, std in levels)
    types = [t for t in kadid if source.startswith(f"KADID {t}")]
    if not types:
        return float("nan")
    means, stds = zip(*sorted(kadid[max(types, key=len)]), strict=True)
    return float(np.sqrt(max(0.0, float(np.interp(mos, means, stds)) ** 2 - noise**2)))


def _pair_factor(measured: Sequence[Measured], correction: Correction) -> float:
    """Median over the pairs of: measured damage, over the sum of the typical ones."""
    ratios = [
        float(damage(m.distances, correction.terms)) / sum(typical_damage(n, s, correction) for n, s in m.distortions)
        for m in measured
        if len(m.distortions) == 2
    ]
    return float(np.median(ratios))


def fit(measured: Sequence[Measured], kadid: dict[str, list[tuple[float, float]]]) -> dict[str, object]:
    """The map, typical damages, slope and pair factor, and every figure about them, as `severity_fit.json` holds them.

    Args:
        measured: of `severity_measure.measure`; two sources or more.
        kadid: of `read_kadid`.
    """
    cells, steps, sources = published_cells(measured)
    human = human_sources()
    keep = np.array([name in human and name not in NOT_FITTED for name, _ in steps])
    metrics = choose_metrics(cells, keep)
    terms = fit_terms(cells, metrics, keep)
    z = damage(cells.distances, terms)
    typical = [float(max(_LEAST_DAMAGE, np.median(z[cells.cell == c]))) for c in range(len(steps))]
    ladders = {name: tuple(typical[5 * i : 5 * i + 5]) for i, name in enumerate(DQ495K)}
    pair_factor = _pair_factor(measured, Correction(terms, ladders, 1.0, 1.0))

    people = np.array([content_spread(human.get(name, ""), severity_table()[name][s], kadid) for name, s in steps])
    compared = keep & np.isfinite(people)

    def mos_with(slope: float) -> np.ndarray:
        return corrected_mos(cells, steps, z, Correction(terms, ladders, slope, pair_factor))

    def excess(slope: float) -> float:
        ours = spread_of(cells, mos_with(slope))[compared]
        return float(np.mean(ours**2) - ASSUMED_CORRELATION**2 * np.mean(people[compared] ** 2))

    slope = 1.0 if excess(1.0) <= 0 else float(brentq(excess, 0.0, 1.0, xtol=1e-4))
    corrected = mos_with(slope)
    ours, metrics_alone = spread_of(cells, corrected), spread_of(cells, mos_of_damage(z))
    unseen = leave_one_kind_out(cells, metrics, keep)
    return {
        "map": [asdict(term) for term in terms],
        "typical_damage": ladders,
        "slope": slope,
        "pair_factor": pair_factor,
        "agreement": agreements(cells, keep, metrics),
        "by_distortion": by_distortion(cells, terms, unseen),
        "same_parameters": same_parameters(measured, cells, keep, metrics, kadid),
        "content": {
            "cells": int(compared.sum()),
            "spread_of_people": float(np.sqrt(np.mean(people[compared] ** 2))),
            "spread_of_metrics_alone": float(np.sqrt(np.mean(metrics_alone[compared] ** 2))),
            "spread_corrected": float(np.sqrt(np.mean(ours[compared] ** 2))),
            "largest_spread_corrected": float(ours[compared].max()),
            "mean_difference_from_table": float(np.mean((cells.mean(corrected) - cells.human)[keep])),
            "order_of_metrics_alone": falls(sources, cells, mos_of_damage(z)),
            "order_corrected": falls(sources, cells, corrected),
        },
    }


def main(
    data: Annotated[Path, typer.Argument(help="Folder with biq2021/ and bsds500/.")],
    kadid_table: Annotated[Path, typer.Argument(help="kadid10k_mos_by_type_and_level.csv.")],
    work: Annotated[Path, typer.Argument(help="Folder for measurements; those already there are used.")],
    out: Annotated[Path, typer.Argument(help="File to write, data_build/severity_fit.json.")],
    per_set: Annotated[int, typer.Option(min=2, help="Sources of each of the two sets.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Of noise, angles and pairs.")] = 0,
) -> None:
    """Measure, fit, and write the result. About two minutes per source and core."""
    kadid = read_kadid(kadid_table)
    photos = read_biq2021(data / "biq2021") + read_bsds500(data / "bsds500")
    sources = choose_sources(photos, per_set=per_set)
    console = Console(stderr=True)
    measuring = track(
        measure(sources, work, seed=seed), "measuring", len(sources), console=console, disable=not console.is_terminal
    )
    measured = read_measured(list(measuring))
    result = {
        "data": {
            "sources": [path.name for path in sources],
            "seed": seed,
            "pictures": len(measured),
            "human_table": kadid_table.name,
            "not_fitted": sorted(NOT_FITTED),
            "assumed_correlation": ASSUMED_CORRELATION,
        },
        "versions": {
            package: version(package) for package in ("piq", "torch", "numpy", "scipy", "opencv-python-headless")
        },
        **fit(measured, kadid),
    }
    with replaced_at_end(out) as file:
        file.write(json.dumps(result, indent=1).encode() + b"\n")
    print(out)


if __name__ == "__main__":
    typer.run(main)
