"""Pictures that no rater would be asked about: noise, flat frames, pages of text, small icons, line drawings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_ICON_PIXELS = (32, 64)
_SYLLABLES = ("ka", "lo", "mi", "ne", "ru", "sta", "ter", "vin", "qua", "po", "be", "dor", "sel", "ty")


def doubtful(kind: str, rng: np.random.Generator) -> np.ndarray:
    """One such picture.

    Args:
        kind: a key of `KINDS`.
        rng: decides everything else.

    Returns:
        uint8 RGB, shape (H, W, 3), 32 to 512 pixels a side.
    """
    return KINDS[kind](rng)


def _noise(rng: np.random.Generator) -> np.ndarray:
    """White noise, gray or colored, uniform or normal around a random gray."""
    height, width = _size(rng)
    channels = int(rng.choice([1, 3]))
    if rng.random() < 0.5:
        values = rng.uniform(0, 255, (height, width, channels))
    else:
        values = rng.normal(rng.uniform(80, 175), rng.uniform(40, 90), (height, width, channels))
    clipped = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(clipped, (height, width, 3)))


def _flat(rng: np.random.Generator) -> np.ndarray:
    """A frame of one color: every second one black, the others white, gray or any color."""
    height, width = _size(rng)
    choice = rng.random()
    if choice < 0.5:
        color = np.zeros(3)
    elif choice < 0.65:
        color = np.full(3, 255.0)
    elif choice < 0.8:
        color = np.full(3, rng.uniform(10, 245))
    else:
        color = rng.uniform(0, 255, 3)
    return np.broadcast_to(color.astype(np.uint8), (height, width, 3)).copy()


def _text(rng: np.random.Generator) -> np.ndarray:
    """A page of made-up words in Pillow's own font, dark on light or light on dark."""
    height, width = _size(rng)
    dark, light = int(rng.integers(0, 60)), int(rng.integers(225, 256))
    ink, paper = (dark, light) if rng.random() < 0.8 else (light, dark)
    image = Image.new("RGB", (width, height), (paper,) * 3)
    draw = ImageDraw.Draw(image)
    size = int(rng.integers(11, 27))
    font = ImageFont.load_default(size)
    margin = int(rng.integers(8, 40))
    for y in range(margin, height - margin - size, round(size * 1.35)):
        line = ""
        while draw.textlength(line, font=font) < width - 2 * margin - 4 * size:
            line += "".join(rng.choice(_SYLLABLES, rng.integers(1, 4))) + " "
        draw.text((margin, y), line, fill=(ink,) * 3, font=font)
    return np.asarray(image)


def _icon(rng: np.random.Generator) -> np.ndarray:
    """A symbol of a few shapes on a plain ground, as small as it is or enlarged by whole pixels."""
    side = int(rng.integers(*_ICON_PIXELS))
    image = Image.new("RGB", (side, side), _color(rng))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 5))):
        box = _box(rng, side, side)
        shape = rng.choice(["ellipse", "rectangle", "polygon"])
        if shape == "ellipse":
            draw.ellipse(box, fill=_color(rng))
        elif shape == "rectangle":
            draw.rectangle(box, fill=_color(rng))
        else:
            left, top, right, bottom = box
            draw.polygon([(left, bottom), ((left + right) // 2, top), (right, bottom)], fill=_color(rng))
    if rng.random() < 0.5:
        factor = int(rng.integers(4, 9))
        image = image.resize((side * factor, side * factor), Image.Resampling.NEAREST)
    return np.asarray(image)


def _drawing(rng: np.random.Generator) -> np.ndarray:
    """Thin dark lines, outlines and curves on white."""
    height, width = _size(rng)
    image = Image.new("RGB", (width, height), (int(rng.integers(240, 256)),) * 3)
    draw = ImageDraw.Draw(image)
    ink = (int(rng.integers(0, 70)),) * 3
    for _ in range(int(rng.integers(6, 25))):
        thickness = int(rng.integers(1, 4))
        shape = rng.choice(["line", "ellipse", "rectangle", "curve"])
        box = _box(rng, width, height)
        if shape == "line":
            draw.line(box, fill=ink, width=thickness)
        elif shape == "ellipse":
            draw.ellipse(box, outline=ink, width=thickness)
        elif shape == "rectangle":
            draw.rectangle(box, outline=ink, width=thickness)
        else:
            x = np.linspace(0, width, 60)
            y = height * (0.5 + 0.4 * np.sin(x / width * rng.uniform(3, 12) + rng.uniform(0, 6)) * rng.uniform(0.2, 1))
            draw.line([(float(a), float(b)) for a, b in zip(x, y, strict=True)], fill=ink, width=thickness)
    return np.asarray(image)


KINDS: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "pure noise": _noise,
    "flat frame": _flat,
    "text page": _text,
    "small icon": _icon,
    "line drawing": _drawing,
}
"""Kinds of such pictures: name -> function of a generator."""


def _size(rng: np.random.Generator) -> tuple[int, int]:
    """Height and width of a picture as photographs have them."""
    return int(rng.integers(256, 513)), int(rng.integers(256, 513))


def _color(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = (int(c) for c in rng.integers(0, 256, 3))
    return red, green, blue


def _box(rng: np.random.Generator, width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom; at least a tenth of the picture on each side."""
    left, top = int(rng.integers(0, int(width * 0.8))), int(rng.integers(0, int(height * 0.8)))
    right = min(width - 1, left + int(rng.integers(int(width * 0.1), int(width * 0.7))))
    bottom = min(height - 1, top + int(rng.integers(int(height * 0.1), int(height * 0.7))))
    return left, top, right, bottom
