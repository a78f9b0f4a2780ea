"""Scores and failures as rows that programs read: JSON, JSON Lines, CSV and Parquet.

JSON and JSON Lines hold nested rows (`nested_row`); CSV and Parquet hold flat ones (`COLUMNS`). A picture that could
not be judged is a row whose `error` says why; the `error` of every other row is null.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, TextIO, TypeAlias, TypeVar, overload

from .errors import ConfigError
from .levels import LEVELS
from .output_file import replaced_at_end
from .types import Failure, Score

if TYPE_CHECKING:
    import pyarrow as pa

Result: TypeAlias = Score | Failure
Write: TypeAlias = Callable[[Result], None]
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class RowForm(Generic[Row]):
    """What rows of one kind look like.

    Attributes:
        columns: of a flat row: name -> (Arrow type, meaning).
        flat: a result as a flat row.
        nested: the same as a nested one.
    """

    columns: dict[str, tuple[str, str]]
    flat: Callable[[Row], dict[str, Any]]
    nested: Callable[[Row], dict[str, Any]]


COLUMNS: dict[str, tuple[str, str]] = {
    "name": ("string", "the path as given on the command line, or found below a folder given there"),
    "mos": ("double", "mean opinion score, 1 (bad) to 5 (excellent)"),
    "std": ("double", "standard deviation of the level distribution, in MOS units"),
    "interval_low": ("double", "lower end of the interval that holds the human score"),
    "interval_high": ("double", "upper end of it"),
    "interval_coverage": ("double", "probability with which it does"),
    "interval_source": ("string", "the calibration behind that claim"),
    "level": ("string", "the most probable level word"),
    **{f"p_{level}": ("double", f"probability of the level word {level}") for level in LEVELS},
    "outside_mass": ("double", "probability put on anything but a level word"),
    "distortions": ("string", "JSON list of findings, [] when clean, null when not asked for"),
    "explanation": ("string", "text, null when not asked for"),
    "confidence": ("double", "confidence of the text, 0 to 1, null without a text"),
    "width": ("int64", "pixels, after EXIF orientation"),
    "height": ("int64", "pixels, after EXIF orientation"),
    "judged_width": ("int64", "pixels that the model saw"),
    "judged_height": ("int64", "pixels that the model saw"),
    "notes": ("string", "what intake changed, joined by '; '"),
    "model": ("string", "what judged the picture"),
    "prompt": ("string", "the prompt and its version"),
    "advice": ("string", "JSON list of what to do, [] when nothing was found, null when not asked for"),
    "calibrated": ("double", "the score on the user's scale, null without a calibration"),
    "calibrated_low": ("double", "lower end of the interval on that scale, null where it is unbounded"),
    "calibrated_high": ("double", "upper end of it"),
    "calibrated_coverage": ("double", "probability with which it holds the score that the user would give"),
    "calibration": ("string", "name of the calibration"),
    "trusted": ("bool", "whether the score is to be trusted, null where the model has no thresholds for that"),
    "distrust": ("string", "JSON list of the reasons when it is not, [] when it is"),
    "error": ("string", "why the picture could not be judged; every column but name is null then"),
}
"""The flat row: column name -> (Arrow type, meaning), in the order of the file. CSV writes null as an empty field.

`std`, the interval, the probabilities and `outside_mass` are null where the model writes a number instead of choosing a
level word."""

_ROWS_PER_GROUP = 1024  # bounds what Parquet keeps in memory
_SYNC_SECONDS = 1.0  # of JSON Lines that a machine that stops may lose


def nested_row(result: Result) -> dict[str, Any]:
    """`name` and `error` (null for a score), then everything in the result's `to_dict()`."""
    if isinstance(result, Failure):
        return result.to_dict()
    return {"name": result.image.name, "error": None, **result.to_dict()}


def flat_row(result: Result) -> dict[str, str | float | int | None]:
    """One value for each of `COLUMNS`, in that order."""
    if isinstance(result, Failure):
        return {**dict.fromkeys(COLUMNS), "name": result.name, "error": result.error}
    image, interval = result.image, result.interval
    found = result.distortions
    return {
        "name": image.name,
        "mos": result.mos,
        "std": result.std,
        "interval_low": None if interval is None else interval.low,
        "interval_high": None if interval is None else interval.high,
        "interval_coverage": None if interval is None else interval.coverage,
        "interval_source": None if interval is None else interval.source,
        "level": result.level,
        **{f"p_{level}": None if result.levels is None else result.levels[level] for level in LEVELS},
        "outside_mass": result.outside_mass,
        "distortions": None if found is None else _json([asdict(finding) for finding in found]),
        "explanation": result.explanation,
        "confidence": result.confidence,
        "width": image.width,
        "height": image.height,
        "judged_width": image.judged_width,
        "judged_height": image.judged_height,
        "notes": "; ".join(image.notes),
        "model": result.model,
        "prompt": result.prompt,
        "advice": None if result.advice is None else _json([asdict(advice) for advice in result.advice]),
        **_calibrated_columns(result),
        "trusted": None if result.trust is None else result.trust.trusted,
        "distrust": None if result.trust is None else _json([asdict(doubt) for doubt in result.trust.reasons]),
        "error": None,
    }


def _calibrated_columns(score: Score) -> dict[str, str | float | None]:
    known = score.calibrated
    return {
        "calibrated": None if known is None else known.value,
        "calibrated_low": None if known is None else known.low,
        "calibrated_high": None if known is None else known.high,
        "calibrated_coverage": None if known is None else known.coverage,
        "calibration": None if known is None else known.calibration,
    }


SCORE_ROWS: RowForm[Result] = RowForm(COLUMNS, flat_row, nested_row)


@overload
def writing(format: str, output: Path | None) -> AbstractContextManager[Write]: ...


@overload
def writing(format: str, output: Path | None, rows: RowForm[Row]) -> AbstractContextManager[Callable[[Row], None]]: ...


def writing(format: str, output: Path | None, rows: RowForm[Any] = SCORE_ROWS) -> AbstractContextManager[Any]:
    """A function that writes one row, valid inside the block.

    Args:
        format: a key of `WRITERS`.
        output: the file to write (UTF-8); None = stdout, which "parquet" refuses. JSON Lines rows are in the file as
            soon as they are written, and on the disk a second later; the other formats appear when the block ends
            without an exception, and replace what was there.
        rows: of what kind; scores unless given.

    Raises:
        ConfigError: Parquet to stdout.
        ValueError: while writing JSON, for a number that JSON cannot hold (NaN, infinity).
    """
    return WRITERS[format](output, rows)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


@contextmanager
def text_output(output: Path | None) -> Iterator[TextIO]:
    """A UTF-8 file that replaces `output` when the block ends without an exception; None = stdout."""
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
    else:
        with replaced_at_end(output) as file:
            wrapped = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
            try:
                yield wrapped
            finally:
                wrapped.detach()  # flushes; the file itself is closed by its own block


@contextmanager
def _json_array(output: Path | None, rows: RowForm[Any] = SCORE_ROWS) -> Iterator[Callable[[Any], None]]:
    with text_output(output) as file:
        lead = "[\n"

        def write(result: Any) -> None:
            nonlocal lead
            file.write(lead + _json(rows.nested(result)))
            lead = ",\n"

        yield write
        file.write("[]\n" if lead == "[\n" else "\n]\n")


@contextmanager
def _json_lines(output: Path | None, rows: RowForm[Any] = SCORE_ROWS) -> Iterator[Callable[[Any], None]]:
    with nullcontext(sys.stdout) if output is None else output.open("w", encoding="utf-8", newline="\n") as file:
        synced = monotonic()

        def write(result: Any) -> None:
            nonlocal synced
            file.write(_json(rows.nested(result)) + "\n")
            file.flush()
            if output is not None and monotonic() - synced >= _SYNC_SECONDS:
                os.fsync(file.fileno())
                synced = monotonic()

        try:
            yield write
        finally:
            if output is not None:
                os.fsync(file.fileno())


@contextmanager
def _csv(output: Path | None, rows: RowForm[Any] = SCORE_ROWS) -> Iterator[Callable[[Any], None]]:
    with text_output(output) as file:
        writer = csv.DictWriter(file, list(rows.columns), lineterminator="\n")
        writer.writeheader()

        def write(result: Any) -> None:
            writer.writerow(rows.flat(result))
            file.flush()

        yield write


@contextmanager
def _parquet(output: Path | None, rows: RowForm[Any] = SCORE_ROWS) -> Iterator[Callable[[Any], None]]:
    if output is None:
        raise ConfigError("Parquet is a binary format; name its file with --output")
    with replaced_at_end(output) as file, _parquet_rows(file, rows) as write:
        yield write


def arrow_schema(rows: RowForm[Any] | None = None, **more: str) -> pa.Schema:
    """The Arrow schema of flat rows, of scores if None; `more` adds columns after them, as name=type."""
    import pyarrow as pa

    kinds = {name: kind for name, (kind, _) in (SCORE_ROWS if rows is None else rows).columns.items()} | more
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in kinds.items()])


@contextmanager
def _parquet_rows(file: BinaryIO, form: RowForm[Any]) -> Iterator[Callable[[Any], None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema(form)
    rows: list[dict[str, Any]] = []
    with pq.ParquetWriter(file, schema) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
            rows.clear()

        def write(result: Any) -> None:
            rows.append(form.flat(result))
            if len(rows) == _ROWS_PER_GROUP:
                flush()

        yield write
        if rows:
            flush()


WRITERS: dict[str, Callable[[Path | None, RowForm[Any]], AbstractContextManager[Callable[[Any], None]]]] = {
    "json": _json_array,
    "jsonl": _json_lines,
    "csv": _csv,
    "parquet": _parquet,
}
