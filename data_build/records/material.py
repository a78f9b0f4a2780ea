"""What records are made of: clean photographs, pictures with human scores and pairs that people compared, in splits.

The splits share no reference, near-duplicate or burst. Photographs that the shipped model was tested with (the "val" of
`sources.py`) are the test split here, so that whatever is tuned on the rest can be compared with it; a part of those
it was trained on is "val" here, which says nothing about the shipped model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mllm_iqa.errors import ConfigError, DataError

from ..sources import Photo, clean_sources, read_biq2021, read_bsds500, read_rgb
from .near_duplicates import BURST_BITS, Fingerprint, fingerprint, near_pairs, same_scene
from .reading import read_reading
from .schema import RECORD_SPLITS, RecordSplit

_HELD_OUT_PERCENT = 6
"""Share of the groups that goes to val, and to test where nothing else says what test is."""


_KEPT_BEFORE: dict[RecordSplit, tuple[RecordSplit, ...]] = {"val": ("test",), "train": ("test", "val")}
"""The splits whose pictures stay where a near-duplicate stands in this one."""


@dataclass(frozen=True, slots=True)
class Clean:
    """An undistorted photograph."""

    path: Path
    source: str
    group: str


@dataclass(frozen=True, slots=True)
class Scored:
    """A picture with a human score; the fields mean what they mean in `readers.records.Rated`."""

    path: Path
    mos: float
    std: float | None
    reference: Path | None
    dataset: str
    source: str
    group: str


@dataclass(frozen=True, slots=True)
class Preferred:
    """Two versions of a reference, and the share of people who prefer the first."""

    first: Path
    second: Path
    reference: Path
    prefers_first: float
    source: str
    group: str


@dataclass(frozen=True, slots=True)
class Material:
    """What the records of one split are made of, in a fixed order."""

    clean: tuple[Clean, ...] = ()
    scored: tuple[Scored, ...] = ()
    preferred: tuple[Preferred, ...] = ()


@dataclass(frozen=True, slots=True)
class Gathered:
    """The material of every split, and how many groups were left out as another split shows the same."""

    splits: dict[RecordSplit, Material]
    left_out: int


@dataclass(slots=True)
class _Pool:
    """All material, with the split that each group was given."""

    clean: list[Clean] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)
    preferred: list[Preferred] = field(default_factory=list)
    split_of: dict[str, RecordSplit] = field(default_factory=dict)

    def give(self, group: str, split: RecordSplit, where: str) -> None:
        """Note the split of a group; a DataError when it has another already."""
        if self.split_of.setdefault(group, split) != split:
            raise DataError(f"{where}: {group} stands in {self.split_of[group]} and in {split}; give it one split")


def gather(biq2021: Path | None, bsds500: Path | None, readings: Sequence[Path], *, workers: int = 2) -> Gathered:
    """Read the sources and split them.

    Args:
        biq2021: folder of photographs, as in `sources`; None = without.
        bsds500: another.
        readings: Parquet files that `mllm-iqa data read` wrote; their official splits are kept.
        workers: threads that decode pictures.

    Raises:
        ConfigError: no source at all.
        DataError: a source that is missing or unreadable, or whose splits share a group.
    """
    if biq2021 is None and bsds500 is None and not readings:
        raise ConfigError("nothing to make records of; name --biq2021, --bsds500 or --reading")
    pool = _Pool()
    photos = ([] if biq2021 is None else read_biq2021(biq2021)) + ([] if bsds500 is None else read_bsds500(bsds500))
    _add_photos(photos, pool)
    for path in readings:
        _add_reading(path, pool)
    kept = _without_shared_scenes(pool, workers)
    splits = {split: _of_split(pool, {g for g in kept if pool.split_of[g] == split}) for split in RECORD_SPLITS}
    return Gathered(splits, len(pool.split_of) - len(kept))


def _add_photos(photos: Sequence[Photo], pool: _Pool) -> None:
    clean = {photo.path for photo in clean_sources(list(photos))}
    for photo in photos:
        group, source = f"{photo.dataset}/{photo.group}", f"{photo.dataset}/{photo.path.name}"
        held_out: RecordSplit = "val" if _percent(group) < _HELD_OUT_PERCENT else "train"
        pool.give(group, "test" if photo.split == "val" else held_out, photo.dataset)
        if photo.path in clean:
            pool.clean.append(Clean(photo.path, source, group))
        if photo.mos is not None:
            pool.scored.append(Scored(photo.path, photo.mos, None, None, photo.dataset, source, group))


def _add_reading(path: Path, pool: _Pool) -> None:
    reading = read_reading(path)
    if reading.unrated:
        raise DataError(f"{path}: {reading.dataset} has no scores; records need rated pictures or pairs")
    for rated in reading.rated:
        pool.give(rated.group, rated.split or _drawn_split(rated.group), str(path))
        source = f"{rated.dataset}/{rated.image.name}"
        pool.scored.append(
            Scored(rated.image, rated.mos, rated.std, rated.reference, rated.dataset, source, rated.group)
        )
    for pair in reading.pairs:
        pool.give(pair.group, pair.split or _drawn_split(pair.group), str(path))
        source = f"{pair.dataset}/{pair.reference.name}"
        pool.preferred.append(
            Preferred(pair.first, pair.second, pair.reference, pair.prefers_first, source, pair.group)
        )


def _percent(group: str) -> int:
    return int(hashlib.sha256(f"records/{group}".encode()).hexdigest(), 16) % 100


def _drawn_split(group: str) -> RecordSplit:
    percent = _percent(group)
    return "val" if percent < _HELD_OUT_PERCENT else "test" if percent < 2 * _HELD_OUT_PERCENT else "train"


def _without_shared_scenes(pool: _Pool, workers: int) -> set[str]:
    """The groups that may stay: none that shows the same, a burst's other frame included, as one of another split.

    Those of test stay, then those of val.
    """
    pictures = {picture.path: picture for picture in _pictures(pool)}
    with ThreadPoolExecutor(workers) as threads:
        prints = list(threads.map(lambda path: fingerprint(read_rgb(path)), pictures))
    by_split: dict[RecordSplit, list[tuple[_Compared, Fingerprint]]] = {split: [] for split in RECORD_SPLITS}
    for picture, found in zip(pictures.values(), prints, strict=True):
        if found is not None:
            by_split[pool.split_of[picture.group]].append((picture, found))
    kept = set(pool.split_of)
    for loser, winners in _KEPT_BEFORE.items():
        mine = by_split[loser]
        theirs = [pair for winner in winners for pair in by_split[winner] if pair[0].group in kept]
        for near in near_pairs([f for _, f in mine], [f for _, f in theirs], bits=BURST_BITS):
            here, there = mine[near.first][0], theirs[near.second][0]
            if same_scene(near, here.source, there.source) is not None:
                kept.discard(here.group)
    return kept


@dataclass(frozen=True, slots=True)
class _Compared:
    """A picture that stands for its group: where it lies, and the name of its photograph."""

    path: Path
    source: str
    group: str


def _pictures(pool: _Pool) -> Iterator[_Compared]:
    """What is compared of every group: its reference where there is one, else the pictures themselves."""
    for clean in pool.clean:
        yield _Compared(clean.path, clean.source, clean.group)
    for scored in pool.scored:
        yield _Compared(scored.reference or scored.path, scored.source, scored.group)
    for preferred in pool.preferred:
        yield _Compared(preferred.reference, preferred.source, preferred.group)


M = TypeVar("M", Clean, Scored, Preferred)


def _of_split(pool: _Pool, groups: set[str]) -> Material:
    def chosen(items: Iterable[M]) -> tuple[M, ...]:
        return tuple(item for item in items if item.group in groups)

    return Material(chosen(pool.clean), chosen(pool.scored), chosen(pool.preferred))
