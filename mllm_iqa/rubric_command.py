"""`mllm-iqa rubric` (new, check, show, list) and `mllm-iqa score --rubric`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from .assistant import Assistant
from .containers import Item, encoded
from .errors import ConfigError, ImageError
from .images import Picture, load_image
from .inputs import Inputs
from .output_file import check_output
from .rubric import Rubric, judge_by, load_rubric, rubric_of, rubrics_in, shipped_rubrics
from .rubric_check import RubricCheck, check_rubric
from .score_options import ScoreOptions
from .tables import RowForm, text_output, writing
from .terminal import console, printable, show_table
from .types import Failure, RubricScore

_BAR_CELLS = 30
_FAILURES_SHOWN = 100
_MUCH_OUTSIDE = 0.5

RUBRIC_COLUMNS: dict[str, tuple[str, str]] = {
    "name": ("string", "the path as given on the command line, or found below a folder given there"),
    "rubric": ("string", "name and version of the rubric"),
    "level": ("string", "the most probable level word"),
    "value": ("double", "expectation on the rubric's own scale; no MOS"),
    "std": ("double", "standard deviation on that scale"),
    "scale_low": ("double", "smallest value of the rubric"),
    "scale_high": ("double", "largest value of it"),
    "entropy": ("double", "of the levels, 0 (sure) to 1 (all alike)"),
    "outside_mass": ("double", "probability put on anything but a level; large = distrust"),
    "probabilities": ("string", "JSON object: the probability of each level"),
    "width": ("int64", "pixels, after EXIF orientation"),
    "height": ("int64", "pixels, after EXIF orientation"),
    "model": ("string", "what judged the picture"),
    "error": ("string", "why the picture could not be judged; every column but name is null then"),
}
"""One flat row for each picture and rubric."""


def _flat(result: RubricScore | Failure) -> dict[str, Any]:
    if isinstance(result, Failure):
        return {**dict.fromkeys(RUBRIC_COLUMNS), "name": result.name, "error": result.error}
    row = asdict(result)
    row |= {"name": result.image.name, "scale_low": result.scale[0], "scale_high": result.scale[1], "error": None}
    row |= {"probabilities": json.dumps(result.probabilities, ensure_ascii=False, allow_nan=False)}
    row |= {"width": result.image.width, "height": result.image.height}
    return {name: row[name] for name in RUBRIC_COLUMNS}


def _nested(result: RubricScore | Failure) -> dict[str, Any]:
    if isinstance(result, Failure):
        return result.to_dict()
    return {"name": result.image.name, "error": None, **result.to_dict()}


RUBRIC_ROWS: RowForm[RubricScore | Failure] = RowForm(RUBRIC_COLUMNS, _flat, _nested)


# Scoring.


def score_rubrics(inputs: Inputs, options: ScoreOptions, assistant: Assistant, rubrics: Sequence[Rubric]) -> int:
    """Score pictures by rubrics, one row for each picture and rubric.

    Returns:
        0 when every picture was scored or failures are allowed, else 1.

    Raises:
        IqaError: words that do not suit the model, or an engine that fails.
    """
    failed: list[Failure] = []
    with _writing(options) as write:
        for result in _results(assistant, inputs, rubrics, options.batch_size):
            if isinstance(result, Failure):
                failed.append(result)
                write(result)
                continue
            for one in result:
                write(one)
    print(f"{inputs.total - len(failed)}/{inputs.total} scored", file=sys.stderr)
    for failure in failed[:_FAILURES_SHOWN]:
        print(f"failed: {failure.name}: {printable(failure.error)}", file=sys.stderr)
    return 1 if failed and not options.allow_failures else 0


def rubrics_asked(options: ScoreOptions) -> list[Rubric]:
    """The rubrics that the options name.

    Raises:
        ConfigError: they stand beside an option that has no meaning for them.
        PromptError: no such rubric, or a file that breaks the form.
    """
    for option, given in (("--reference", options.reference), ("--run", options.run)):
        if given is not None:
            raise ConfigError(f"--rubric and {option} do not go together")
    return [load_rubric(rubric) for rubric in options.rubrics]


def _results(
    assistant: Assistant, inputs: Inputs, rubrics: Sequence[Rubric], batch_size: int
) -> Iterator[tuple[RubricScore, ...] | Failure]:
    items = iter(inputs)
    while chunk := list(islice(items, batch_size)):
        loaded = [_loaded(item, assistant.max_pixels) for item in chunk]
        judged = iter(judge_by(assistant.backend, [p for p in loaded if isinstance(p, Picture)], rubrics))
        for one in loaded:
            yield one if isinstance(one, Failure) else next(judged)


def _loaded(item: Item, max_pixels: int | None) -> Picture | Failure:
    name = printable(item.name)
    try:
        return load_image(encoded(item), name=name, max_pixels=max_pixels)
    except ImageError as error:
        return Failure(name, str(error).removeprefix(f"{name}: "))


@contextmanager
def _writing(options: ScoreOptions) -> Iterator[Callable[[RubricScore | Failure], None]]:
    if options.format != "table":
        with writing(options.format, options.output, RUBRIC_ROWS) as write:
            yield write
        return
    rows: list[RubricScore | Failure] = []
    yield rows.append
    with text_output(options.output) as file:
        show_rubric_scores(rows, on=console(file))


def show_rubric_scores(rows: Sequence[RubricScore | Failure], *, on: Console) -> None:
    """Results for people: one picture in full, or several as a table."""
    scores = [row for row in rows if isinstance(row, RubricScore)]
    if len({id(row.image) for row in scores}) == 1 and len(scores) == len(rows):
        on.print(Text(printable(scores[0].image.name)))
        for score in scores:
            on.print(Text(""))
            for line in _in_full(score):
                on.print(Text(line))
        on.print(Text(f"\nmodel {scores[0].model}"))
        return
    header = ["picture", "rubric", "level", "value", "scale", "p", "no level"]
    show_table(header, [_cells(row) for row in rows], on=on)
    for rubric in dict.fromkeys(score.rubric for score in scores):
        doubtful = sum(s.outside_mass >= _MUCH_OUTSIDE for s in scores if s.rubric == rubric)
        if doubtful:
            on.print(Text(f"{rubric}: {doubtful} answers are mostly no level of it; see `mllm-iqa rubric check`"))
    if scores:
        on.print(Text(f"model {scores[0].model}; the values are on the rubrics' own scales, not MOS"))


def _in_full(score: RubricScore) -> Iterator[str]:
    low, high = score.scale
    yield f"{score.rubric}: {score.level}, {score.value:.2f} on its scale from {low:g} to {high:g}, std {score.std:.2f}"
    width = max(map(len, [*score.probabilities, "no level"]))
    for word, p in score.probabilities.items():
        yield f"{word:{width}} {p:.3f} {'█' * round(p * _BAR_CELLS)}".rstrip()
    yield f"{'no level':{width}} {score.outside_mass:.3f}"
    if score.outside_mass >= _MUCH_OUTSIDE:
        yield "the model would rather have said something else: distrust this; see `mllm-iqa rubric check`"


def _cells(row: RubricScore | Failure) -> list[str]:
    if isinstance(row, Failure):
        return [row.name, f"error: {row.error}", "-", "-", "-", "-", "-"]
    low, high = row.scale
    p = row.probabilities[row.level]
    return [
        row.image.name,
        row.rubric,
        row.level,
        f"{row.value:.2f}",
        f"{low:g} to {high:g}",
        f"{p:.2f}",
        f"{row.outside_mass:.2f}",
    ]


# Making and looking.


def new_rubric(
    name: str,
    *,
    question: str,
    levels: str,
    values: str | None,
    prefix: str,
    worst_first: bool,
    language: str,
    output: Path | None,
) -> Path:
    """Write a rubric's file and give its path.

    Raises:
        PromptError: what does not make a rubric.
        ConfigError: values that are no numbers, or a file that is there already.
    """
    made: dict[str, Any] = {
        "task": name,
        "version": 1,
        "language": language,
        "questions": [question.strip()],
        "answer_prefix": prefix.strip(),
        "order": "worst first" if worst_first else "best first",
        "levels": [word.strip() for word in levels.split("/")],
    }
    if values is not None:
        try:
            made["values"] = [float(number) for number in values.split("/")]
        except ValueError:
            raise ConfigError(
                f"--values {values[:80]!r}: expected numbers with slashes between, such as 3/2/1"
            ) from None
    rubric = rubric_of(made)
    path = Path(f"{rubric.name}.yaml") if output is None else output
    if path.exists():
        raise ConfigError(f"{path} is there already; a rubric in use is not changed: take another name or --output")
    check_output(path)
    path.write_text(rubric.to_yaml(), encoding="utf-8")
    return path


def check(rubric: Rubric, assistant: Assistant, *, as_json: bool) -> int:
    """Print what was found about a rubric and a model; 0 when it can be scored without warnings, else 1."""
    found = check_rubric(rubric, assistant.backend, card=assistant.card)
    if as_json:
        print(json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False, indent=2))
    else:
        _show_check(found)
    return 0 if found.sound and not found.warnings else 1


def _show_check(found: RubricCheck) -> None:
    verdict = "cannot be scored" if found.faults else "can be scored" + (", with doubts" if found.warnings else "")
    print(f"{found.rubric} {verdict} by {found.model}")
    for word in found.words:
        if word.tokens is not None:
            own = "" if word.own_start else "; another level begins alike, so both are scored whole"
            print(f"  {word.word}: {len(word.tokens)} token{'s' * (len(word.tokens) != 1)}{own}")
    for fault in found.faults:
        print(f"fault: {printable(fault)}")
    for warning in found.warnings:
        print(f"warning: {printable(warning)}")
    for one in found.trial:
        shares = ", ".join(f"{word} {p:.2f}" for word, p in one.probabilities.items())
        print(f"trial: {one.image.name}: {one.value:.2f} ({shares}; no level {one.outside_mass:.2f})")


def list_rubrics(folder: Path, *, as_json: bool) -> None:
    """Print the shipped rubrics and those of a folder."""
    rows = [(name, rubric, "shipped") for name, rubric in shipped_rubrics().items()]
    faults: list[str] = []
    for name, rubric in rubrics_in(folder).items():
        if isinstance(rubric, Rubric):
            rows.append((str(folder / name), rubric, "file"))
        else:
            faults.append(rubric)
    if as_json:
        listed = [{"name": name, "from": place, **rubric.model_dump(mode="json")} for name, rubric, place in rows]
        print(json.dumps(listed, ensure_ascii=False, indent=2))
    else:
        header = ["rubric", "question", "levels", "scale"]
        show_table(header, [[name, r.question, " / ".join(r.levels), _scale(r)] for name, r, _ in rows], on=console())
    for fault in faults:
        print(f"passed over: {printable(fault)}", file=sys.stderr)


def _scale(rubric: Rubric) -> str:
    return " / ".join(f"{value:g}" for value in rubric.scale)
