"""A test set of local damage: clean photographs, each damaged in one region, and the mask of it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mllm_iqa.errors import DataError
from mllm_iqa.taxonomy import FAMILIES

from .distortions import DISTORTIONS, DQ495K
from .distortions.local import LOCAL, LocalResult, apply_local
from .heldout import HEIGHT, WIDTH
from .sources import Split, clean_sources, read_biq2021, read_bsds500, read_rgb

SCHEMA = pa.schema(
    [
        ("pixels", pa.binary()),
        ("mask", pa.binary()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("source", pa.string()),
        ("family", pa.string()),
        ("kind", pa.string()),
        ("distortion", pa.string()),
        ("severity", pa.int8()),
    ]
)
"""`pixels` uint8 RGB (height, width, 3); `mask` bits (height, width) packed by `numpy.packbits`, 1 = damaged; severity
1..5, and 0 with an empty mask for a photograph as it is."""

_LEAST_SHARE = 0.03  # of the picture that must have changed: less is nothing to be found
_TRIES = 8


def write_local_set(
    biq2021: Path,
    bsds500: Path,
    out: Path,
    *,
    per_family: int = 10,
    severities: tuple[int, ...] = (2, 3, 4, 5),
    seed: int = 1,
    split: Split = "val",
) -> Path:
    """Write the test set as one Parquet file: 12 families x `per_family` sources, one severity each, in turn.

    Sources are photographs of one split (a test set: validation); every family takes others in turn, and within a
    family its implementations take turns. Each source used also appears undamaged once. Where a distortion hardly
    changes the region that was drawn (desaturation on a grey wall), another region is drawn.

    Raises:
        DataError: no sources, or a photograph that a distortion changes nowhere.
    """
    cv2.setNumThreads(1)
    photos = read_biq2021(biq2021) + read_bsds500(bsds500)
    sources = sorted((p.path for p in clean_sources(photos) if p.split == split), key=lambda p: p.name)
    if not sources:
        raise DataError(f"no {split} photographs of {biq2021} and {bsds500} serve as clean sources")
    rng = np.random.default_rng(seed)
    rng.shuffle(sources)
    rows: list[dict[str, object]] = []
    used: list[Path] = []
    for f, family in enumerate(FAMILIES):
        names = [name for name in DQ495K if name in LOCAL and DISTORTIONS[name].family == family]
        for k in range(per_family):
            path = sources[(f * per_family + k) % len(sources)]
            used += [] if path in used else [path]
            name, severity = names[k % len(names)], severities[(f + k) % len(severities)]
            rows.append(_row(_damaged(name, _cut(read_rgb(path)), severity, rng, path), path, family, name, severity))
    for path in used:
        image = _cut(read_rgb(path))
        rows.append(_row(LocalResult(image, np.zeros(image.shape[:2], bool)), path, "none", "none", 0))
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), out)
    return out


def _damaged(name: str, image: np.ndarray, severity: int, rng: np.random.Generator, path: Path) -> LocalResult:
    for _ in range(_TRIES):
        result = apply_local(name, image, severity, rng)
        if result.mask.mean() >= _LEAST_SHARE:
            return result
    raise DataError(f"{path}: {name} changes nothing in {_TRIES} regions of it; take another --seed")


def _cut(image: np.ndarray) -> np.ndarray:
    """The middle of a photograph at no more than 512x384, at native resolution."""
    height, width = min(HEIGHT, image.shape[0]), min(WIDTH, image.shape[1])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return np.ascontiguousarray(image[top : top + height, left : left + width])


def _row(result: LocalResult, path: Path, family: str, name: str, severity: int) -> dict[str, object]:
    return {
        "pixels": result.pixels.tobytes(),
        "mask": np.packbits(result.mask).tobytes(),
        "height": result.pixels.shape[0],
        "width": result.pixels.shape[1],
        "source": path.name,
        "family": family,
        "kind": DISTORTIONS[name].kind if name in DISTORTIONS else "none",
        "distortion": name,
        "severity": severity,
    }
