"""The anchors of the package: the example photographs at five qualities whose human mean is known per distortion.

Remade by `mllm-iqa data anchors mllm_iqa/anchors`. Each MOS is `severity.pseudo_mos` of what was done to the picture:
the mean of KADID-10k's and TID2013's viewers over other photographs, so it is what such damage is worth on average.
"""

from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path

import numpy as np
from PIL import Image

from mllm_iqa.images import load_image

from .distortions import DISTORTIONS
from .severity import pseudo_mos

RECIPE: tuple[tuple[str, str, float], ...] = (
    ("cat", "", 0),
    ("coffee", "blur.gaussian_blur", 1),
    ("cat", "noise.gaussian_noise", 1),
    ("coffee", "compression.jpeg", 4),
    ("cat", "blur.lens_blur", 4),
)
"""Example, distortion ("" = none) and severity of each anchor."""

_SIDE = 384


def make_anchors(folder: Path) -> list[tuple[str, float]]:
    """Write the anchors and `anchors.csv`; returns each one's file name and MOS."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (example, name, severity) in enumerate(RECIPE, 1):
        pixels = load_image(str(files("mllm_iqa") / "examples" / f"{example}.jpg"), max_pixels=_SIDE * _SIDE).pixels
        if name:
            pixels = DISTORTIONS[name].distort(pixels, severity, np.random.default_rng(number))
        file = f"{number}-{example}-{name.replace('.', '-') or 'clean'}.webp"
        Image.fromarray(pixels).save(folder / file, quality=92, method=6)
        rows.append((file, round(pseudo_mos([(name, severity)] if name else []), 2)))
    with (folder / "anchors.csv").open("w", newline="", encoding="utf-8") as out:
        csv.writer(out, lineterminator="\n").writerows([("picture", "mos"), *rows])
    return rows
