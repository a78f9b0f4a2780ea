"""`mllm-iqa score`: pictures in, one row for each out, in the same order, and an honest count at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .assistant import Assistant
from .errors import ConfigError, ImageError, IqaError
from .images import load_image
from .inputs import expand
from .output_file import check_output
from .tables import Result, Write, text_output, writing
from .terminal import console, error_line, printable, show_results, spinner
from .transformers_options import TransformersOptions
from .types import Failure


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """What the command line asks for.

    Attributes:
        format: "table", or a key of `tables.WRITERS`.
        output: where the results go; None = stdout.
        explain: whether to look for distortions and write an explanation.
        reference: what the only picture is compared with; None = judged on its own.
        dtype, options: how the model is loaded; see `Assistant.load`.
        allow_failures: whether failed pictures leave the exit status at 0.
    """

    format: str
    output: Path | None
    explain: bool
    model: str
    device: str
    dtype: str
    options: TransformersOptions
    batch_size: int
    language: str
    reference: Path | None
    allow_failures: bool


def score(arguments: Sequence[str], options: ScoreOptions) -> int:
    """Score the pictures that the arguments stand for.

    Returns:
        0 when every picture was scored or failures are allowed, else 1; also 1 when the model broke down on the way,
        with the rows before it written where the format allows that.

    Raises:
        IqaError: before anything was scored: no such picture, unusable output, unknown model, unreadable reference.
    """
    paths, empty = expand(arguments)
    for folder in empty:
        print(f"passed over: {printable(folder)}", file=sys.stderr)
    if options.reference is not None and len(paths) != 1:
        raise ConfigError(f"--reference goes with a single picture, and {len(paths)} were given")
    if options.output is not None:
        check_output(options.output, inputs=paths if options.reference is None else [*paths, options.reference])
    elif options.format == "parquet":
        raise ConfigError("Parquet is a binary format; name its file with --output")
    with spinner(f"loading {options.model}"):
        assistant = Assistant.load(options.model, device=options.device, dtype=options.dtype, options=options.options)
    failures: list[Failure] = []
    done = 0
    try:
        with _writing(options.format, options.output) as write, _progress(len(paths), options) as advance:
            for path, result in zip(paths, _results(assistant, paths, options), strict=True):
                row = named(result, printable(str(path)))
                write(row)
                done += 1
                if isinstance(row, Failure):
                    failures.append(row)
                advance()
    except IqaError as error:
        if done == 0:
            raise
        print(error_line(f"after {done} of {len(paths)} pictures: {error}"), file=sys.stderr)
        return 1
    print(f"{done - len(failures)}/{len(paths)} scored", file=sys.stderr)
    for failure in failures:
        print(f"failed: {failure.name}: {printable(failure.error)}", file=sys.stderr)
    return 1 if failures and not options.allow_failures else 0


def named(result: Result, name: str) -> Result:
    """The result under the name the user knows the picture by; an error loses that name where it starts with it."""
    if isinstance(result, Failure):
        return Failure(name, result.error.removeprefix(f"{name}: "))
    return replace(result, image=replace(result.image, name=name))


def _results(assistant: Assistant, paths: Sequence[Path], options: ScoreOptions) -> Iterator[Result]:
    if options.reference is None:
        return assistant.score_many(
            paths, explain=options.explain, language=options.language, batch_size=options.batch_size
        )
    return _against_reference(assistant, paths[0], options.reference, options)


def _against_reference(assistant: Assistant, path: Path, reference: Path, options: ScoreOptions) -> Iterator[Result]:
    original = load_image(reference)  # first, so that its errors are not taken for the picture's
    try:
        picture = load_image(path)
    except ImageError as error:
        yield Failure(str(path), str(error))
    else:
        yield assistant.score(picture, reference=original, explain=options.explain, language=options.language)


@contextmanager
def _writing(format: str, output: Path | None) -> Iterator[Write]:
    """Like `tables.writing`, with the table for people as one more format."""
    if format != "table":
        with writing(format, output) as write:
            yield write
        return
    rows: list[Result] = []
    yield rows.append
    with text_output(output) as file:
        show_results(rows, on=console(file))


@contextmanager
def _progress(total: int, options: ScoreOptions) -> Iterator[Callable[[], None]]:
    """A bar on stderr, unless that is no terminal, there is one picture, or the rows that appear show the progress."""
    rows_appear = options.format in ("csv", "json", "jsonl") and options.output is None and sys.stdout.isatty()
    if total == 1 or rows_appear or not sys.stderr.isatty():
        yield lambda: None
        return
    columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Left alone, rich would send what is written to stdout to the bar's console, even when stdout is a pipe.
    with Progress(*columns, console=console(sys.stderr), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("scoring", total=total)
        yield lambda: bar.advance(task)
