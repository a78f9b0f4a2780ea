"""Predictions files: JSON Lines, a header first, then one row per item in the order of the test set.

A file is complete when every item has exactly one row. Rows are written in whole batches, and an interrupted file goes
on from its last whole batch, so that the same batches are computed as in a run that was never interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mllm_iqa.checkpoints import sha256_of
from mllm_iqa.errors import DataError

from .items import canonical

FORMAT = 1
FILE_NAME = "predictions.jsonl"


@dataclass(frozen=True, slots=True)
class Predictions:
    """A complete predictions file.

    Attributes:
        path: of the file; sha256: of its bytes.
        header: task, model, settings, number and digest of the items.
        rows: one per item.
    """

    path: Path
    sha256: str
    header: dict[str, Any]
    rows: tuple[dict[str, Any], ...]


def header_line(header: Mapping[str, Any]) -> str:
    """The first line of a file."""
    return canonical({"predictions_format": FORMAT, **header}) + "\n"


def row_line(row: Mapping[str, Any]) -> str:
    """One line of a file.

    Raises:
        ValueError: a value that JSON does not know, such as NaN.
    """
    return canonical(row) + "\n"


def rows_to_keep(path: Path, header: Mapping[str, Any], ids: Sequence[str], batch_size: int) -> int:
    """Cut an unfinished file back to its last whole batch, and say how many rows it keeps; begin one that is missing.

    Raises:
        DataError: the file was made with other settings, of another model or test set, or holds other items.
    """
    first = header_line(header).encode()
    if not path.exists() or path.stat().st_size == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(first)
        return 0
    written = path.read_bytes()
    lines = written[: written.rfind(b"\n") + 1].splitlines(keepends=True)
    if not lines:
        path.write_bytes(first)
        return 0
    if lines[0] != first:
        raise DataError(f"{path}: {_other(path, lines[0], header)}; name another folder")
    rows = [_parsed(path, number, line) for number, line in enumerate(lines[1:], start=2)]
    for number, (row, id) in enumerate(zip(rows, ids, strict=False), start=2):
        if row.get("id") != id:
            raise DataError(f"{path}: line {number} is about {row.get('id')!r}, expected {id!r}; name another folder")
    if len(rows) > len(ids):
        raise DataError(f"{path}: holds {len(rows)} rows of {len(ids)} items; name another folder")
    kept = len(rows) if len(rows) == len(ids) else len(rows) - len(rows) % batch_size
    whole = b"".join(lines[: 1 + kept])
    if whole != written:
        path.write_bytes(whole)
    return kept


def read_predictions(path: Path) -> Predictions:
    """A complete file, or of a folder the file in it.

    Raises:
        DataError: no such file, not a predictions file, or rows that are missing, doubled or about other items.
    """
    path = path / FILE_NAME if path.is_dir() else path
    if not path.is_file():
        raise DataError(f"{path}: not found; `mllm-iqa eval predict` writes it")
    lines = path.read_bytes().splitlines()
    header = _parsed(path, 1, lines[0]) if lines else {}
    if header.get("predictions_format") != FORMAT:
        raise DataError(f"{path}: no predictions file of format {FORMAT}; its first line must be a header")
    rows = [_parsed(path, number, line) for number, line in enumerate(lines[1:], start=2)]
    seen: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        id = row.get("id")
        if not isinstance(id, str) or ("answer" in row) == ("error" in row):
            raise DataError(f"{path}: line {number} must have an id, and an answer or an error")
        if id in seen:
            raise DataError(f"{path}: {id!r} is predicted twice, in lines {seen[id]} and {number}")
        seen[id] = number
    if len(rows) != header["items"]:
        raise DataError(
            f"{path}: {len(rows)} of {header['items']} items are predicted; give the same `mllm-iqa eval predict` "
            "again to finish"
        )
    if items_digest(rows) != header["items_sha256"]:
        raise DataError(f"{path}: its rows are not the items of its header: some were edited, exchanged or moved")
    return Predictions(path, sha256_of(path), header, tuple(rows))


def items_digest(rows: Sequence[Mapping[str, Any]]) -> str:
    """The digest of the items that rows are about, as `items.digest` computes it."""
    import hashlib

    sha = hashlib.sha256()
    for row in rows:
        item = {key: row.get(key) for key in ("id", "group", "tags", "ask", "truth")}
        sha.update(canonical(item).encode() + b"\n")
    return sha.hexdigest()


def _parsed(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise DataError(f"{path}: line {number} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}: line {number} is no JSON object")
    return value


def _other(path: Path, line: bytes, header: Mapping[str, Any]) -> str:
    theirs = _parsed(path, 1, line)
    for key, mine in header.items():
        if theirs.get(key) != mine:
            return f"made with {key} {_short(theirs.get(key))}, not {_short(mine)}"
    return "made with other settings"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
