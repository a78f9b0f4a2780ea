"""Do two sets of records share content? By source group, by photograph, by perceptual hash, and by burst.

The rules, each enough by itself:
- group: a picture of both sets has the same source group.
- source: a picture of both sets was made from the same photograph.
- near-duplicate: two pictures' 64-bit DCT hashes, or that of one and of the mirror image of the other, differ in at
  most `NEAR_BITS` bits: re-encoded, resized, mirrored and mildly distorted copies.
- burst: two photographs whose names differ in a number alone, by at most `BURST_NUMBERS`, and whose hashes differ in at
  most `BURST_BITS` bits: frames of one scene.
Frames between which the camera moved are as far apart as strangers and are found by their group alone.
Pictures so flat that their hash is chance are compared by name alone. Strongly distorted copies are found by their
group or source, which records carry, not by their hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np

from mllm_iqa.errors import DataError

from ..sources import read_rgb
from .files import read_rows
from .near_duplicates import BURST_BITS, Fingerprint, fingerprint, near_pairs, same_scene

Rule: TypeAlias = Literal["group", "source", "near-duplicate", "burst"]


@dataclass(frozen=True, slots=True)
class Leak:
    """One thing that two sets share: the rule, a record of each, and what is shared in words."""

    rule: Rule
    first: str
    second: str
    detail: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.first} and {self.second}: {self.detail}"


@dataclass(slots=True)
class _Seen:
    """What a set shows: the first record with each group and source, and every picture once."""

    groups: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    pictures: list[_Pictured] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Pictured:
    """A picture by its fingerprint, with its photograph and the first record that shows it."""

    print: Fingerprint
    source: str
    record: str


def leaks(first: Path, second: Path) -> list[Leak]:
    """Everything two sets of records share, one entry per shared group, photograph, or pair of pictures.

    Raises:
        DataError: no records there, or a picture that cannot be read.
    """
    a, b = _seen(first), _seen(second)
    found = [
        Leak(rule, mine[name], theirs[name], name)
        for rule, mine, theirs in _names(a, b)
        for name in mine
        if name in theirs
    ]
    for near in near_pairs([p.print for p in a.pictures], [p.print for p in b.pictures], bits=BURST_BITS):
        mine, theirs = a.pictures[near.first], b.pictures[near.second]
        rule = same_scene(near, mine.source, theirs.source)
        if rule is not None:
            what = f"{mine.source} and {theirs.source}, {near.bits} of 64 bits apart"
            found.append(Leak(rule, mine.record, theirs.record, what))
    return found


def _names(a: _Seen, b: _Seen) -> Iterable[tuple[Rule, dict[str, str], dict[str, str]]]:
    return (("group", a.groups, b.groups), ("source", a.sources, b.sources))


def _seen(path: Path) -> _Seen:
    seen, known = _Seen(), set[bytes]()
    for row in read_rows(path, ("id", "images", "groups", "sources")):
        for image, group, source in zip(row["images"], row["groups"], row["sources"], strict=True):
            if group:
                seen.groups.setdefault(group, row["id"])
            if source:
                seen.sources.setdefault(source, row["id"])
            key = hashlib.sha256(image["bytes"] or image["path"].encode()).digest()
            if key in known:
                continue
            known.add(key)
            found = fingerprint(_pixels(image, row["id"]))
            if found is not None:
                seen.pictures.append(_Pictured(found, source, row["id"]))
    return seen


def _pixels(image: dict[str, Any], record: str) -> np.ndarray:
    if image["bytes"] is None:
        return read_rgb(Path(image["path"]))
    decoded = cv2.imdecode(np.frombuffer(image["bytes"], np.uint8), cv2.IMREAD_COLOR)
    if decoded is None:
        raise DataError(f"{record}: one of its pictures cannot be decoded")
    return np.ascontiguousarray(decoded[..., ::-1])
