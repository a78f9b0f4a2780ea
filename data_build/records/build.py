"""Writing records: shards side by side, each complete or not there, so that a killed build goes on to the same bytes.

A shard is a function of its number, the plan and the material alone; neither the number of workers nor where a build
was killed can be seen in it. One build writes to a folder at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from multiprocessing import get_context
from pathlib import Path

import cv2

from mllm_iqa.errors import DataError
from mllm_iqa.output_file import replaced_at_end
from mllm_iqa.prompt_files import WRITTEN_LANGUAGES, load_prompt, prompt_names

from ..distortions import DISTORTIONS
from .balance import write_balance
from .files import write_records
from .image_files import stored_by_content
from .material import Clean, Gathered, Material, Preferred, Scored
from .mix import MIX, askable
from .scenes import Shard, shard_records
from .schema import RECORD_SPLITS, Image, Record, RecordSplit

SHARD_RECORDS = 240

_HELD_OUT_SHARE = 20
"""One in so many records is of val, and as many of test."""


class Pictures(StrEnum):
    """How records hold pictures."""

    bytes = "bytes"
    paths = "paths"


@dataclass(frozen=True, slots=True)
class RecordsPlan:
    """What to write.

    Attributes:
        count: records of all splits together.
        seed: of everything drawn.
        languages: to ask in, all equally often.
        max_side: larger pictures are reduced to this, in px.
        pictures: inside the records, or the paths of files: photographs that need no change where they lie, all others
            in `images/` beside the records.
    """

    count: int
    seed: int = 0
    languages: tuple[str, ...] = WRITTEN_LANGUAGES
    max_side: int = 512
    pictures: Pictures = Pictures.bytes


def build_records(gathered: Gathered, out: Path, *, plan: RecordsPlan, workers: int = 2) -> Iterator[Path]:
    """Write the shards and `balance.json`; yields each path as it is complete (existing ones at once).

    Raises:
        DataError: no material for training records, a picture that cannot be read, or records of another plan, of other
            material or of other prompts in the folder.
    """
    jobs = shards(gathered, plan)
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, plan, gathered)
    for partial in out.rglob(".*.partial"):  # what a killed build left
        partial.unlink()
    folder = out.resolve()
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_receive, initargs=(gathered.splits,)
    ) as pool:
        futures = [pool.submit(_write_shard, folder, shard) for shard in jobs]
        try:
            for future in futures:
                yield out / future.result()
        finally:
            pool.shutdown(cancel_futures=True)
    yield write_balance(out)


def shards(gathered: Gathered, plan: RecordsPlan) -> list[Shard]:
    """The shards of a build, of every split; a split without material gives its records to train.

    Raises:
        DataError: no material for training records.
    """
    held_out = plan.count // _HELD_OUT_SHARE
    counts: dict[RecordSplit, int] = {"val": held_out, "test": held_out}
    counts = {split: count for split, count in counts.items() if askable(gathered.splits[split])}
    counts["train"] = plan.count - sum(counts.values())
    if not askable(gathered.splits["train"]):
        raise DataError("no clean or scored photograph is left for training records; name more sources")
    found = []
    for split in RECORD_SPLITS:
        for number, start in enumerate(range(0, counts.get(split, 0), SHARD_RECORDS)):
            size = min(SHARD_RECORDS, counts[split] - start)
            as_path = plan.pictures is Pictures.paths
            found.append(Shard(split, number, size, plan.seed, plan.languages, plan.max_side, as_path))
    return found


_material: dict[RecordSplit, Material] = {}


def _receive(splits: dict[RecordSplit, Material]) -> None:
    cv2.setNumThreads(1)
    _material.update(splits)


def _write_shard(out: Path, shard: Shard) -> str:
    """Write a shard unless it is there; returns its name."""
    path = out / f"{shard.split}-{shard.number:05d}.parquet"
    if not path.exists():
        records = shard_records(_material[shard.split], shard)
        if shard.as_path:
            records = [_with_paths(record, out / "images") for record in records]
        write_records(records, path)
    return path.name


def _with_paths(record: Record, folder: Path) -> Record:
    """The record with its pictures as files, named by their content."""
    files = (
        image if image.bytes is None else Image(None, str(stored_by_content(image.bytes, folder)))
        for image in record.images
    )
    return replace(record, images=tuple(files))


def _claim(out: Path, plan: RecordsPlan, gathered: Gathered) -> None:
    """Note in the folder what its files are made from, or check that it is the same."""
    path = out / "plan.json"
    made_from = {
        "material": [
            [split, *([_identity(item) for item in items] for items in (there.clean, there.scored, there.preferred))]
            for split, there in gathered.splits.items()
        ],
        "words": [
            load_prompt(name, language).model_dump(mode="json")
            for language in WRITTEN_LANGUAGES
            for name in prompt_names(language)
        ],
        "mix": repr(MIX),
        "distortions": list(DISTORTIONS),
    }
    digests = {name: hashlib.sha256(json.dumps(what).encode()).hexdigest() for name, what in made_from.items()}
    text = json.dumps(asdict(plan) | {"sha256": digests}, indent=2) + "\n"
    if path.exists() or any(out.glob("*.parquet")):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            raise DataError(
                f"{out}: holds records of another plan, of other sources or of other prompts (see its plan.json); "
                "name another folder"
            )
        return
    with replaced_at_end(path) as file:
        file.write(text.encode())


def _identity(item: Clean | Scored | Preferred) -> list[str]:
    """The fields of an item, files by their names: where they lie does not matter."""
    values = (getattr(item, field.name) for field in fields(item))
    return [value.name if isinstance(value, Path) else repr(value) for value in values]
