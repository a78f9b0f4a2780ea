"""`mllm-iqa eval baselines`: what there is (`list`), measuring a table (`run`, `table`), `figures`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from mllm_iqa.checkpoints import sha256_of
from mllm_iqa.errors import ConfigError
from mllm_iqa.terminal import console, show_table

from . import probing
from .catalogue import BASELINES, baseline
from .figures import markdown, results
from .items import Item, photo_items, sample, synthetic_items, table_items
from .running import Judge, metric_judge, model_judge
from .running import run as measure
from .timing import time_judges

app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Other metrics, beside ours.")


class Listing(StrEnum):
    """How a list is printed."""

    table = "table"
    json = "json"


Device = Annotated[str, typer.Option(help="cpu, cuda, ...")]
Download = Annotated[bool, typer.Option("--download", help="Let the libraries fetch weights that are not here.")]
AllowFailures = Annotated[bool, typer.Option("--allow-failures", help="Exit with 0 even when pictures failed.")]
Limit = Annotated[int | None, typer.Option(min=3, help="Measure only this many pictures of a set, drawn with seed 0.")]


@app.command("list")
def list_(
    metrics: Annotated[list[str] | None, typer.Argument(help="Only these; default: all.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Try them anew instead of trusting what was found.")] = False,
    format: Annotated[Listing, typer.Option(help="How to print.")] = Listing.table,
) -> None:
    """List the metrics, whether each runs here, and why not. Nothing is downloaded."""
    names = _names(metrics)
    found = _available(names, again=again)
    if format is Listing.json:
        rows = [{**asdict(baseline(n)), "runs": found[n].runs, "reason": found[n].reason} for n in names]
        print(json.dumps(rows, indent=2))
        return
    header = ["name", "metric", "kind", "better", "range", "library", "weights", "here"]
    cells = []
    for name in names:
        m, here = baseline(name), found[name]
        weights = m.weights.value + (f": {m.source}" if m.source else "")
        kind, better = "FR" if m.full_reference else "NR", "lower" if m.lower_better else "higher"
        status = "runs" if here.runs else here.reason
        cells.append([name, m.title, kind, better, m.range, m.library.value, weights, status])
    show_table(header, cells, on=console())


@app.command("run")
def run_(
    metrics: Annotated[list[str], typer.Argument(help="Names from `list`, or `available` for all that run here.")],
    table: Annotated[Path, typer.Option(help="CSV or Parquet with path, mos, [reference], [group].")],
    out: Annotated[Path, typer.Option(help="Folder for predictions.jsonl, figures.json and table.md.")],
    model: Annotated[list[str] | None, typer.Option(help="Also this model of ours; may be repeated.")] = None,
    device: Device = "cpu",
    download: Download = False,
    limit: Limit = None,
    allow_failures: AllowFailures = False,
) -> None:
    """Measure the pictures of a table; print SRCC and PLCC with intervals, and ms per picture."""
    sets = {table.name: sample(table_items(table), limit)}
    judges = _judges(metrics, model or [], device=device, download=download)
    _measure(judges, sets, out, sources={"table": sha256_of(table), "limit": str(limit)}, allow_failures=allow_failures)


@app.command("table")
def table_(
    synthetic: Annotated[Path, typer.Argument(help="Test set written by `mllm-iqa data heldout`.")],
    photos: Annotated[Path, typer.Argument(help="photos.parquet of a bank; its validation split is measured.")],
    out: Annotated[Path, typer.Argument(help="Folder for predictions.jsonl, figures.json and table.md.")],
    metrics: Annotated[str, typer.Option(help="Names from `list` with commas between, or `available`.")] = "available",
    model: Annotated[str, typer.Option(help="A name from `mllm-iqa models`, a folder, or a hub id.")] = "nano",
    device: Device = "cpu",
    download: Download = False,
    limit: Limit = None,
    allow_failures: AllowFailures = False,
) -> None:
    """Our model beside the baselines on held-out pictures: SRCC, PLCC and ms per picture, in one run."""
    sets = {
        "synthetic distortions (truth: minus the severity)": sample(synthetic_items(synthetic), limit),
        "BIQ2021 photographs (truth: MOS)": sample(photo_items(photos), limit),
    }
    judges = _judges(metrics.split(","), [model], device=device, download=download)
    sources = {"synthetic": sha256_of(synthetic), "photos": sha256_of(photos), "limit": str(limit)}
    _measure(judges, sets, out, sources=sources, allow_failures=allow_failures)


@app.command("figures")
def figures_(
    predictions: Annotated[Path, typer.Argument(help="predictions.jsonl of `run` or `table`.")],
    allow_failures: AllowFailures = False,
) -> None:
    """Compute figures.json and table.md again, from a predictions file alone, and print the table."""
    _report(predictions, allow_failures=allow_failures)


def _names(metrics: Sequence[str] | None) -> list[str]:
    return [baseline(name).name for name in metrics] if metrics else list(BASELINES)


def _available(names: Sequence[str], *, again: bool = False) -> dict[str, probing.Availability]:
    on = Console(stderr=True)
    with Progress(console=on, disable=not on.is_terminal) as progress:
        task = progress.add_task("trying metrics", total=len(names))
        return probing.availability(names, again=again, on_each=lambda _: progress.advance(task))


def _judges(metrics: Sequence[str], models: Sequence[str], *, device: str, download: bool) -> list[Judge]:
    """Ours first, then the metrics asked for.

    Raises:
        ConfigError: a metric that was named does not run here.
    """
    if "available" in metrics:
        names = [name for name, here in _available(list(BASELINES)).items() if here.runs]
    else:
        names = list(dict.fromkeys(_names(metrics)))
        if not download:
            for name, here in _available(names).items():
                if not here.runs:
                    raise ConfigError(
                        f"{name} does not run here: {here.reason}; --download lets its library fetch what it needs, "
                        f"`mllm-iqa eval baselines list {name} --again` looks anew"
                    )
    ours = [model_judge(model, device=device) for model in models]
    return ours + [metric_judge(name, device=device, download=download) for name in names]


def _measure(
    judges: Sequence[Judge],
    sets: Mapping[str, Sequence[Item]],
    out: Path,
    *,
    sources: dict[str, str],
    allow_failures: bool,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    predictions = out / "predictions.jsonl"
    made_with = {**sources, "judges": " ".join(j.name for j in judges), "versions": json.dumps(probing.versions())}
    on = Console(stderr=True)
    with Progress(console=on, disable=not on.is_terminal) as progress:
        task = progress.add_task("measuring", total=sum(len(items) for items in sets.values()))
        for done in measure(judges, sets, predictions, made_with=made_with):
            progress.update(task, completed=done)
    _report(predictions, allow_failures=allow_failures)


def _report(predictions: Path, *, allow_failures: bool) -> None:
    """Write figures.json and table.md beside a predictions file, and print the table and what failed."""
    found, out = results(predictions), predictions.parent
    (out / "figures.json").write_text(json.dumps([r.to_dict() for r in found], indent=2) + "\n", encoding="utf-8")
    (out / "table.md").write_text(markdown(found), encoding="utf-8")
    print(markdown(found))
    for name, (done, total) in {r.set: (r.measured, r.total) for r in found if r.measured < r.total}.items():
        print(f"{name}: the run is not finished, {done} of {total} pictures so far", file=sys.stderr)
    failed = [r for r in found if r.n < r.measured]
    for r in failed:
        missing = f"no value for {r.measured - r.n} of {r.measured} pictures of {r.set}"
        print(f"{r.title}: {missing}: {r.first_error}", file=sys.stderr)
    unfinished = any(r.measured < r.total for r in found)
    if (failed or unfinished) and not allow_failures:
        raise typer.Exit(1)


@app.command("speed")
def speed(
    model: Annotated[str, typer.Option(help="Ours: a name from `mllm-iqa models`, a folder, or a hub id.")] = "nano",
    pictures: Annotated[int, typer.Option(min=3, help="Pictures of 512x384.")] = 12,
) -> None:
    """Time one picture: ours, NIQE, BRISQUE, and models with random weights, which need no download, in one run."""
    rows = [
        [row.title, f"{row.median:.3f}", f"{row.low:.3f} to {row.high:.3f}", f"{row.times_ours:.1f}"]
        for row in time_judges(model, pictures=pictures)
    ]
    show_table(["model", "s a picture", "quartiles", "times ours"], rows, on=console())
