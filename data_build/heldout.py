"""A test set of whole pictures: held-out clean photographs, each distorted by one family at severities 1 to 5."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mllm_iqa.errors import DataError
from mllm_iqa.taxonomy import FAMILIES

from .distortions import DISTORTIONS, DQ495K, Distortion
from .second_set import second_set
from .sources import Split, clean_sources, read_biq2021, read_bsds500, read_rgb

WIDTH, HEIGHT = 512, 384

SCHEMA = pa.schema(
    [
        ("pixels", pa.binary()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("source", pa.string()),
        ("family", pa.string()),
        ("kind", pa.string()),
        ("distortion", pa.string()),
        ("severity", pa.int8()),
    ]
)


def cut(image: np.ndarray) -> np.ndarray:
    """The middle of a photograph at no more than 512x384, at native resolution."""
    height, width = min(HEIGHT, image.shape[0]), min(WIDTH, image.shape[1])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def write_heldout(
    biq2021: Path,
    bsds500: Path,
    out: Path,
    *,
    per_family: int = 10,
    seed: int = 1,
    split: Split = "val",
    second: bool = False,
    without: Sequence[Path] = (),
) -> Path:
    """Write the test set as one Parquet file: 12 families x `per_family` sources x 5 severities, and clean pictures.

    Sources are photographs of one split (a test set: validation); every family takes others in turn, and within a
    family its implementations take turns. Each source used also appears undistorted once, with severity 0. With
    `second` the damage is that of `second_set`, which nothing is trained on. No source of the test sets `without` is
    used: what remains is for choosing settings on.

    Raises:
        DataError: fewer sources than `per_family`, or a test set of `without` is not there.
    """
    cv2.setNumThreads(1)
    made = second_set() if second else {name: DISTORTIONS[name] for name in DQ495K}
    taken = {name for path in without for name in _sources(path)}
    sources = [path for path in clean_photographs(biq2021, bsds500, split) if path.name not in taken]
    if len(sources) < per_family:
        raise DataError(f"only {len(sources)} {split} sources for {per_family} per family")
    rng = np.random.default_rng(seed)
    rng.shuffle(sources)
    rows: list[dict[str, object]] = []
    used: list[Path] = []
    for f, family in enumerate(FAMILIES):
        of_family = [one for one in made.values() if one.family == family]
        for k in range(per_family):
            path = sources[(f * per_family + k) % len(sources)]
            if path not in used:
                used.append(path)
            image, one = cut(read_rgb(path)), of_family[k % len(of_family)]
            rows += [_row(one.distort(image, s, rng), path, one, s) for s in range(1, 6)]
    rows += [_row(cut(read_rgb(path)), path, None, 0) for path in used]
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), out)
    return out


def clean_photographs(biq2021: Path, bsds500: Path, split: Split) -> list[Path]:
    """Files of the undistorted photographs of a split, by name."""
    photos = read_biq2021(biq2021) + read_bsds500(bsds500)
    return sorted((p.path for p in clean_sources(photos) if p.split == split), key=lambda p: p.name)


def _sources(path: Path) -> set[str]:
    if not path.is_file():
        raise DataError(f"{path}: not found; `mllm-iqa data heldout` writes it")
    return set(pq.read_table(path, columns=["source"])["source"].to_pylist())


def _row(image: np.ndarray, path: Path, made: Distortion | None, severity: int) -> dict[str, object]:
    return {
        "pixels": image.tobytes(),
        "height": image.shape[0],
        "width": image.shape[1],
        "source": path.name,
        "family": "none" if made is None else made.family,
        "kind": "none" if made is None else made.kind,
        "distortion": "none" if made is None else made.name,
        "severity": severity,
    }
