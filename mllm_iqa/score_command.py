"""`mllm-iqa score`: pictures in, one row for each out, in the same order, and an honest count at the end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .advice_rules import load_rules
from .assistant import Assistant
from .errors import ConfigError, ImageError, IqaError
from .images import load_image
from .inputs import Inputs, find
from .output_file import check_output
from .score_options import ScoreOptions
from .score_stream import judged
from .tables import Result, Write, text_output, writing
from .tally import Tally
from .terminal import console, error_line, printable, show_results, spinner
from .types import Failure

_FAILURES_SHOWN = 100
_PICTURES_FOR_SUMMARY = 10  # a histogram of fewer says less than the rows


def score(arguments: Sequence[str], options: ScoreOptions) -> int:
    """Score the pictures that the arguments stand for.

    Returns:
        0 when every picture was scored or failures are allowed, else 1; also 1 when the model broke down on the way,
        with the rows before it written where the format allows that.

    Raises:
        IqaError: before anything was scored: no such picture, unusable output, unknown model, unreadable reference.
    """
    if options.rubrics:
        from .rubric_command import rubrics_asked, score_rubrics

        rubrics = rubrics_asked(options)
        inputs = checked_inputs(arguments, options)
        if options.output is None and options.format == "parquet":
            raise ConfigError("Parquet is a binary format; name its file with --output")
        return score_rubrics(inputs, options, load(options), rubrics)
    inputs = checked_inputs(arguments, options)
    if options.run is not None:
        from .large_run import score_in_parts

        with progress(inputs.total, options) as advance:
            return score_in_parts(inputs, options, lambda: load(options), advance)
    if options.output is None and options.format == "parquet":
        raise ConfigError("Parquet is a binary format; name its file with --output")
    assistant = load(options)
    failures: list[Failure] = []
    tally, started = Tally(), monotonic()
    try:
        with _writing(options.format, options.output) as write, progress(inputs.total, options) as advance:
            for row in _results(assistant, inputs, options):
                write(row)
                if isinstance(row, Failure):
                    tally.add_failure(row.error)
                    failures += [row] if len(failures) < _FAILURES_SHOWN else []
                else:
                    tally.add_score(row.mos)
                advance()
    except IqaError as error:
        if tally.total == 0:
            raise
        print(error_line(f"after {tally.total} of {inputs.total} pictures: {error}"), file=sys.stderr)
        return 1
    _conclude(tally, failures, monotonic() - started)
    return 1 if tally.failed and not options.allow_failures else 0


def checked_inputs(arguments: Sequence[str], options: ScoreOptions) -> Inputs:
    """The pictures, once it is sure that they and the output go together.

    Raises:
        IqaError: no such picture, several with --reference, an output that cannot be written or is an input.
    """
    inputs = find(arguments, listing=options.listing)
    for folder in inputs.empty:
        print(f"passed over: {printable(folder)}", file=sys.stderr)
    if options.reference is not None and inputs.total != 1:
        raise ConfigError(f"--reference goes with a single picture, and {inputs.total} were given")
    if options.reference is not None and options.run is not None:
        raise ConfigError("--reference and --run do not go together")
    if options.output is not None:
        read = (item.path for item in inputs)
        check_output(options.output, inputs=read if options.reference is None else [*read, options.reference])
    return inputs


def load(options: ScoreOptions) -> Assistant:
    """The model that the options name."""
    rules = (
        None if options.advice is None else load_rules(options.advice)
    )  # first: what is wrong with it costs no model
    with spinner(f"loading {options.model}"):
        assistant = Assistant.load(
            options.model,
            engine=options.engine,
            device=options.device,
            dtype=options.dtype,
            options=options.transformers,
            calibration=options.calibration,
        )
    assistant.advice = rules
    return assistant.asking_again() if options.thorough else assistant


def _conclude(tally: Tally, failures: Sequence[Failure], seconds: float) -> None:
    if tally.total >= _PICTURES_FOR_SUMMARY:
        print("\n".join(tally.lines(seconds)), file=sys.stderr)
    print(f"{tally.scored}/{tally.total} scored", file=sys.stderr)
    for failure in failures:
        print(f"failed: {failure.name}: {printable(failure.error)}", file=sys.stderr)
    if tally.failed > len(failures):
        print(f"and {tally.failed - len(failures)} more failed; each has a row", file=sys.stderr)


def _results(assistant: Assistant, inputs: Inputs, options: ScoreOptions) -> Iterator[Result]:
    if options.reference is not None:
        (item,) = inputs
        yield _against_reference(assistant, Path(item.path), options.reference, options)
        return
    for one in judged(
        assistant, inputs, explain=options.explain, language=options.language, batch_size=options.batch_size
    ):
        assert one.result is not None  # nothing is known beforehand here
        yield one.result


def _against_reference(assistant: Assistant, path: Path, reference: Path, options: ScoreOptions) -> Result:
    original = load_image(reference)  # first, so that its errors are not taken for the picture's
    name = printable(str(path))
    try:
        picture = load_image(path)
    except ImageError as error:
        return Failure(name, str(error).removeprefix(f"{name}: "))
    result = assistant.score(picture, reference=original, explain=options.explain, language=options.language)
    return replace(result, image=replace(result.image, name=name))


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
def progress(total: int, options: ScoreOptions) -> Iterator[Callable[[], None]]:
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
