"""What a model is tuned on: conversations with soft labels, from records or from a plain table of scored pictures.

Records are Parquet as `mllm-iqa data build` writes them, read here by these columns: id, images (bytes or path),
messages (the last one the assistant's), read_at, candidates, probs, answer (mos, std), sources ("dataset/name"), split.
A table is CSV or Parquet with the columns path (or image) and mos (1..5), and, if there, std, dataset and split.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from mllm_iqa.backends.base import Turn
from mllm_iqa.errors import DataError
from mllm_iqa.levels import LEVELS, MOS_MAX, MOS_MIN, SEVERITIES
from mllm_iqa.prompt_files import WRITTEN_LANGUAGES, load_prompt

from .labels import LabelPolicy, level_label


@dataclass(frozen=True, slots=True)
class Word:
    """A place in an answer where one of several words stands.

    Attributes:
        offset: in the answer; what stands there begins with one of the candidates.
        candidates: distinct words as they follow the text before, leading space included.
        probs: soft label over the candidates, summing to 1.
        scale: "level" or "severity" where the candidates are those, best or mildest first; else "".
    """

    offset: int
    candidates: tuple[str, ...]
    probs: tuple[float, ...]
    scale: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A picture that stands in a record: place `number` of the images of a row of a memory-mapped table."""

    table: Any
    row: int
    number: int

    def source(self) -> Path | bytes:
        """Its file, or its encoded bytes."""
        image = self.table[self.row]["images"][self.number]
        return Path(image["path"]) if image["bytes"] is None else bytes(image["bytes"])


@dataclass(frozen=True, slots=True)
class Example:
    """One conversation to learn from.

    Attributes:
        name: of the record, for messages.
        pictures: in the order they are shown.
        turns: the last one is the assistant's, whose words are learned.
        word: where its soft label is; None = there is none.
        mos: human score of the one picture that a level word rates; std: spread of its raters. Both None otherwise.
        dataset: whose scores may be compared with one another.
        prompts: the prompt versions its words are from.
        findings: (kind, severity 1..5) distortions of its picture, most harmful first; None = unknown.
    """

    name: str
    pictures: tuple[Path | Stored, ...]
    turns: tuple[Turn, ...]
    word: Word | None
    mos: float | None
    std: float | None
    dataset: str
    prompts: tuple[str, ...]
    findings: tuple[tuple[str, int], ...] | None = None


def read_examples(
    path: Path, *, split: str | None, policy: LabelPolicy, limit: int | None, seed: int
) -> tuple[Example, ...]:
    """The examples of a file, or of all Parquet files of a folder, in their order.

    Args:
        path: records or a table; which of the two is told by the columns.
        split: only rows with this value in their column split; None = all.
        policy: how a score becomes a soft label; records carry theirs, which `policy` replaces only when it is hard.
        limit: at most so many, chosen at random by the seed; None = all.
        seed: of that choice, and of the level word a table's answer says.

    Raises:
        DataError: naming file and row: nothing there, a column missing, a score off the scale, a picture missing.
    """
    files = _files(path)
    if files[0].suffix == ".parquet" and "messages" in pq.read_schema(files[0]).names:
        return _records(files, path, split, policy, limit, seed)
    rows: list[dict[str, Any]] = []
    for file in files:
        rows += _table(file)
    chosen = _chosen(path, [row.get("split") for row in rows], split, limit, seed)
    if "mos" not in rows[0] or not {"path", "image"} & rows[0].keys():
        raise DataError(
            f"{path}: is neither records (column messages) nor a table of scored pictures (columns path and mos); "
            f"its columns are: {', '.join(rows[0])}"
        )
    rng = np.random.default_rng(seed)
    return tuple(_from_table(rows[n], f"{path}, row {n + 1}", policy, rng) for n in chosen)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        shards = sorted(path.glob("**/*.parquet"))
        if not shards:
            raise DataError(f"{path}: the folder holds no Parquet file")
        return shards
    if not path.is_file():
        raise DataError(f"{path}: no such file or folder")
    if path.suffix not in (".parquet", ".csv"):
        raise DataError(f"{path}: must be a folder, a .parquet or a .csv")
    return [path]


def _chosen(path: Path, splits: list[str | None], split: str | None, limit: int | None, seed: int) -> list[int]:
    """Which rows of a file are taken, in order."""
    if split is not None and splits and not any(splits):
        raise DataError(f"{path}: has no column split, but split {split!r} is asked for")
    rows = [n for n, found in enumerate(splits) if split in (None, found)]
    if not rows:
        raise DataError(f"{path}: no rows" + (f" of split {split!r}" if split is not None else ""))
    if limit is None or limit >= len(rows):
        return rows
    return sorted(np.random.default_rng(seed).choice(rows, size=limit, replace=False).tolist())


def _table(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(file).to_pylist()
        return rows
    with file.open(newline="", encoding="utf-8-sig") as text:
        return list(csv.DictReader(text))


def _records(
    files: list[Path], path: Path, split: str | None, policy: LabelPolicy, limit: int | None, seed: int
) -> tuple[Example, ...]:
    """Records of shards; their pictures stay on disk, memory-mapped, until they are shown."""
    from datasets import Dataset, Image, List

    table: Any = Dataset.from_parquet([str(file) for file in files])
    table = table.cast_column("images", List(Image(decode=False)))
    rows = table.remove_columns("images")
    chosen = _chosen(
        path, list(rows["split"]) if "split" in rows.column_names else [None] * len(rows), split, limit, seed
    )
    return tuple(_from_record(rows[n], table, n, path, policy) for n in chosen)


def _from_table(row: dict[str, Any], where: str, policy: LabelPolicy, rng: np.random.Generator) -> Example:
    picture = Path(row.get("path") or row.get("image") or "")
    if not picture.is_file():
        raise DataError(f"{where}: no picture at {picture}")
    mos, std = _number(row["mos"], f"{where}: mos"), row.get("std")
    spread = None if std in (None, "") else _number(std, f"{where}: std")
    if mos is None or not MOS_MIN <= mos <= MOS_MAX:
        raise DataError(f"{where}: mos {row['mos']!r} is not a number from 1 to 5; bring scores to that scale first")
    if spread is not None and not spread > 0:
        spread = None  # raters who all agree give no spread to work with
    prompt = load_prompt("rate.v1")
    probs = level_label(mos, spread, policy)
    # Drawn from the label: what follows the word then follows the word and not the picture, and the terms of a word
    # of several tokens average to its whole KL (see words.py).
    said = LEVELS[int(rng.choice(len(LEVELS), p=probs))]
    level = prompt.phrase("level", level=said)
    answer = prompt.answer_prefix + level + prompt.phrase("end")
    candidates = tuple(prompt.phrase("level", level=word) for word in LEVELS)
    word = Word(len(prompt.answer_prefix), candidates, tuple(map(float, probs)), "level")
    turns = (Turn("user", prompt.question), Turn("assistant", answer))
    return Example(where, (picture,), turns, word, mos, spread, str(row.get("dataset") or ""), (prompt.name,))


def _number(value: Any, where: str) -> float | None:
    try:
        return None if value in (None, "") else float(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {value!r} is not a number") from error


def _from_record(row: dict[str, Any], table: Any, number: int, path: Path, policy: LabelPolicy) -> Example:
    name = f"{path}, record {row.get('id')}"
    try:
        answer, sources, prompts = row["answer"], row["sources"], tuple(row["prompts"])
        mos, std, read_at = answer["mos"], answer["std"], row["read_at"]
        candidates, probs = tuple(row["candidates"]), tuple(row["probs"])
        pictures = tuple(Stored(table, number, n) for n in range(_count(row["messages"])))
        turns = tuple(_turn(m, len(pictures) if n == 0 else 0, name) for n, m in enumerate(row["messages"]))
    except (KeyError, TypeError) as error:
        raise DataError(f"{name}: not a record of `mllm-iqa data build`: {error!r} is missing") from error
    if not turns or turns[-1].role != "assistant":
        raise DataError(f"{name}: the last message must be the assistant's, whose words are learned")
    known = answer.get("findings")
    findings = None if known is None else tuple((f["kind"], f["severity"]) for f in known if f["image"] == 0)
    if read_at < 0:
        return Example(name, pictures, turns, None, None, None, "", prompts, findings)
    scale = _scale(candidates)
    if scale == "level" and mos is not None and policy.labels == "hard":
        probs = tuple(float(p) for p in level_label(mos, std, policy))
    rated = scale == "level" and mos is not None
    return Example(
        name,
        pictures,
        turns,
        Word(read_at, candidates, probs, scale),
        mos if rated else None,
        std if rated else None,
        sources[0].partition("/")[0] if sources else "",
        prompts,
        findings,
    )


def _scale(candidates: Sequence[str]) -> str:
    """Which ordered scale the candidates are, in any language that records are written in; "" = neither."""
    words = tuple(word.strip().casefold() for word in candidates)
    return next((scale for scale, known in _scales() if words == known), "")


@cache
def _scales() -> tuple[tuple[str, tuple[str, ...]], ...]:
    found: list[tuple[str, tuple[str, ...]]] = []
    for language in WRITTEN_LANGUAGES:
        words = load_prompt("vocabulary.v1", language)
        found.append(("level", tuple(words.phrase(f"level/{level}") for level in LEVELS)))
        severities = range(1, len(SEVERITIES) + 1)
        found.append(("severity", tuple(words.phrase(f"severity/{severity}") for severity in severities)))
    return tuple(found)


def _count(messages: list[dict[str, Any]]) -> int:
    return sum(part["type"] == "image" for message in messages for part in message["content"])


def _turn(message: dict[str, Any], pictures: int, name: str) -> Turn:
    kinds = [part["type"] for part in message["content"]]
    if kinds.count("image") != pictures or "image" in kinds[pictures:]:
        raise DataError(f"{name}: its pictures must all stand at the start of the first message")
    return Turn(message["role"], "".join(part["text"] or "" for part in message["content"]))
