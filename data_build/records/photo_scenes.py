"""Pictures with human scores: each one's rating, and comparisons and rankings of those of one data set."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mllm_iqa.levels import LEVELS, level_of_mos

from ..instructions import SAME_WITHIN
from . import choices, several, single
from .asked import Asked
from .material import Material, Scored
from .pictures import Picture, stored
from .tally import Tally
from .version_scenes import apart
from .words import Words

_APART = 0.6
"""MOS between two photographs whose raters are taken to disagree about which is better only rarely."""
_TRIES = 50
_RANKED_FROM = 12


class PhotoScenes:
    """Draws pictures of a split's material, levels and data sets balanced by the tally.

    Scores of different data sets are never compared: their scales have other ends and other raters.
    """

    def __init__(
        self, material: Material, max_side: int, as_path: bool, tally: Tally, rng: np.random.Generator
    ) -> None:
        self._material, self._max_side, self._as_path = material, max_side, as_path
        self._tally, self._rng = tally, rng
        self._by_level: dict[str, dict[str, list[Scored]]] = defaultdict(lambda: defaultdict(list))
        self._by_dataset: dict[str, list[Scored]] = defaultdict(list)
        for one in material.scored:
            self._by_level[one.dataset][level_of_mos(one.mos)].append(one)
            self._by_dataset[one.dataset].append(one)
        for one_set in self._by_dataset.values():
            one_set.sort(key=lambda one: one.mos)

    def asked(self, name: str, words: Words) -> Asked:
        """Ask one question of `mix.MIX` whose scene is "photo", "photos" or "pair"."""
        match name:
            case "rate/photo":
                return single.rate(self._picture(self._one()), words, self._tally)
            case "choice/photo":
                return choices.choice(self._picture(self._one()), words, self._tally)
            case "compare/photos":
                a, b = self._two()
                return several.compare(self._picture(a), self._picture(b), words, self._tally)
            case "rank/photos":
                return several.rank(self._some(), words, self._tally)
            case "rate_reference/photo":
                with_reference = [one for one in self._material.scored if one.reference is not None]
                one = words.pick(with_reference)
                assert one.reference is not None
                reference = self._plain(one.reference, one.source, one.group)
                return single.rate(self._picture(one), words, self._tally, reference=reference)
            case _:
                pair = words.pick(self._material.preferred)
                first, second, reference = (
                    self._plain(path, pair.source, pair.group) for path in (pair.first, pair.second, pair.reference)
                )
                return several.preferred(first, second, pair.prefers_first, words, self._tally, reference=reference)

    def _one(self) -> Scored:
        """A picture of the rarest level so far that its data set has."""
        levels = self._by_level[self._dataset()]
        rarest = self._tally.rarest("level", [level for level in LEVELS if levels[level]])
        return levels[rarest][int(self._rng.integers(len(levels[rarest])))]

    def _two(self) -> tuple[Scored, Scored]:
        """Two pictures of one data set, one in four times about equal, otherwise clearly not."""
        pictures = self._by_dataset[self._dataset()]
        about_equal = self._tally.least("wanted of photos", range(4)) == 0
        for _ in range(_TRIES):
            a = pictures[int(self._rng.integers(len(pictures)))]
            low, high = self._around(pictures, a.mos, SAME_WITHIN if about_equal else _APART)
            others = range(low, high) if about_equal else [*range(low), *range(high, len(pictures))]
            if len(others) > about_equal:
                b = pictures[others[int(self._rng.integers(len(others)))]]
                if b is not a:
                    return a, b
        first, second = (int(i) for i in self._rng.choice(len(pictures), 2, replace=False))
        return pictures[first], pictures[second]

    def _around(self, pictures: Sequence[Scored], mos: float, within: float) -> tuple[int, int]:
        """The range of places, in a list sorted by score, whose scores lie strictly within that distance."""
        return (
            bisect_right(pictures, mos - within, key=lambda one: one.mos),
            bisect_left(pictures, mos + within, key=lambda one: one.mos),
        )

    def _some(self) -> list[Picture]:
        pictures = self._by_dataset[self._dataset()]
        drawn = self._rng.permutation(len(pictures))[:_RANKED_FROM]
        return apart([self._picture(pictures[int(i)]) for i in drawn], self._tally, self._rng)

    def _dataset(self) -> str:
        enough = [name for name, pictures in self._by_dataset.items() if len(pictures) >= 3]
        return self._tally.least("data set", enough or list(self._by_dataset))

    def _picture(self, one: Scored) -> Picture:
        image = stored(one.path, self._max_side, as_path=self._as_path)
        return Picture(image, one.source, one.group, None, None, one.mos, one.std, "raters")

    def _plain(self, path: Path, source: str, group: str) -> Picture:
        return Picture(stored(path, self._max_side, as_path=self._as_path), source, group)
