"""How far full-reference metrics can be trusted on local and geometric damage: a check against KADID-10k.

    python -m mllm_iqa.data_build.severity_local DATA KADID_TABLE

Two types of KADID that our distortions do not have are made as its authors' code makes them, judged by the stored map,
and set beside the human means.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from .content_severity import pseudo_mos_of_picture
from .severity_fit import read_kadid
from .severity_measure import choose_sources
from .sources import read_biq2021, read_bsds500, read_rgb

_BLOCK, _PATCH, _SHIFT = 32, 16, 16


def color_blocks(image: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` squares of 32 px in random colors at random places; uint8 RGB, the same shape."""
    out = image.copy()
    for _ in range(count):
        top, left = (int(rng.integers(side - _BLOCK + 1)) for side in image.shape[:2])
        out[top : top + _BLOCK, left : left + _BLOCK] = rng.integers(256, size=3)
    return out


def displaced_patches(image: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` patches of 16 px copied from up to 16 px away in x and y; uint8 RGB, the same shape."""
    out = image.copy()
    for _ in range(count):
        top, left = (int(rng.integers(_SHIFT, side - _PATCH - _SHIFT + 1)) for side in image.shape[:2])
        down, right = (int(v) for v in rng.integers(-_SHIFT, _SHIFT + 1, size=2))
        source = image[top + down : top + down + _PATCH, left + right : left + right + _PATCH]
        out[top : top + _PATCH, left : left + _PATCH] = source
    return out


Local = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
_TYPES: dict[str, tuple[Local, tuple[int, ...]]] = {
    "color block": (color_blocks, (2, 4, 6, 8, 10)),
    "non-eccentricity patch": (displaced_patches, (20, 40, 60, 80, 100)),
}
"""KADID's name -> how it is made, and how many at levels 1..5 (Lin et al., 2019)."""


def main(
    data: Annotated[Path, typer.Argument(help="Folder with biq2021/ and bsds500/.")],
    kadid_table: Annotated[Path, typer.Argument(help="kadid10k_mos_by_type_and_level.csv.")],
    per_set: Annotated[int, typer.Option(min=1, help="Sources of each of the two sets.")] = 3,
) -> None:
    """Print, for each type and level, the human mean and the map's."""
    cv2.setNumThreads(1)
    kadid = read_kadid(kadid_table)
    sources = choose_sources(read_biq2021(data / "biq2021") + read_bsds500(data / "bsds500"), per_set=per_set)
    images = [read_rgb(path) for path in sources]
    print("type,level,human,map")
    for name, (make, counts) in _TYPES.items():
        for level, count in enumerate(counts, 1):
            made = [make(image, count, np.random.default_rng([level, i])) for i, image in enumerate(images)]
            mos = [pseudo_mos_of_picture([], worse, image) for worse, image in zip(made, images, strict=True)]
            print(f"{name},{level},{kadid[name][level - 1][0]:.2f},{np.mean(mos):.2f}")


if __name__ == "__main__":
    typer.run(main)
