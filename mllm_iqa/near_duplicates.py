"""Which pictures show the same: a photograph re-encoded, resized, mirrored or lightly edited, or frames of a burst."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image
from scipy.fft import dctn

NEAR_BITS = 6
"""Pictures whose 64-bit hashes, one of them perhaps of the mirrored picture, differ in no more bits are near."""

BURST_BITS = 20
"""So far apart may the hashes of two frames of a burst be."""

BURST_NUMBERS = 3
"""So far apart may the numbers in their names be."""

FLAT = 3.0
"""Standard deviation in grey levels below which a picture has nothing to compare."""

_BLOCK = 2048


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The perceptual hash of a picture and of its mirror image."""

    hash: int
    mirrored: int


@dataclass(frozen=True, slots=True)
class Near:
    """Two pictures by their places in two lists, and the bits their hashes differ in."""

    first: int
    second: int
    bits: int


def fingerprint(pixels: np.ndarray) -> Fingerprint | None:
    """The fingerprint of uint8 RGB pixels (H, W, 3); None for a picture so flat that its hash would be chance.

    The hash holds the signs of the 8x8 lowest frequencies of the grey picture at 32x32, against their median.
    """
    small = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BOX), dtype=np.float64)
    if small.mean(axis=2).std() < FLAT:
        return None
    grey = small @ (0.299, 0.587, 0.114)
    return Fingerprint(_hash(grey), _hash(grey[:, ::-1]))


def _hash(grey: np.ndarray) -> int:
    low = dctn(grey, norm="ortho")[:8, :8].ravel()
    return int(np.packbits(low > np.median(low)).tobytes().hex(), 16)


def near_pairs(first: list[Fingerprint], second: list[Fingerprint], *, bits: int = NEAR_BITS) -> Iterator[Near]:
    """Pairs of one picture of each list whose hashes differ in at most `bits`, mirrored or not, by place."""
    if not first or not second:
        return
    mine = np.array([picture.hash for picture in first], dtype=np.uint64)
    theirs = np.array([(picture.hash, picture.mirrored) for picture in second], dtype=np.uint64)
    for start in range(0, len(mine), _BLOCK):
        block = mine[start : start + _BLOCK, None]
        apart = np.minimum(np.bitwise_count(block ^ theirs[:, 0]), np.bitwise_count(block ^ theirs[:, 1]))
        for i, j in zip(*np.nonzero(apart <= bits), strict=True):
            yield Near(start + int(i), int(j), int(apart[i, j]))


def same_scene(near: Near, first: str, second: str) -> Literal["near-duplicate", "burst"] | None:
    """What two pictures, called by the names of their photographs, have in common; None = nothing that counts.

    Near-duplicates differ in at most `NEAR_BITS` bits. Frames of a burst differ in at most `BURST_BITS`, and their
    names in one number alone, the last, by at most `BURST_NUMBERS`.
    """
    if near.bits <= NEAR_BITS:
        return "near-duplicate"
    parts = [re.fullmatch(r"(.*?)(\d+)(\D*)", name) for name in (first, second)]
    if near.bits > BURST_BITS or parts[0] is None or parts[1] is None:
        return None
    before, number, after = parts[0].groups()
    other_before, other_number, other_after = parts[1].groups()
    one_series = (before, after) == (other_before, other_after)
    return "burst" if one_series and abs(int(number) - int(other_number)) <= BURST_NUMBERS else None


def near_groups(prints: Sequence[Fingerprint | None], names: Sequence[str]) -> list[list[int]]:
    """Groups of pictures that show the same, by place, each ascending and of two or more; see `same_scene`.

    Whatever is near something in a group belongs to it, so the ends of a long burst may differ more than neighbors do.
    Near-duplicates are found exactly and in about linear time: hashes that differ in at most `NEAR_BITS` bits agree
    wholly in one of `NEAR_BITS` + 1 parts. Frames of a burst are looked for among neighboring names alone.

    Args:
        prints: of each picture; None = compared with nothing.
        names: of each picture, with its folder; the extension is left out of what is compared.
    """
    parent = list(range(len(prints)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def join(i: int, j: int) -> None:
        low, high = sorted((root(i), root(j)))
        parent[high] = low

    by_print: dict[Fingerprint, int] = {}
    for i, known in enumerate(prints):
        if known is not None:
            join(by_print.setdefault(known, i), i)
    some = list(by_print.values())
    for i, j in _near(list(by_print)):
        join(some[i], some[j])
    for i, j in _neighbors(names):
        first, second = prints[i], prints[j]
        if first is not None and second is not None:
            bits = min((first.hash ^ second.hash).bit_count(), (first.hash ^ second.mirrored).bit_count())
            if bits <= BURST_BITS and same_scene(Near(i, j, bits), _stem(names[i]), _stem(names[j])) is not None:
                join(i, j)
    groups: dict[int, list[int]] = {}
    for i in range(len(prints)):
        groups.setdefault(root(i), []).append(i)
    return [members for members in groups.values() if len(members) > 1]


def _near(prints: Sequence[Fingerprint]) -> Iterator[tuple[int, int]]:
    """Places of two different fingerprints within `NEAR_BITS` bits, mirrored or not."""
    parts = [(64 * k // (NEAR_BITS + 1), 64 * (k + 1) // (NEAR_BITS + 1)) for k in range(NEAR_BITS + 1)]
    mine = np.array([one.hash for one in prints], dtype=np.uint64)
    both = np.concatenate([mine, np.array([one.mirrored for one in prints], dtype=np.uint64)])
    for begin, end in parts:
        keys = (both >> np.uint64(begin)) & np.uint64((1 << (end - begin)) - 1)
        order = np.argsort(keys, kind="stable")
        for bucket in np.split(order, np.flatnonzero(np.diff(keys[order])) + 1):
            left = bucket[bucket < len(mine)]
            for start in range(0, len(left), _BLOCK):
                block = left[start : start + _BLOCK]
                apart = np.bitwise_count(mine[block][:, None] ^ both[bucket][None, :])
                for i, j in zip(*np.nonzero(apart <= NEAR_BITS), strict=True):
                    first, second = int(block[i]), int(bucket[j]) % len(mine)
                    if first != second:
                        yield first, second


def _neighbors(names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Places of two names of one series whose numbers are at most `BURST_NUMBERS` apart."""
    series: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for place, name in enumerate(names):
        match = re.fullmatch(r"(.*?)(\d+)(\D*)", _stem(name), re.DOTALL)
        if match is not None:
            series.setdefault((match[1], match[3]), []).append((int(match[2]), place))
    for numbered in series.values():
        numbered.sort()
        for k, (number, place) in enumerate(numbered):
            for other, there in numbered[k + 1 :]:
                if other - number > BURST_NUMBERS:
                    break
                yield place, there


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]
