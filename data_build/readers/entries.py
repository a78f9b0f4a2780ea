"""What the parsers say of each picture or pair before anything is checked, in the words of the archive."""

from __future__ import annotations

from dataclasses import dataclass

from .records import Split

_SPLITS: dict[str, Split] = {
    **{name: "train" for name in ("train", "training", "0")},
    **{name: "val" for name in ("val", "valid", "validation", "1")},
    **{name: "test" for name in ("test", "testing", "2")},
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One picture: paths relative to the archive, and scores as they stand in it (`collect` parses them).

    Attributes:
        original, original_std: the archive's own values where `score` and `std` were already converted.
        votes: number or share of votes for each value of the scale, lowest first.
        group: name of the group inside the family; None = the picture itself.
    """

    image: str
    score: object = None
    std: object = None
    original: object = None
    original_std: object = None
    reference: str | None = None
    distortion: str | None = None
    level: int | None = None
    votes: tuple[float, ...] | None = None
    split: Split | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class PairEntry:
    """One pair: paths relative to the archive and the probability that the first is preferred, as it stands there."""

    first: str
    second: str
    reference: str
    prefers_first: object
    split: Split | None
    group: str


def split_named(name: object) -> Split | None:
    """The split that a word or number of an archive means (0, 1, 2 = train, val, test); None for anything else."""
    return _SPLITS.get(str(name).strip().lower())
