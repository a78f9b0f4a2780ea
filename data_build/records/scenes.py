"""The records of one shard: pictures made once, several questions asked about them, everything balanced by a tally.

A shard is a function of the material of its split, the seed and its number, and of nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..distortions import DISTORTIONS
from . import choices, explained, presence, single
from .asked import Asked
from .material import Clean, Material
from .mix import askable, quotas
from .photo_scenes import PhotoScenes
from .pictures import Picture, believable, distorted, distorted_in_part, draw, scored_names, undistorted
from .schema import RECORD_SPLITS, Record, RecordSplit
from .tally import Tally
from .version_scenes import version_questions
from .words import Words

_QUESTIONS_PER_PICTURE = 4
_QUESTIONS_PER_VERSIONS = 6
_CLEAN_EVERY = 4
"""One in so many pictures whose score is known is shown undistorted."""


_TRIES = 5
"""Draws of distortions until a viewer would agree; after that the last is taken."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Which records to make.

    Attributes:
        split: whose material is given.
        number: of the shard in its split.
        count: how many records.
        seed: of the whole build.
        languages: to ask in, all equally often.
        max_side: no picture is larger, in px.
        as_path: whether photographs that need no change are named by their path.
    """

    split: RecordSplit
    number: int
    count: int
    seed: int
    languages: tuple[str, ...]
    max_side: int
    as_path: bool = False


def shard_records(material: Material, shard: Shard) -> list[Record]:
    """The records of a shard, in random order."""
    rng = np.random.default_rng([shard.seed, RECORD_SPLITS.index(shard.split), shard.number])
    asked = list(_Maker(material, shard, rng).all())
    order = rng.permutation(len(asked))
    name = f"{shard.split}-{shard.number:05d}"
    return [asked[int(i)].record(f"{name}-{place:04d}", shard.split, shard.seed) for place, i in enumerate(order)]


class _Maker:
    """What the scenes of a shard share: the tally, and which photograph comes next."""

    def __init__(self, material: Material, shard: Shard, rng: np.random.Generator) -> None:
        self._material, self._shard, self._rng = material, shard, rng
        self._tally = Tally(rng)
        self._clean = self._next_clean()
        self._pictures = 0

    def all(self) -> Iterator[Asked]:
        """Every record; photographs come last, as they fill up the levels that synthetic pictures left rare."""
        questions = askable(self._material)
        names: dict[str, list[str]] = {question.scene: [] for question in questions}
        for question, count in zip(questions, quotas(questions, self._shard.count), strict=True):
            names[question.scene] += [question.name] * count
        for scene in ("graded", "named", "two", "part"):
            for group in self._groups(names.get(scene, []), _QUESTIONS_PER_PICTURE):
                picture = self._picture(scene)
                for name in group:
                    yield _single(name, picture, self._words(name), self._tally)
        for group in self._groups(names.get("versions", []), _QUESTIONS_PER_VERSIONS):
            clean, other = self._undistorted(), self._undistorted()
            yield from version_questions(group, clean, other, self._words, self._tally, self._rng)
        photos = PhotoScenes(self._material, self._shard.max_side, self._shard.as_path, self._tally, self._rng)
        for name in [name for scene in ("photo", "photos", "pair") for name in names.get(scene, [])]:
            yield photos.asked(name, self._words(name))

    def _groups(self, names: Sequence[str], size: int) -> list[list[str]]:
        """Questions in random groups of up to `size`, no question twice in a group unless it must."""
        groups: list[list[str]] = [[] for _ in range(-(-len(names) // size))]
        for name in sorted(names, key=lambda name: (-names.count(name), name)):
            room = [group for group in groups if len(group) < size]
            fewest = min(group.count(name) for group in room)
            best = [group for group in room if group.count(name) == fewest]
            best[int(self._rng.integers(len(best)))].append(name)
        return groups

    def _words(self, name: str) -> Words:
        return Words(self._tally.least(("language", name), self._shard.languages), self._rng)

    def _picture(self, scene: str) -> Picture:
        clean = self._undistorted()
        if scene == "part":
            return distorted_in_part(clean, self._tally, self._rng)
        count, names = 2 if scene == "two" else 1, tuple(DISTORTIONS)
        if scene == "graded":
            self._pictures += 1
            count, names = int(self._pictures % _CLEAN_EVERY != 1), scored_names()
        for _ in range(_TRIES):
            picture = distorted(clean, draw(count, self._tally, self._rng, names=names), self._rng)
            if believable(picture):
                break
        return picture

    def _undistorted(self) -> Picture:
        clean = next(self._clean)
        return undistorted(clean.path, clean.source, clean.group, self._shard.max_side, self._rng)

    def _next_clean(self) -> Iterator[Clean]:
        """The clean photographs in random order, over and over."""
        while True:
            for place in self._rng.permutation(len(self._material.clean)):
                yield self._material.clean[int(place)]


_ASK = {
    "rate": single.rate,
    "assess": explained.assess,
    "steps": explained.steps,
    "choice": choices.choice,
    "refusal": single.refusal,
    "presence": presence.presence,
    "distortion": single.distortion,
    "distortion_one": single.distortion_one,
    "distortion_two": single.distortion_two,
    "distortion_choice": choices.distortion_choice,
    "severity": single.severity,
    "where": single.where,
}


def _single(name: str, picture: Picture, words: Words, tally: Tally) -> Asked:
    return _ASK[name.partition("/")[0]](picture, words, tally)
