"""Folders put in order: the outputs of models or codecs, compared over pictures of the same name and nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .comparing import PROMPT, OutcomeStore
from .cycles import Cycles, find_cycles
from .errors import BackendError, ConfigError, ImageError
from .inputs import find
from .picture_set import Known, PictureSet
from .rank_pictures import Advance, check_budget, comparer
from .ranking import ranks_of
from .terminal import printable
from .tournament import Played, play, possible_matches
from .types import Failure

if TYPE_CHECKING:
    from .assistant import Assistant


@dataclass(frozen=True, slots=True)
class RankedFolder:
    """One folder's place in a ranking.

    Attributes:
        folder: as it was given.
        index: its position among the folders given, from 0.
        rank: 1 = best; equal strengths share a rank.
        strength: natural-log strength, mean 0 over the folders; see `RankedImage`.
        error: its standard error, with every comparison counted as one.
        won, tied, lost: its comparisons by their most probable outcome.
        pictures: it has, of the names compared.
        missing: names that another folder has and this one has not, or not readable.
    """

    folder: str
    index: int
    rank: int
    strength: float
    error: float
    won: int
    tied: int
    lost: int
    pictures: int
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FolderRanking:
    """Folders from best to worst.

    Attributes:
        folders: best first.
        names: of pictures that were compared, at least two folders having them.
        comparisons: pairs of pictures compared, each in both orders.
        possible: how many pairs of pictures of the same name there are.
        order_flips: comparisons whose two orders named different winners.
        cycles: triples of folders that run in a circle.
        failures: pictures that could not be read.
        model, prompt: names and versions of what compared them.
    """

    folders: tuple[RankedFolder, ...]
    names: int
    comparisons: int
    possible: int
    order_flips: int
    cycles: Cycles
    failures: tuple[Failure, ...]
    model: str
    prompt: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{f.rank}. {f.folder} (strength {f.strength:+.2f} +- {f.error:.2f})" for f in self.folders]
        return "\n".join([*lines, f"{self.comparisons} of {self.possible} pairs of the same name compared"])


def rank_folders(
    assistant: Assistant,
    folders: Sequence[str | os.PathLike[str]],
    *,
    comparisons: int | None = None,
    store: OutcomeStore | None = None,
    advance: Advance = lambda done, of: None,
) -> FolderRanking:
    """Order folders by their pictures; every comparison is between pictures of the same name.

    A name is the path below the folder without its extension, so that `a/01.jpg` meets `b/01.webp`. Which pairs of
    folders meet next is what is expected to tell most; a pair meets over the names used least so far.

    Args:
        assistant: who judges.
        folders: 2 or more.
        comparisons: budget; None = all up to 496 (as many as 32 pictures have pairs), else 496.
        store: of outcomes, which are not asked for again.
        advance: told the comparisons made and their budget.

    Raises:
        ImageError: a folder without pictures, or no name in two folders.
        ConfigError: one folder, one given twice, two pictures of a folder that differ in their extension alone, or too
            small a budget.
        BackendError: the model cannot compare.
    """
    if "compare" not in assistant.can:
        raise BackendError(f"{assistant.backend.name} cannot compare pictures; score them instead")
    paths = [Path(folder) for folder in folders]
    if len(paths) < 2 or len({path.resolve() for path in paths}) < len(paths):
        raise ConfigError("ranking folders takes two or more different ones")
    files = [named_pictures(path) for path in paths]
    shared = sorted({name for own in files for name in own if sum(name in other for other in files) > 1})
    if not shared:
        raise ImageError("no two of the folders have a picture of the same name (extensions aside)")
    # By a hash, so that a budget that leaves names out does not take those of one kind; no more than can be used.
    names = sorted(shared, key=lambda name: sha256(name.encode("utf-8", "surrogateescape")).digest())[:comparisons]
    pictures = PictureSet(max_pixels=assistant.max_pixels)
    looked = [
        dict(zip(_having(own, names), pictures.look_at(own[n] for n in _having(own, names)), strict=True))
        for own in files
    ]
    digests = [{name: one.digest for name, one in own.items() if isinstance(one, Known)} for own in looked]
    order = sorted(range(len(paths)), key=lambda i: (_folder_digest(digests[i]), str(paths[i])))
    present = np.array([[name in digests[i] for name in names] for i in order])
    possible = possible_matches(present)
    if possible == 0:
        raise ImageError("no two of the folders have a readable picture of the same name")
    budget = min(possible, 496) if comparisons is None else min(comparisons, possible)
    check_budget(budget, len(paths), possible)
    played = play(
        present,
        comparer(assistant, pictures, lambda contestant, content: digests[order[contestant]][names[content]], store),
        budget=budget,
        advance=lambda done: advance(done, budget),
    )
    every = {name for own in files for name in own}
    missing = [
        sorted(every - set(own) | {n for n, one in seen.items() if isinstance(one, Failure)})
        for own, seen in zip(files, looked, strict=True)
    ]
    places, ranks = ranks_of(played.strengths.strengths)
    return FolderRanking(
        folders=tuple(
            RankedFolder(
                printable(str(paths[order[k]])),
                order[k],
                rank,
                float(played.strengths.strengths[k]),
                float(played.strengths.errors[k]),
                *_record(played, k),
                pictures=len(digests[order[k]]),
                missing=tuple(printable(name) for name in missing[order[k]]),
            )
            for k, rank in zip(places, ranks, strict=True)
        ),
        names=int((present.sum(axis=0) > 1).sum()),
        comparisons=len(played.matches),
        possible=possible,
        order_flips=played.flips,
        cycles=find_cycles(played.margins(), [printable(str(paths[i])) for i in order]),
        failures=tuple(one for own in looked for one in own.values() if isinstance(one, Failure)),
        model=assistant.backend.name,
        prompt=PROMPT,
    )


def named_pictures(folder: Path) -> dict[str, str]:
    """Path of each picture below a folder, by its path there without the extension.

    Raises:
        ImageError: no such folder, or no picture in it.
        ConfigError: two pictures of one name.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder}: there is no such folder")
    found: dict[str, str] = {}
    for item in find([str(folder)]):
        name = os.path.splitext(os.path.relpath(item.path, folder))[0]
        if name in found:
            raise ConfigError(
                f"{found[name]} and {item.path} have one name but for their extensions; leave one of them out"
            )
        found[name] = item.path
    return found


def _having(own: dict[str, str], names: Sequence[str]) -> list[str]:
    return [name for name in names if name in own]


def _folder_digest(digests: dict[str, str]) -> str:
    return sha256("\n".join(sorted(digests.values())).encode()).hexdigest()


def _record(played: Played, contestant: int) -> tuple[int, int, int]:
    """Comparisons won, tied and lost."""
    won = tied = lost = 0
    for match, outcome in zip(played.matches, played.outcomes, strict=True):
        if contestant not in (match.first, match.second):
            continue
        tied += outcome.winner == "tie"
        won += outcome.winner == ("a" if contestant == match.first else "b")
        lost += outcome.winner == ("b" if contestant == match.first else "a")
    return won, tied, lost
