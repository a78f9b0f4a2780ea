"""Q-Bench (Wu et al., ICLR 2024) and Q-Bench2: multiple choice (A1) raw and as on Hugging Face, descriptions (A2)."""

from __future__ import annotations

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mllm_iqa.errors import DataError
from mllm_iqa.images import ImageSource

from ..items import Item
from .files import field, picture, read_rows

QUESTION_TYPES = ("yes-no", "how", "what")
CONCERNS = ("global distortion", "global others", "local distortion", "local others")
_PADDING = "N/A"


def read_choices(source: Path, options: Mapping[str, Any]) -> list[Item]:
    """Questions with their options.

    Two layouts, told by their fields: raw LLVisionQA (`img_path, question, candidates, correct_ans`, the first a list
    of two paths in pairs), and Hugging Face (`id, image` or `image1, image2, question, option0..3, question_type,
    question_concern, correct_choice`).

    Raises:
        DataError: a row of neither layout, options that repeat, or a correct answer that is no option.
    """
    rows = read_rows(source)
    return [
        _raw(row, n, source) if "candidates" in row else _hugging_face(row, n, source) for n, row in enumerate(rows)
    ]


def _raw(row: Mapping[str, Any], number: int, source: Path) -> Item:
    where = f"{source}: row {number}"
    paths = field(row, "img_path", where)
    names = [paths] if isinstance(paths, str) else list(paths)
    candidates = [str(option) for option in field(row, "candidates", where)]
    answer = field(row, "correct_ans", where)
    if answer not in candidates:
        raise DataError(f"{where}: the correct answer {answer!r} is none of {candidates}")
    tags = {key: str(row[key]) for key in ("type", "concern") if key in row}
    if "type" in row and str(row["type"]).isdigit():
        tags["type"] = _named(row["type"], QUESTION_TYPES, where)
    if "concern" in row and str(row["concern"]).isdigit():
        tags["concern"] = _named(row["concern"], CONCERNS, where)
    shown = tuple(picture(name, source, where) for name in names)
    return _item(f"{number:05d}", shown, "+".join(names), row, candidates, candidates.index(answer), tags, where)


def _hugging_face(row: Mapping[str, Any], number: int, source: Path) -> Item:
    where = f"{source}: row {row.get('id', number)}"
    columns = ("image1", "image2") if "image1" in row else ("image",)
    shown = tuple(picture(field(row, column, where), source, where) for column in columns)
    padded = [str(field(row, f"option{n}", where)) for n in range(4) if row.get(f"option{n}") is not None]
    candidates = [option for option in padded if option not in (_PADDING, "")]
    letter = str(field(row, "correct_choice", where)).strip().upper()
    right = string.ascii_uppercase.find(letter) if len(letter) == 1 else -1
    if not 0 <= right < len(candidates):
        raise DataError(f"{where}: the correct choice {letter!r} is none of the {len(candidates)} options")
    tags = {}
    if row.get("question_type") is not None:
        tags["type"] = _named(row["question_type"], QUESTION_TYPES, where)
    if row.get("question_concern") is not None:
        tags["concern"] = _named(row["question_concern"], CONCERNS, where)
    id = str(field(row, "id", where))
    return _item(id, shown, id, row, candidates, right, tags, where)


def _item(
    id: str,
    shown: tuple[ImageSource, ...],
    group: str,
    row: Mapping[str, Any],
    candidates: list[str],
    right: int,
    tags: dict[str, str],
    where: str,
) -> Item:
    if len(candidates) < 2 or len({option.strip().lower() for option in candidates}) < len(candidates):
        raise DataError(f"{where}: needs at least two different options, got {candidates}")
    ask = {"question": str(field(row, "question", where)), "options": candidates}
    return Item(id, shown, group, {"right": right}, ask, {**tags, "options": str(len(candidates))})


def _named(value: Any, names: tuple[str, ...], where: str) -> str:
    number = int(value)
    if not 0 <= number < len(names):
        raise DataError(f"{where}: {value} is no index of {', '.join(names)}")
    return names[number]


def read_descriptions(source: Path, options: Mapping[str, Any]) -> list[Item]:
    """Pictures with golden descriptions: `img_path` (one or two) and `description`.

    Raises:
        DataError: a row without one of the two.
    """
    items = []
    for number, row in enumerate(read_rows(source)):
        where = f"{source}: row {number}"
        paths = field(row, "img_path", where)
        names = [paths] if isinstance(paths, str) else list(paths)
        shown = tuple(picture(name, source, where) for name in names)
        golden = str(field(row, "description", where))
        items.append(Item(f"{number:05d}", shown, "+".join(names), {"description": golden}))
    return items
