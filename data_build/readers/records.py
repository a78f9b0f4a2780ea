"""What a reader hands back: rated pictures, rated pairs or unrated pictures, and what was wrong on the way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Split: TypeAlias = Literal["train", "val", "test"]
Kind: TypeAlias = Literal[
    "duplicate",
    "missing image",
    "missing reference",
    "score outside the scale",
    "unreadable image",
    "unreadable score",
    "unreadable score file",
    "wrong count",
]


@dataclass(frozen=True, slots=True)
class Rated:
    """One picture with its human score.

    Attributes:
        image: the file, which exists.
        mos: 1 (bad) to 5 (excellent), higher = better whatever the archive's direction.
        std: spread of the raters in MOS units; None where the archive has none, or has another quantity.
        original: the archive's own score, on its own scale and in its own direction.
        original_std: the archive's own deviation, whatever it measures.
        reference: the undistorted picture, which exists; None without one.
        distortion: what was done to the picture, in the archive's terms; None for photographs as taken.
        level: the archive's level number of that distortion, 1 = mildest.
        distribution: share of the votes for each value of the archive's scale, lowest value first; sums to 1.
        dataset: name of the reader.
        split: the archive's official split; None where it has none.
        group: what must never be split apart, such as all versions of one reference; `family/name`, so that groups of
            different sets differ, except where the sets share their references (TID2008 and TID2013).
    """

    image: Path
    mos: float
    std: float | None
    original: float
    original_std: float | None
    reference: Path | None
    distortion: str | None
    level: int | None
    distribution: tuple[float, ...] | None
    dataset: str
    split: Split | None
    group: str


@dataclass(frozen=True, slots=True)
class RatedPair:
    """Two versions of one reference, and the probability in [0, 1] that people prefer the first."""

    first: Path
    second: Path
    reference: Path
    prefers_first: float
    dataset: str
    split: Split | None
    group: str


@dataclass(frozen=True, slots=True)
class Unrated:
    """One picture without a score; the fields mean what they mean in `Rated`."""

    image: Path
    reference: Path | None
    distortion: str | None
    level: int | None
    dataset: str
    group: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with an archive: its kind, the file it is about, and what is wrong in words."""

    kind: Kind
    path: Path
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: one of the three tuples holds the records, the others are empty.

    Attributes:
        problems: what was skipped or found wrong, in the order met; empty unless `skip_bad` was asked for.
    """

    dataset: str
    rated: tuple[Rated, ...] = ()
    pairs: tuple[RatedPair, ...] = ()
    unrated: tuple[Unrated, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def records(self) -> tuple[Rated, ...] | tuple[RatedPair, ...] | tuple[Unrated, ...]:
        """The records, whichever they are."""
        return self.rated or self.pairs or self.unrated

    @property
    def skipped(self) -> dict[Kind, int]:
        """How many problems of each kind were met."""
        return dict(Counter(problem.kind for problem in self.problems))


def describe(dataset: str, root: Path, problems: tuple[Problem, ...], *, limit: int | None = None) -> str:
    """One sentence with the problems and their paths; after `limit` of them (None = all) only how many more."""
    shown = problems if limit is None else problems[:limit]
    more = len(problems) - len(shown)
    count = f"{len(problems):,} problem{'s' if len(problems) != 1 else ''}"
    tail = f"; and {more:,} more" if more else ""
    return f"{root}: {count} reading {dataset}: {'; '.join(map(str, shown))}{tail}"
