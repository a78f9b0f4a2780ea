"""`mllm-iqa eval tasks`, `predict`, `score`, `report`, `run` and `compare`; and what `mllm-iqa eval` alone does."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from mllm_iqa.assistant import Assistant
from mllm_iqa.errors import ConfigError, DataError
from mllm_iqa.terminal import console, show_table

from .items import Item
from .parts import load_tasks
from .predict import predict as predict_items
from .predictions import FILE_NAME, read_predictions
from .results import number, plain
from .runs import note_run, runs_of
from .score import score_file
from .task import Models, Task, read_spec, task_names

DEFAULT_TASK = "synthetic"
DEFAULT_OUT = Path("mllm-iqa-eval")
_SET_NAME = "synthetic.parquet"

TaskName = Annotated[str, typer.Argument(metavar="TASK", help="A name from `mllm-iqa eval tasks`.")]
Source = Annotated[
    Path | None,
    typer.Argument(help="The test set; the synthetic one is made where it is left out.", show_default=False),
]
Out = Annotated[Path, typer.Option("--out", help="Folder for predictions, results and report.")]
Model = Annotated[str, typer.Option(help="A name from `mllm-iqa models`, a folder, or a hub id.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, ...")]
Judge = Annotated[str | None, typer.Option(help="Model that marks descriptions; named in the results.")]
Photos = Annotated[
    list[Path] | None,
    typer.Option("--photos", help="Your clean photographs for the synthetic set: files or folders."),
]
Records = Annotated[int, typer.Option(min=40, help="Records to draw for the synthetic set.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first so many items of each task.")]
Batch = Annotated[int, typer.Option(min=1, help="Items per pass.")]
Thumbnails = Annotated[bool, typer.Option("--thumbnails/--no-thumbnails", help="Keep small pictures for the report.")]
AllowFailures = Annotated[bool, typer.Option("--allow-failures", help="Exit with 0 even when items failed.")]


def tasks() -> None:
    """List the tasks."""
    rows = []
    for name in task_names():
        spec = read_spec(name)
        what = ", ".join(spec.parts) if spec.parts else f"{spec.reads} -> {spec.asks} -> {', '.join(spec.measures)}"
        rows.append([name, str(spec.version), spec.title, what])
    show_table(["task", "version", "title", "made of"], rows, on=console())


def predict(
    task: TaskName,
    source: Source = None,
    out: Out = DEFAULT_OUT,
    model: Model = "nano",
    device: Device = "auto",
    judge: Judge = None,
    photos: Photos = None,
    records: Records = 480,
    limit: Limit = None,
    batch_size: Batch = 8,
    thumbnails: Thumbnails = True,
    allow_failures: AllowFailures = False,
) -> None:
    """Ask a model every question of a task; an interrupted run goes on."""
    chosen = load_tasks(task)
    test_set = _test_set(task, source, out, photos, records)
    failed = _predict_all(
        chosen, test_set, out, model, device, judge, limit=limit, batch_size=batch_size, thumbnails=thumbnails
    )
    raise typer.Exit(1 if failed and not allow_failures else 0)


def score(
    predictions: Annotated[list[Path], typer.Argument(help="Predictions files, or folders that hold them.")],
) -> None:
    """Compute every number from predictions files alone, and write results.json beside each."""
    for path in _predictions_in(predictions):
        _print_results(score_file(path))


def report(
    predictions: Annotated[list[Path], typer.Argument(help="Predictions files, or folders that hold them.")],
    out: Out = DEFAULT_OUT,
    title: Annotated[str, typer.Option(help="Of the page.")] = "Evaluation",
) -> None:
    """Score predictions files and write report.html, report.json and report.md."""
    for path in _report(_predictions_in(predictions), out, title, ""):
        print(path)


def run(
    task: TaskName,
    source: Source = None,
    out: Out = DEFAULT_OUT,
    model: Model = "nano",
    device: Device = "auto",
    judge: Judge = None,
    photos: Photos = None,
    records: Records = 480,
    limit: Limit = None,
    batch_size: Batch = 8,
    thumbnails: Thumbnails = True,
    allow_failures: AllowFailures = False,
) -> None:
    """Predict, score and report in one go."""
    chosen = load_tasks(task)
    test_set = _test_set(task, source, out, photos, records)
    failed = _predict_all(
        chosen, test_set, out, model, device, judge, limit=limit, batch_size=batch_size, thumbnails=thumbnails
    )
    files = [out / one.spec.task / FILE_NAME for one in chosen]
    name = read_predictions(files[0]).header["model"]
    note = "" if source is not None else _note(photos)
    written = _report(files, out, f"{read_spec(task).title}: {name}", note)
    for file in files:
        _print_results(score_file(file), headline=True)
    for path in written:
        print(path)
    raise typer.Exit(1 if failed and not allow_failures else 0)


def compare(
    first: Annotated[Path, typer.Argument(help="Folder or predictions file of one model.")],
    second: Annotated[Path, typer.Argument(help="The same of the other model, on the same items.")],
    out: Out = DEFAULT_OUT,
) -> None:
    """Put two models side by side on the same items: paired differences, intervals and p-values."""
    from .report.versus import Pair, write_versus

    theirs = {
        predictions.header["task"]: predictions for predictions in map(read_predictions, _predictions_in([second]))
    }
    pairs = []
    for predictions in map(read_predictions, _predictions_in([first])):
        other = theirs.get(predictions.header["task"])
        if other is not None:
            pairs.append(Pair(predictions.header["spec"]["title"], predictions, other))
    if not pairs:
        raise DataError(f"{first} and {second} hold no task in common")
    for path in write_versus(pairs, out):
        print(path)


def _predict_all(
    chosen: Sequence[Task],
    test_set: Path,
    out: Path,
    model: str,
    device: str,
    judge: str | None,
    *,
    limit: int | None,
    batch_size: int,
    thumbnails: bool,
) -> int:
    """Predict every task into its folder; returns how many items failed."""
    items: list[list[Item]] = [task.items(test_set)[:limit] for task in chosen]
    models = Models(
        Assistant.load(model, device=device), None if judge is None else Assistant.load(judge, device=device)
    )
    failed = 0
    stderr = Console(stderr=True)
    with Progress(console=stderr, disable=not stderr.is_terminal) as bar:
        for task, questions in zip(chosen, items, strict=True):
            shown = bar.add_task(task.spec.title, total=len(questions))
            folder = out / task.spec.task
            start, first, done = time.perf_counter(), None, 0
            steps = predict_items(
                task, models, questions, folder / FILE_NAME, batch_size=batch_size, thumbnails=thumbnails
            )
            failures = 0
            for step in steps:
                first = step.done if first is None else first
                done, failures = step.done, step.failed
                bar.update(shown, completed=done)
            failed += failures
            if done > (first or 0):
                note_run(folder, seconds=time.perf_counter() - start, answered=done - (first or 0))
            if failures:
                print(f"{task.spec.name}: {failures} of {len(questions)} items failed", file=sys.stderr)
    return failed


def _test_set(task: str, source: Path | None, out: Path, photos: Sequence[Path] | None, records: int) -> Path:
    """The test set named, or the synthetic one, made by `mllm-iqa data benchmark` where it is not there yet."""
    if source is not None:
        if photos:
            raise ConfigError("--photos makes a synthetic test set; leave it out where a test set is named")
        return source
    if not task.startswith(DEFAULT_TASK):
        raise ConfigError(f"{task} needs a test set: mllm-iqa eval run {task} TEST_SET")
    path = out / _SET_NAME
    if not path.exists():
        out.mkdir(parents=True, exist_ok=True)
        named = [word for photo in photos or () for word in ("--photos", str(photo))]
        arguments = ["data", "benchmark", str(path), "--records", str(records), *named]
        print("making the synthetic test set", file=sys.stderr)
        # A process of its own: the folders of this project meet through files.
        made = subprocess.run([sys.executable, "-m", "mllm_iqa", *arguments], capture_output=True, text=True)
        if made.returncode:
            raise DataError(f"the synthetic test set could not be made: {made.stderr.strip() or made.stdout.strip()}")
    elif photos:
        raise ConfigError(f"{path} is there already; name another --out for other --photos")
    return path


def _note(photos: Sequence[Path] | None) -> str:
    if photos:
        return "Made from photographs of the user, distorted by this project."
    return (
        "Made from the two undistorted example pictures of the package: this shows that everything works, not how good "
        "a model is. Two photographs are too few for intervals. Name your own with --photos."
    )


def _predictions_in(paths: Sequence[Path]) -> list[Path]:
    """Predictions files named, and those in the folders named, to any depth, sorted."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob(FILE_NAME)) if path.is_dir() else [path]
        if not inside:
            raise DataError(f"{path}: holds no {FILE_NAME}; `mllm-iqa eval predict` writes it")
        found += inside
    return found


def _report(files: Sequence[Path], out: Path, title: str, note: str) -> list[Path]:
    from .report.build import Scored, write_report

    scored = [Scored(read_predictions(file), plain(score_file(file)), runs_of(file.parent)) for file in files]
    return write_report(scored, out, title=title, note=note)


def _print_results(results: dict[str, Any], *, headline: bool = False) -> None:
    """Figures on stdout: all of them, or the first of each section."""
    print(f"{results['title']} ({results['task']}, {results['model']}, {results['n_scored']}/{results['n_total']})")
    for section in results["sections"]:
        for named in section["figures"][: 1 if headline else None]:
            figure = named["figure"]
            between = "" if figure["low"] is None else f" [{figure['low']:.3f}, {figure['high']:.3f}]"
            note = f" ({named['note']})" if named["note"] and not headline else ""
            print(f"  {named['name']}: {number(figure['value'])}{between} n={figure['n']}/{figure['total']}{note}")
