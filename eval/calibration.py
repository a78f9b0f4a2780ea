"""`mllm-iqa eval calibration`: whether calibrations keep their promise, from predictions of photographs with scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from mllm_iqa.calibration.calibration import Calibration
from mllm_iqa.calibration.conformal import split_quantile
from mllm_iqa.calibration.fitting import Judged, Settings, fitted, straight_reading
from mllm_iqa.errors import DataError
from mllm_iqa.terminal import console, show_table

SPLITS = 200
LABELS = (20, 50, 200)


@dataclass(frozen=True, slots=True)
class Photos:
    """Photographs with what a model and people say of them; each array of shape (N,), MOS on 1..5."""

    model: str
    mos: np.ndarray
    std: np.ndarray
    human: np.ndarray
    subset: np.ndarray

    def part(self, chosen: np.ndarray) -> Photos:
        """Some of them."""
        return Photos(self.model, self.mos[chosen], self.std[chosen], self.human[chosen], self.subset[chosen])


def read_photos(predictions: Path) -> Photos:
    """The scored photographs of a predictions file of `mllm-iqa eval heldout`."""
    if not predictions.is_file():
        raise DataError(f"{predictions}: not found; `mllm-iqa eval heldout` writes it")
    rows = [json.loads(line) for line in predictions.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["set"] == "photo" and "mos" in row["result"]]
    if len(rows) < 2 * LABELS[0]:
        raise DataError(
            f"{predictions}: {len(rows)} scored photographs are too few, at least {2 * LABELS[0]} are needed"
        )
    of = {key: np.array([row["result"][key] for row in rows]) for key in ("mos", "std")}
    human = np.array([row["mos"] for row in rows])
    return Photos(rows[0]["result"]["model"], of["mos"], of["std"], human, np.array([row["subset"] for row in rows]))


def shipped_rule(photos: Photos, *, coverage: float, splits: int, seed: int) -> list[float]:
    """Coverage, in each split, of the card's kind of interval: a multiple of std from one half, held to the other."""
    rng = np.random.default_rng(seed)
    ratio = np.abs(photos.mos - photos.human) / photos.std
    covered = []
    for _ in range(splits):
        order = rng.permutation(len(ratio))
        half = len(ratio) // 2
        multiplier = split_quantile(ratio[order[:half]], coverage)
        covered.append(float((ratio[order[half:]] <= multiplier).mean()))
    return covered


def trials(
    photos: Photos, *, labels: int, limits: tuple[float, float], stated: bool, coverage: float, splits: int, seed: int
) -> dict[str, list[float]]:
    """Calibrate on some random photographs and measure on all the others, again and again.

    Args:
        photos: with human MOS on 1..5.
        labels: to calibrate on.
        limits: what 1 and 5 are on the user's scale; the higher number first where lower is better.
        stated: whether the user states the ends; else the lowest and highest label are taken for them when reading the
            MOS without a calibration.
        coverage: of the interval.
        splits: how often.
        seed: of the splits.

    Returns:
        RMSE before and after, on the user's scale, and coverage, one for each split.
    """
    rng = np.random.default_rng(seed)
    worst, best = limits
    scores = worst + (best - worst) * (photos.human - 1) / 4
    rising = best > worst
    ends = (min(limits), max(limits))
    out: dict[str, list[float]] = {"before": [], "after": [], "coverage": []}
    for split in range(splits):
        order = rng.permutation(len(scores))
        own, others = order[:labels], order[labels:]
        judged = Judged(photos.model, "", "rate.v1", photos.mos[own], photos.std[own])
        settings = Settings("trial", limits=ends if stated else None, coverage=coverage, seed=split)
        made = fitted(judged, scores[own], settings, rising=rising)
        reading = ends if stated else (float(scores[own].min()), float(scores[own].max()))
        before = straight_reading(photos.mos[others], reading, rising=rising)
        after = made.values_of(photos.mos[others])
        out["before"].append(_rmse(before, scores[others]))
        out["after"].append(_rmse(after, scores[others]))
        out["coverage"].append(_covered(made, photos.part(others), scores[others]))
    return out


def _covered(made: Calibration, photos: Photos, scores: np.ndarray) -> float:
    low, high = made.intervals(photos.mos, photos.std)
    return float(((low <= scores) & (scores <= high)).mean())


def _rmse(values: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(np.mean((values - truth) ** 2)))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean over the splits, and the range that holds 95 % of them."""
    low, high = np.percentile(values, [2.5, 97.5])
    return {"mean": float(np.mean(values)), "low": float(low), "high": float(high)}


def measure(photos: Photos, *, coverage: float = 0.9, splits: int = SPLITS, seed: int = 0) -> list[dict[str, Any]]:
    """Every row of the report: the shipped rule, then calibrations by scale and number of labels."""
    shipped = spread(shipped_rule(photos, coverage=coverage, splits=splits, seed=seed))
    rows: list[dict[str, Any]] = [{"what": "shipped interval, half for half", "labels": len(photos.mos) // 2}]
    rows[0]["coverage"] = shipped
    everything = ("all", photos)
    kinds = [(s, photos.part(photos.subset == s)) for s in sorted(set(photos.subset.tolist()))]
    cases = [
        (f"{name}, {scale}", part, limits, stated)
        for name, part in (everything, *kinds)
        for scale, limits, stated in (
            ("0 to 1, ends stated", (0.0, 1.0), True),
            ("1 to 5, ends stated", (1.0, 5.0), True),
            ("0 to 1, ends not stated", (0.0, 1.0), False),
            ("DMOS 0 to 100, ends not stated", (100.0, 0.0), False),
        )
        if name == "all" or scale in ("0 to 1, ends stated", "0 to 1, ends not stated")
    ]
    for what, part, limits, stated in cases:
        for labels in LABELS:
            if labels + LABELS[0] > len(part.mos) or (labels != 50 and (not stated or limits != (0.0, 1.0))):
                continue
            found = trials(
                part, labels=labels, limits=limits, stated=stated, coverage=coverage, splits=splits, seed=seed
            )
            change = [after - before for before, after in zip(found["before"], found["after"], strict=True)]
            figures = {key: spread(values) for key, values in (*found.items(), ("change", change))}
            rows.append({"what": what, "labels": labels, "measured on": len(part.mos) - labels, **figures})
    return rows


def calibration(
    predictions: Annotated[Path, typer.Argument(help="predictions.jsonl of `mllm-iqa eval heldout`.")],
    out: Annotated[Path | None, typer.Option(help="Write the figures here as JSON.")] = None,
    coverage: Annotated[float, typer.Option(help="Of the intervals.")] = 0.9,
    splits: Annotated[int, typer.Option(min=1, help="Random splits.")] = SPLITS,
    seed: Annotated[int, typer.Option(min=0, help="Of the splits.")] = 0,
) -> None:
    """Calibrate on some photographs, measure on the others, over many random splits; from predictions alone."""
    rows = measure(read_photos(predictions), coverage=coverage, splits=splits, seed=seed)
    if out is not None:
        out.write_text(json.dumps({"splits": splits, "coverage": coverage, "rows": rows}, indent=1) + "\n", "utf-8")
    keys = ("coverage", "before", "after", "change")
    table = [[row["what"], str(row["labels"]), *(_shown(row.get(key)) for key in keys)] for row in rows]
    header = ["photographs, scale", "labels", "coverage", "RMSE before", "after", "change"]
    show_table(header, table, on=console())


def _shown(figure: dict[str, float] | None) -> str:
    return "-" if figure is None else f"{figure['mean']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
