"""How far the map and the content correction can be trusted: every figure of docs/SEVERITY.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import rankdata

from .content_severity import Correction, corrected_damage
from .distortions import DISTORTIONS, DQ495K
from .fr_metrics import METRICS
from .severity import human_sources, pseudo_mos
from .severity_map import Cells, Term, damage, fit_terms, leave_one_kind_out, mos_of_damage
from .severity_measure import SAME_PARAMETERS, Measured

_RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well predictions reproduce human means.

    Attributes:
        srcc: rank correlation over cells.
        srcc_low: lower end of its 95 % interval, over kinds.
        srcc_high: upper end.
        rmse: in MOS, over cells.
        rmse_low: lower end of its 95 % interval, over kinds.
        rmse_high: upper end.
        cells: how many (distortion, severity) cells.
        kinds: how many kinds of distortion they are of.
    """

    srcc: float
    srcc_low: float
    srcc_high: float
    rmse: float
    rmse_low: float
    rmse_high: float
    cells: int
    kinds: int


def agreement(predicted: np.ndarray, human: np.ndarray, kinds: np.ndarray) -> Agreement:
    """Agreement of predicted with human means; all of shape (n,). The intervals resample whole kinds.

    What is constant orders nothing: its SRCC is 0.
    """
    groups = [np.flatnonzero(kinds == kind) for kind in dict.fromkeys(kinds)]

    def figures(i: np.ndarray) -> tuple[float, float]:
        rmse = float(np.sqrt(np.mean((predicted[i] - human[i]) ** 2)))
        if np.ptp(predicted[i]) == 0 or np.ptp(human[i]) == 0:
            return 0.0, rmse
        return float(np.corrcoef(rankdata(predicted[i]), rankdata(human[i]))[0, 1]), rmse

    rng = np.random.default_rng(0)
    draws = rng.integers(len(groups), size=(_RESAMPLES, len(groups)))
    resampled = [figures(np.concatenate([groups[g] for g in draw])) for draw in draws]
    low, high = np.percentile(resampled, [2.5, 97.5], axis=0)
    srcc, rmse = figures(np.arange(len(human)))
    return Agreement(srcc, float(low[0]), float(high[0]), rmse, float(low[1]), float(high[1]), len(human), len(groups))


def agreements(cells: Cells, keep: np.ndarray, metrics: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """For each metric alone and for the map's (`map`): agreement of the fit, and of maps that left the kind out."""
    result = {}
    for name, used in {**{m: (m,) for m in METRICS}, "map": tuple(metrics)}.items():
        fitted = cells.predict(fit_terms(cells, used, keep))
        unseen = leave_one_kind_out(cells, used, keep)
        result[name] = {
            "fit": asdict(agreement(fitted[keep], cells.human[keep], cells.kinds[keep])),
            "leave_one_kind_out": asdict(agreement(unseen[keep], cells.human[keep], cells.kinds[keep])),
        }
    return result


def by_distortion(cells: Cells, terms: Sequence[Term], unseen: np.ndarray) -> dict[str, dict[str, object]]:
    """For each distortion the table's MOS at severities 1..5, the map's mean, and that of a map that left it out."""
    rows = zip(cells.human.reshape(-1, 5), cells.predict(terms).reshape(-1, 5), unseen.reshape(-1, 5), strict=True)
    return {
        name: {
            "table": table.tolist(),
            "map": np.round(mapped, 2).tolist(),
            "left_out": None if np.isnan(left).any() else np.round(left, 2).tolist(),
            "source": human_sources().get(name, "analogy"),
        }
        for name, (table, mapped, left) in zip(DQ495K, rows, strict=True)
    }


def same_parameters(
    measured: Sequence[Measured],
    cells: Cells,
    keep: np.ndarray,
    metrics: Sequence[str],
    kadid: dict[str, list[tuple[float, float]]],
) -> dict[str, object]:
    """At the parameters KADID-10k has human means of: those means, the table's, and those of a map without the kind."""
    rows = []
    for same in SAME_PARAMETERS:
        kind = DISTORTIONS[same.distortion].kind
        terms = fit_terms(cells, metrics, keep & (cells.kinds != kind))
        mine = [m for m in measured if m.distortions == ((same.distortion, same.severity),)]
        z = damage({metric: np.array([m.distances[metric] for m in mine]) for metric in metrics}, terms)
        rows.append(
            {
                "kadid": f"{same.kadid_type} {same.level}",
                "severity": same.severity,
                "human": kadid[same.kadid_type][same.level - 1][0],
                "table": round(pseudo_mos([(same.distortion, same.severity)]), 2),
                "left_out": round(float(np.mean(mos_of_damage(z))), 2),
            }
        )
    human, kinds = np.array([r["human"] for r in rows]), np.array([s.kadid_type for s in SAME_PARAMETERS])
    return {
        "table": asdict(agreement(np.array([r["table"] for r in rows]), human, kinds)),
        "left_out": asdict(agreement(np.array([r["left_out"] for r in rows]), human, kinds)),
        "rows": rows,
    }


def spread_of(cells: Cells, mos: np.ndarray) -> np.ndarray:
    """Standard deviation (n - 1) of the MOS of the pictures of every cell; each holds two or more."""
    count = np.bincount(cells.cell)
    variance = cells.mean((mos - cells.mean(mos)[cells.cell]) ** 2) * count / (count - 1)
    return np.asarray(np.sqrt(variance))


def corrected_mos(cells: Cells, steps: Sequence[tuple[str, int]], z: np.ndarray, correction: Correction) -> np.ndarray:
    """Corrected MOS of every picture of the cells, given the damage measured in it."""
    return np.array(
        [
            float(mos_of_damage(corrected_damage([(steps[c][0], float(steps[c][1]))], float(measured), correction)))
            for c, measured in zip(cells.cell, z, strict=True)
        ]
    )


def falls(sources: Sequence[str], cells: Cells, mos: np.ndarray) -> dict[str, int]:
    """Of pairs of neighboring severities of a picture's distortion, how many, and at how many MOS does not fall."""
    table = np.full((len(cells.human), len(dict.fromkeys(sources))), np.nan)
    order = {source: i for i, source in enumerate(dict.fromkeys(sources))}
    table[cells.cell, [order[s] for s in sources]] = mos
    change = np.diff(table.reshape(-1, 5, len(order)), axis=1)
    return {"pairs": int(np.isfinite(change).sum()), "out_of_order": int((change >= 0).sum())}
