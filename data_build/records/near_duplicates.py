"""Which pictures show the same: a photograph re-encoded, resized, mirrored or lightly edited, or frames of a burst."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ..sources import perceptual_hash

NEAR_BITS = 6
"""Pictures whose 64-bit hashes, one of them perhaps of the mirrored picture, differ in no more bits are near."""

BURST_BITS = 20
"""So far apart may the hashes of two frames of a burst be."""

BURST_NUMBERS = 3
"""So far apart may the numbers in their names be."""

_FLAT = 3.0  # standard deviation in grey levels below which a picture has nothing to compare
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
    """The fingerprint of uint8 RGB pixels (H, W, 3); None for a picture so flat that its hash would be chance."""
    small = cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA)
    if small.mean(axis=2).std() < _FLAT:
        return None
    return Fingerprint(perceptual_hash(pixels), perceptual_hash(np.ascontiguousarray(pixels[:, ::-1])))


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
