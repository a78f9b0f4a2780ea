"""A contact sheet: every distortion at every severity on one picture, for a person to look at."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from textwrap import wrap

import cv2
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from mllm_iqa.errors import ConfigError
from mllm_iqa.levels import SEVERITIES
from mllm_iqa.prompt_files import effect_key, load_prompt

from .distortions import DISTORTIONS, apply
from .distortions.local import LOCAL, apply_local

TILE = (208, 156)
"""(width, height) in px of one cell of the sheet, at most."""

_GAP = 6
_LABEL = 300
_HEAD = 30
_OUTLINE = (255, 0, 255)
_LETTERS_PER_LINE = 44


def chosen(only: Sequence[str], *, local: bool) -> tuple[str, ...]:
    """The distortions a sheet shows, in the order of `DISTORTIONS`.

    Args:
        only: names of distortions, kinds or families; empty = all.
        local: whether their local versions are asked for.

    Raises:
        ConfigError: a name that is none of them, or that has no local version.
    """
    known = LOCAL if local else tuple(DISTORTIONS)
    titles = {name: (name, DISTORTIONS[name].kind, DISTORTIONS[name].family) for name in known}
    possible = dict.fromkeys(title for three in titles.values() for title in three)
    for name in only:
        if name not in possible:
            near = difflib.get_close_matches(name, possible, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
            what = "distortion that has a local version" if local else "distortion, kind or family"
            raise ConfigError(f"--only {name}: no {what}; {hint}")
    return tuple(name for name, three in titles.items() if not only or any(title in only for title in three))


def contact_sheet(
    image: np.ndarray, names: Sequence[str], *, seed: int = 0, local: bool = False, whole: bool = False
) -> np.ndarray:
    """One row per distortion: its name and effect, the picture as it is, and the picture at severities 1 to 5.

    Args:
        image: uint8 RGB (H, W, 3), sides >= 32 px.
        names: of `DISTORTIONS`, at least one.
        seed: of every cell alike, so that a row shows one and the same damage growing.
        local: damage one region and outline its mask in magenta.
        whole: reduce the whole picture to a cell after the damage, instead of damaging its middle at native size.

    Returns:
        uint8 RGB sheet.
    """
    if not whole:
        top, left = (max(0, (have - cell) // 2) for have, cell in zip(image.shape, TILE[::-1], strict=False))
        image = np.ascontiguousarray(image[top : top + TILE[1], left : left + TILE[0]])
    width, height = _cell_size(image)
    size = (_LABEL + 6 * (width + _GAP), _HEAD + len(names) * (height + _GAP))
    sheet = PIL.Image.new("RGB", size, "white")
    pen = PIL.ImageDraw.Draw(sheet)
    for column, title in enumerate(("original", *(f"{s} {word}" for s, word in enumerate(SEVERITIES, start=1)))):
        pen.text((_LABEL + column * (width + _GAP), 6), title, "black", PIL.ImageFont.load_default(16))
    for row, name in enumerate(names):
        top = _HEAD + row * (height + _GAP)
        _write_label(pen, name, top)
        for severity in range(6):
            cell = _fitted(_damaged(name, image, severity, seed, local), (width, height))
            sheet.paste(PIL.Image.fromarray(cell), (_LABEL + severity * (width + _GAP), top))
    return np.array(sheet)


def _cell_size(image: np.ndarray) -> tuple[int, int]:
    """(width, height) of a cell: the picture's, reduced to fit `TILE`."""
    scale = min(1.0, TILE[0] / image.shape[1], TILE[1] / image.shape[0])
    return max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))


def _fitted(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return image if image.shape[1::-1] == size else cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _damaged(name: str, image: np.ndarray, severity: int, seed: int, local: bool) -> np.ndarray:
    """The picture at a severity 0 (as it is) to 5."""
    if severity == 0:
        return image
    rng = np.random.default_rng(seed)
    if not local:
        return apply(name, image, severity, rng)
    result = apply_local(name, image, severity, rng)
    outline = cv2.morphologyEx(result.mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return np.where(outline[..., None] > 0, np.array(_OUTLINE, np.uint8), result.pixels)


def _write_label(pen: PIL.ImageDraw.ImageDraw, name: str, top: int) -> None:
    """The kind, the name of the implementation, and what to look for."""
    kind = DISTORTIONS[name].kind
    pen.text((4, top), kind, "black", PIL.ImageFont.load_default(20))
    pen.text((4, top + 26), name, (90, 90, 90), PIL.ImageFont.load_default(14))
    effect = load_prompt("effects.v2").phrase(effect_key(kind, DISTORTIONS[name].spoken(5)))
    pen.text((4, top + 48), "\n".join(wrap(effect, _LETTERS_PER_LINE)), (40, 40, 40), PIL.ImageFont.load_default(13))
