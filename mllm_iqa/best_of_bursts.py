"""The best picture of each group of near-duplicates: scores propose, a direct comparison confirms or doubts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, TypeAlias

from .assistant import Assistant
from .containers import Item
from .errors import ConfigError, ImageError
from .gallery.scan import Found
from .images import Picture, load_image, read_encoded
from .near_duplicates import Fingerprint, fingerprint, near_groups
from .prefetch import decoding_threads, in_order
from .score_stream import judged
from .terminal import printable
from .types import Failure, Score

Transfer: TypeAlias = Literal["copy", "hardlink", "symlink"]
Verdict: TypeAlias = Literal["clear", "uncertain", "equal files"]


@dataclass(frozen=True, slots=True)
class Scored:
    """A picture of a group: its name below the folder and its MOS."""

    name: str
    mos: float


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures that show the same.

    Attributes:
        pictures: best first.
        margin: MOS of the best less that of the next.
        verdict: "clear" when the direct comparison of the best two, in both orders, names the same winner;
            "equal files" when the best two have the same bytes; else "uncertain": the choice is within what the model
            can tell.
        probability: that the best is better than the next, by the comparison; None where none was made.
    """

    pictures: tuple[Scored, ...]
    margin: float
    verdict: Verdict
    probability: float | None

    @property
    def best(self) -> str:
        """Name of the picture to keep."""
        return self.pictures[0].name


@dataclass(frozen=True, slots=True)
class Deduped:
    """What a folder holds: groups, names of pictures that resemble no other, and what could not be judged."""

    groups: tuple[Group, ...]
    singles: tuple[str, ...]
    failures: tuple[Failure, ...]
    model: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Seen:
    sha256: str
    print: Fingerprint | None


def best_of_bursts(
    assistant: Assistant,
    found: Sequence[Found],
    *,
    advance: Callable[[str, int, int], None] = lambda what, done, of: None,
) -> Deduped:
    """Group pictures that show the same, score those of a group, and choose the best of each.

    Args:
        assistant: who judges.
        found: the pictures.
        advance: told what is being done, how far it is, and how far it goes.
    """
    seen: list[_Seen | Failure] = []
    threads = decoding_threads()
    for one in in_order(_look, found, threads=threads, ahead=2 * threads):
        seen.append(one)
        advance("reading", len(seen), len(found))
    prints = [None if isinstance(one, Failure) else one.print for one in seen]
    members = near_groups(prints, [one.name for one in found])
    grouped = [place for group in members for place in group]
    scores: dict[int, Score | Failure] = {}
    items = [Item(found[place].name, found[place].path) for place in grouped]
    for place, result in zip(grouped, judged(assistant, items, explain=False), strict=True):
        assert result.result is not None
        scores[place] = result.result
        advance("scoring", len(scores), len(grouped))
    failures = [one for one in (*seen, *scores.values()) if isinstance(one, Failure)]
    groups = []
    for done, group in enumerate(members, 1):
        ranked = sorted(
            ((p, s) for p in group if isinstance(s := scores[p], Score)),
            key=lambda one: (-one[1].mos, found[one[0]].name),
        )
        if len(ranked) > 1:
            groups.append(_group(assistant, found, seen, ranked))
        advance("comparing", done, len(members))
    inside = set(grouped)
    singles = [one.name for i, one in enumerate(found) if i not in inside and not isinstance(seen[i], Failure)]
    return Deduped(tuple(groups), tuple(singles), tuple(failures), assistant.backend.name)


def _group(
    assistant: Assistant, found: Sequence[Found], seen: Sequence[_Seen | Failure], ranked: Sequence[tuple[int, Score]]
) -> Group:
    """A group of two or more scored pictures, best first."""
    (first, best), (second, next_best) = ranked[:2]
    pictures = tuple(Scored(found[place].name, score.mos) for place, score in ranked)
    margin = best.mos - next_best.mos
    one, other = seen[first], seen[second]
    if isinstance(one, _Seen) and isinstance(other, _Seen) and one.sha256 == other.sha256:
        return Group(pictures, margin, "equal files", None)
    if "compare" not in assistant.can:
        return Group(pictures, margin, "uncertain", None)
    compared = assistant.compare(found[first].path, found[second].path, explain=False)
    sure = compared.winner == "a" and not compared.order_flip and margin > 0
    return Group(pictures, margin, "clear" if sure else "uncertain", compared.probabilities["a"])


def put(folder: Path, names: Sequence[str], to: Path, *, how: Transfer) -> tuple[int, list[str]]:
    """Put pictures into another folder under the same names; nothing there is overwritten.

    Returns:
        How many are there now, those that already were included; and one sentence for each that could not be put.

    Raises:
        ConfigError: the target is the folder itself or lies inside it, or is a file.
    """
    if to.resolve() == folder.resolve() or folder.resolve() in to.resolve().parents:
        raise ConfigError(f"--to {to} lies in the folder of the pictures; name one elsewhere")
    if to.exists() and not to.is_dir():
        raise ConfigError(f"--to {to} is a file; name a folder")
    there, faults = 0, []
    for name in names:
        source, target = (folder / name).resolve(), to / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(target):
                if target.exists() and (target.samefile(source) or target.read_bytes() == source.read_bytes()):
                    there += 1
                else:
                    faults.append(f"{target} is there and is another picture; it was left alone")
                continue
            if how == "copy":
                partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
                shutil.copy2(source, partial)
                os.link(partial, target)  # fails where a file has appeared meanwhile
                partial.unlink()
            elif how == "hardlink":
                os.link(source, target)
            else:
                target.symlink_to(source)
            there += 1
        except OSError as error:
            faults.append(f"{target}: {error.strerror}")
    return there, faults


def _look(one: Found) -> _Seen | Failure:
    try:
        data = read_encoded(one.path)
        picture: Picture = load_image(data, name=printable(one.name), max_pixels=256 * 256)
    except ImageError as error:
        return Failure(printable(one.name), str(error).removeprefix(f"{printable(one.name)}: "))
    return _Seen(sha256(data).hexdigest(), fingerprint(picture.pixels))
