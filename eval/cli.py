"""`mllm-iqa eval`: tasks predicted, scored and reported; held-out pictures (`heldout`), speed and memory (`speed`)."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from mllm_iqa.assistant import Assistant
from mllm_iqa.registry import resolve

from . import commands
from .baselines.cli import app as baselines
from .calibration import calibration
from .heldout import compare_figures, figures, predict, printable, record
from .report.explanations import write_explanations
from .robustness_command import robustness
from .speed import measure
from .trust.command import trust
from .where_command import where

app = typer.Typer(add_completion=False, rich_markup_mode=None)
app.add_typer(baselines, name="baselines")
app.command()(robustness)
app.command()(where)
app.command()(trust)
app.command("calibration")(calibration)


@app.callback(invoke_without_command=True)
def _eval(context: typer.Context) -> None:
    """Predict, score and report. Without a command: the synthetic Q-Bench with nano, into mllm-iqa-eval/."""
    if context.invoked_subcommand is None:
        commands.run(commands.DEFAULT_TASK)


for _command in (commands.tasks, commands.predict, commands.score, commands.report, commands.run, commands.compare):
    app.command()(_command)


@app.command()
def heldout(
    synthetic: Annotated[Path, typer.Argument(help="Test set written by `mllm-iqa data heldout`.")],
    photos: Annotated[Path, typer.Argument(help="photos.parquet of a bank; its validation split is scored.")],
    out: Annotated[Path, typer.Argument(help="Folder for predictions.jsonl and figures.json.")],
    model: Annotated[str, typer.Option(help="A name from `mllm-iqa models`, a folder, or a hub id.")] = "nano",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    compare: Annotated[bool, typer.Option(help="Also measure the comparison prompt.")] = True,
    into_card: Annotated[
        bool, typer.Option("--into-card", help="Write the figures into the model's card.json.")
    ] = False,
) -> None:
    """Score held-out pictures, then compute every figure from the predictions. An interrupted run goes on."""
    assistant = Assistant.load(model, device=device)
    out.mkdir(parents=True, exist_ok=True)
    predictions = out / "predictions.jsonl"
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("scoring", total=None)
        for done in predict(assistant, synthetic, photos, predictions):
            progress.update(task, completed=done)
    values = figures(predictions)
    if compare:
        values |= compare_figures(assistant, synthetic)
    (out / "figures.json").write_text(json.dumps(printable(values), indent=2) + "\n", encoding="utf-8")
    if into_card:
        record(Path(resolve(model)), predictions, values, date.today().isoformat())
    for name, value in values.items():
        print(f"{name}: {value}")


@app.command()
def explanations(
    predictions: Annotated[Path, typer.Argument(help="predictions.jsonl of `mllm-iqa eval heldout`.")],
    synthetic: Annotated[Path, typer.Argument(help="The test set it was made from.")],
    out: Annotated[Path, typer.Argument(help="Folder for explanations.html, .json and .md.")],
    count: Annotated[int, typer.Option(min=1, help="Pictures, a third of them photographs.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice.")] = 0,
) -> None:
    """Show held-out pictures beside what was said of them, to be read."""
    for path in write_explanations(predictions, synthetic, out, count=count, seed=seed):
        print(path)


@app.command()
def speed(
    model: Annotated[str, typer.Option(help="A name from `mllm-iqa models`, a folder, or a hub id.")] = "nano",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    files: Annotated[int, typer.Option(min=8, help="Files of the memory test.")] = 1000,
) -> None:
    """Measure start-up, latency, throughput and memory on this machine."""
    for name, value in measure(model, device=device, files=files).items():
        print(f"{name}: {value:.3f}")


def main(argv: list[str]) -> int:
    """Run with the arguments after `mllm-iqa eval`; returns the exit status."""
    result = app(argv, prog_name="mllm-iqa eval", standalone_mode=False)
    return result if isinstance(result, int) else 0
