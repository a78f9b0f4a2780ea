"""Score files as rows: CSV, JSON, text, .xlsx and .mat, each a DataError that names the file when it cannot be read."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from mllm_iqa.errors import DataError

Row: TypeAlias = dict[str, str]


def number(value: object) -> float | None:
    """A finite number, from a number or its text; None for anything else."""
    try:
        parsed = float(str(value).strip())
    except ValueError:
        return None
    return parsed if math.isfinite(parsed) else None


def root_of(variance: object) -> float | None:
    """The standard deviation of a variance; None where there is no variance."""
    parsed = number(variance)
    return None if parsed is None or parsed < 0 else math.sqrt(parsed)


def lines(path: Path) -> list[str]:
    """The lines of a text file that hold something, stripped."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    # Not splitlines(), which also splits at separators that JSON strings may hold.
    return [line.strip() for line in re.split(r"\r\n|\r|\n", text) if line.strip()]


def json_objects(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON list or of JSON Lines, told by the content."""
    text = lines(path)
    try:
        listed = text[:1] and text[0].startswith("[")
        items = json.loads("\n".join(text)) if listed else [json.loads(line) for line in text]
    except ValueError as error:
        raise DataError(f"{path}: not a JSON list, nor one JSON object per line: {error}") from error
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise DataError(f"{path}: expected a list of JSON objects")
    return items


def csv_table(path: Path, columns: Sequence[str], *, delimiter: str = ",") -> Iterator[Row]:
    """The rows of a CSV file with a header, each with at least the named columns; blanks are ''.

    Header names and values are stripped. Raises a DataError that names a column the file lacks.
    """
    table = csv_rows(path, delimiter=delimiter)
    header = next(table, [])
    check_columns(path, header, columns)
    for row in table:
        cells = [*row, *[""] * (len(header) - len(row))]
        yield dict(zip(header, cells, strict=False))


def csv_rows(path: Path, *, delimiter: str = ",") -> Iterator[list[str]]:
    """The rows of a CSV file, header included, values stripped, empty rows left out."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            for row in csv.reader(file, delimiter=delimiter, strict=True):
                if any(cell.strip() for cell in row):
                    yield [cell.strip() for cell in row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error) from error


def sheet_table(path: Path, sheet: str | None, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of an .xlsx sheet (None = the first) below the first row that holds all the column names.

    Column names are compared stripped; rows without any value in the named columns are left out.
    """
    import openpyxl

    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            page = book[book.sheetnames[0] if sheet is None else sheet]
            cells = [tuple(row) for row in page.iter_rows(values_only=True)]
        finally:
            book.close()
    except Exception as error:  # openpyxl raises whatever its parsers raise on a damaged file
        raise _unreadable(path, error) from error
    for start, row in enumerate(cells):
        header = [str(cell).strip() for cell in row]
        if set(columns) <= set(header):
            records = [dict(zip(header, values, strict=False)) for values in cells[start + 1 :]]
            return [r for r in records if any(r.get(column) is not None for column in columns)]
    raise DataError(f"{path}: no row with the column names {', '.join(columns)}")


def mat_numbers(path: Path, variable: str) -> list[float]:
    """The numbers of a variable of a .mat file, in order."""
    values = _mat_variable(path, variable)
    try:
        return [float(value) for value in np.ravel(np.asarray(values, dtype=np.float64))]
    except (TypeError, ValueError) as error:
        raise _unreadable(path, error) from error


def mat_texts(path: Path, variable: str) -> list[str]:
    """The strings of a cell array of a .mat file, in order."""
    return [_innermost(cell) for cell in np.ravel(_mat_variable(path, variable))]


def _mat_variable(path: Path, variable: str) -> Any:
    try:
        content = loadmat(str(path), appendmat=False)
    except (OSError, ValueError, TypeError, NotImplementedError, MatReadError) as error:
        raise _unreadable(path, error) from error
    if variable not in content:
        names = ", ".join(sorted(name for name in content if not name.startswith("__")))
        raise DataError(f"{path}: no variable {variable}; it has {names or 'none'}")
    return content[variable]


def _innermost(cell: Any) -> str:
    while isinstance(cell, np.ndarray) and cell.size:
        cell = cell.flat[0]
    return "" if isinstance(cell, np.ndarray) else str(cell).strip()


def check_columns(path: Path, header: Collection[str], columns: Sequence[str]) -> None:
    """A DataError names the columns that a table's header, or an object's keys, lack."""
    lacking = [column for column in columns if column not in header]
    if lacking:
        raise DataError(f"{path}: no column {', '.join(lacking)}; it has {', '.join(map(str, header)) or 'none'}")


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = "not found" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
    return DataError(f"{path}: {reason}")
