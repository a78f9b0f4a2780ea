"""`mllm-iqa eval trust`: fit the thresholds of a model's trust, and report how often which pictures reach them."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from mllm_iqa.assistant import Assistant
from mllm_iqa.registry import resolve
from mllm_iqa.terminal import console, show_table
from mllm_iqa.trust import write_limits

from .fit import KEPT, abstention, error_correlation, fit, halves, rates, reached
from .plot import abstention_curve
from .predict import jobs_of, predict, read_rows


def trust(
    photos: Annotated[Path, typer.Argument(help="photos.parquet of a bank; its validation split is used.")],
    out: Annotated[Path, typer.Argument(help="Folder for predictions.jsonl, figures.json and abstention.svg.")],
    model: Annotated[str, typer.Option(help="A name from `mllm-iqa models`, a folder, or a hub id.")] = "nano",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    each: Annotated[int, typer.Option(min=1, help="Pictures of every doubtful kind.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of those pictures.")] = 1,
    into_model: Annotated[bool, typer.Option("--into-model", help="Write trust.json beside the weights.")] = False,
) -> None:
    """Fit on one half of the photographs, report on the other half and on doubtful pictures. Goes on when interrupted.

    Thresholds come from photographs alone; no doubtful picture has a part in them.
    """
    out.mkdir(parents=True, exist_ok=True)
    predictions = out / "predictions.jsonl"
    assistant = Assistant.load(model, device=device)
    jobs = jobs_of(photos, each=each, seed=seed)
    err = Console(stderr=True)
    with Progress(console=err, disable=not err.is_terminal) as progress:
        task = progress.add_task("judging", total=len(jobs))
        for done in predict(assistant, jobs, predictions):
            progress.update(task, completed=done)
    parts = halves(read_rows(predictions))
    limits = fit(parts.fitted)
    usual, thorough = (rates(parts, limits, thorough=asked) for asked in (False, True))
    curve = abstention(parts.measured, limits)
    results: dict[str, Any] = {
        "command": "mllm-iqa eval trust",
        "date": date.today().isoformat(),
        "flagged": {kind: figure.to_dict() for kind, figure in usual.items()},
        "flagged, asked again": {kind: figure.to_dict() for kind, figure in thorough.items()},
        "RMSE by share kept": {"kept": list(KEPT), **{name: _rounded(values) for name, values in curve.items()}},
        "SRCC with the error": {k: f.to_dict() for k, f in error_correlation(parts.measured, limits).items()},
    }
    limits = limits.model_copy(update={"results": results})
    (out / "figures.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    abstention_curve(curve, KEPT, out / "abstention.svg", title=f"{limits.model}, {len(parts.measured)} photographs")
    if into_model:
        write_limits(Path(resolve(model)), limits)
    by_signal = {
        kind: reached(rows, limits, thorough=True)
        for kind in usual
        if (rows := parts.measured if kind == "photo" else [r for r in parts.doubtful if r["set"] == kind])
    }
    header = ["pictures", "flagged", "95% interval", "n", *limits.thresholds, "asked again"]
    table = [
        [
            kind,
            f"{figure.value:.3f}",
            f"{figure.low:.3f} to {figure.high:.3f}",
            f"{figure.n}/{figure.total}",
            *(f"{by_signal[kind][name].mean():.3f}" for name in limits.thresholds),
            f"{thorough[kind].value:.3f}",
        ]
        for kind, figure in usual.items()
    ]
    show_table(header, table, on=console())
    show_table(
        ["kept", *(f"{k:.0%}" for k in KEPT)], [[n, *(f"{v:.3f}" for v in c)] for n, c in curve.items()], on=console()
    )
    for name, threshold in limits.thresholds.items():
        print(f"{name}: usual below {threshold:.4g}")


def _rounded(values: list[float]) -> list[float]:
    return [round(value, 4) for value in values]
