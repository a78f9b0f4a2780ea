"""The photographs training reads: BIQ2021 with human scores, BSDS500 without, and how they are split.

Splits are by group, so that bursts and near-duplicates of one scene never stand on both sides.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from mllm_iqa.errors import DataError
from mllm_iqa.images import load_image

Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = ("train", "val")
CLEAN_FROM_MOS = 4.2
"""A BIQ2021 photograph of at least this MOS (1..5), in its edited subset, serves as a clean source."""

_BURST = 50
_HASH_BITS_APART = 6


@dataclass(frozen=True, slots=True)
class Photo:
    """One photograph: where it lies, its human MOS on 1..5 (None = unknown), its data set, subset, split and group."""

    path: Path
    mos: float | None
    dataset: str
    subset: str
    split: Split
    group: str = ""


def read_rgb(path: Path) -> np.ndarray:
    """A photograph as a model's intake sees it: uint8 RGB (H, W, 3); an ImageError names a file that cannot be read."""
    return load_image(path).pixels


def perceptual_hash(image: np.ndarray) -> int:
    """64-bit DCT hash of a picture (sign of the 8x8 lowest frequencies against their median)."""
    grey = cv2.cvtColor(cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    low = cv2.dct(grey.astype(np.float32))[:8, :8].ravel()
    bits = low > np.median(low)
    return int(np.packbits(bits).tobytes().hex(), 16)


def _groups(names: list[str], hashes: np.ndarray) -> list[str]:
    """Group label of each picture: number block of its subset, blocks joined where near-duplicates bridge them."""
    block = [f"{n.split('_')[0]}-{int(Path(n).stem.split('_')[1]) // _BURST}" for n in names]
    parent = {b: b for b in block}

    def root(b: str) -> str:
        while parent[b] != b:
            b = parent[b]
        return b

    bits = np.unpackbits(hashes.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1).astype(np.float32)
    for i in range(len(names)):
        apart = np.abs(bits[i + 1 :] - bits[i]).sum(axis=1)
        for j in np.flatnonzero(apart <= _HASH_BITS_APART):
            parent[root(block[i + 1 + int(j)])] = root(block[i])
    return [root(b) for b in block]


def _split_of(group: str, val_percent: int) -> Split:
    return "val" if int(hashlib.sha256(group.encode()).hexdigest(), 16) % 100 < val_percent else "train"


def read_biq2021(root: Path, *, val_percent: int = 12) -> list[Photo]:
    """BIQ2021 photographs (Ahmed & Asif, 2022) with MOS mapped from 0..1 to 1..5 (1 + 4 x).

    Pictures are grouped by blocks of 50 consecutive numbers of a subset (bursts are consecutive), blocks joined
    where two pictures' perceptual hashes lie within 6 bits; groups are split by a hash of their name.

    Raises:
        DataError: no labels.csv, or a score outside [0, 1].
        ImageError: a picture that cannot be read, named.
    """
    labels = root / "labels.csv"
    if not labels.is_file():
        raise DataError(f"{labels}: not found; expected the BIQ2021 folder with images/ and labels.csv")
    with labels.open(newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    for row in rows:
        if not 0 <= float(row["mos_0to1"]) <= 1:
            raise DataError(f"{labels}: {row['image']}: mos_0to1 {row['mos_0to1']} is outside [0, 1]")
    hashes = np.array([perceptual_hash(read_rgb(root / row["image"])) for row in rows], dtype=np.uint64)
    groups = _groups([Path(row["image"]).name for row in rows], hashes)
    return [
        Photo(
            root / row["image"],
            1 + 4 * float(row["mos_0to1"]),
            "biq2021",
            row["subset"],
            _split_of(group, val_percent),
            group,
        )
        for row, group in zip(rows, groups, strict=True)
    ]


def read_bsds500(root: Path, *, val_percent: int = 20) -> list[Photo]:
    """BSDS500 photographs (Arbelaez et al., 2011): clean sources without scores, split by a hash of the name."""
    paths = sorted(root.glob("*.jpg"))
    if not paths:
        raise DataError(f"{root}: no .jpg files; expected the BSDS500 photographs")
    return [Photo(path, None, "bsds500", "", _split_of(path.stem, val_percent), path.stem) for path in paths]


def clean_sources(photos: list[Photo]) -> list[Photo]:
    """Those good enough to be called undistorted: all of BSDS500, and BIQ2021's best edited photographs."""
    return [
        p
        for p in photos
        if p.dataset == "bsds500" or (p.subset == "ss03" and p.mos is not None and p.mos >= CLEAN_FROM_MOS)
    ]
