"""A damage map drawn over its picture, with boxes and a scale, as one PNG for people, reports and pages.

Colors are those of "inferno" (van der Walt & Smith, 2015): perceptually uniform, lightness rising throughout, so that
they can be told apart in every kind of color blindness and in grey. Where nothing is wrong the picture shows through.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .regions import Region
from .where import QualityMap

_INFERNO = (
    *("160b39", "2d0b59", "450a69", "5c126e", "721a6e", "8a226a", "a02a63", "b63458", "ca404a", "db503b", "ea632a"),
    *("f47918", "fa9207", "fcac11", "f9c72f", "f3e35a", "f5f992"),
)
"""Inferno from its 10th to its 98th hundredth, in equal steps, as sRGB."""

_ALPHA = 0.62  # of the color where damage is certain
_CLEAR = 0.25  # damage up to which nothing is drawn
_GREY = 0.65  # how far the picture's own colors are taken back, so that the map's can be told from them
_LONG_SIDE = (480, 1280)  # of the drawn picture, in px
_MARGIN, _BAR = 14, 16
_PAPER, _INK, _FAINT = (255, 255, 255), (30, 30, 34), (110, 110, 118)
_BOXES_SHOWN = 6


def colors_of(values: np.ndarray) -> np.ndarray:
    """Colors of values in [0, 1]: uint8 (..., 3)."""
    stops = np.array([[int(code[i : i + 2], 16) for i in (0, 2, 4)] for code in _INFERNO], dtype=np.float64)
    at = np.linspace(0, 1, len(stops))
    return np.stack([np.interp(values, at, stops[:, c]) for c in range(3)], axis=-1).round().astype(np.uint8)


def overlay(pixels: np.ndarray, damage: np.ndarray, *, alpha: float = _ALPHA) -> np.ndarray:
    """A picture, its own colors taken back, with its damage in color over it.

    Args:
        pixels: uint8 RGB (H, W, 3).
        damage: shape (H, W), in [0, 1].
        alpha: how opaque certain damage is, in [0, 1]; half of that at half the damage.

    Returns:
        uint8 RGB (H, W, 3).
    """
    if pixels.shape[:2] != damage.shape:
        raise ValueError(f"the map is {damage.shape}, the picture {pixels.shape[:2]}")
    photo = pixels.astype(np.float64)
    grey = photo @ (0.2126, 0.7152, 0.0722)
    photo += _GREY * (grey[..., None] - photo)
    opaque = alpha * np.clip((damage - _CLEAR) / (1 - _CLEAR), 0, 1)[..., None] ** 0.75
    mixed = photo + opaque * (colors_of(damage) - photo)
    return np.asarray(mixed.round().clip(0, 255), dtype=np.uint8)


def draw(found: QualityMap, pixels: np.ndarray, *, boxes: bool = True) -> Image.Image:
    """The overlay with the boxes of its regions and a scale beside it.

    Args:
        found: the map.
        pixels: uint8 RGB, the upright picture at any size of the same shape.
        boxes: draw those of the worst regions.
    """
    height, width = _drawn_size(*pixels.shape[:2])
    photo = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
    damage = Image.fromarray(found.damage).resize((width, height), Image.Resampling.BILINEAR)
    picture = Image.fromarray(overlay(photo, np.clip(np.asarray(damage), 0, 1)))
    if boxes and found.regions:
        _draw_boxes(picture, found.regions[:_BOXES_SHOWN], (width / found.image.width, height / found.image.height))
    return _with_scale(picture, found)


def png_of(found: QualityMap, pixels: np.ndarray, *, boxes: bool = True) -> bytes:
    """`draw` as the bytes of a PNG file."""
    file = io.BytesIO()
    draw(found, pixels, boxes=boxes).save(file, "PNG", optimize=True)
    return file.getvalue()


def _drawn_size(height: int, width: int) -> tuple[int, int]:
    low, high = _LONG_SIDE
    scale = min(high, max(low, max(height, width))) / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _draw_boxes(picture: Image.Image, regions: Sequence[Region], scale: tuple[float, float]) -> None:
    """Outlines in white on black, which show on everything, and labels that stay inside the picture."""
    pen = ImageDraw.Draw(picture)
    font = _font(_text_size(picture))
    taken: list[tuple[float, float, float, float]] = []
    for region in reversed(regions):  # the worst lies on top
        left, top, right, bottom = (round(v * scale[i % 2]) for i, v in enumerate(region.box))
        box = (left + 1, top + 1, max(left + 3, right - 2), max(top + 3, bottom - 2))
        pen.rectangle(box, outline=(0, 0, 0), width=4)
        pen.rectangle((box[0] + 1, box[1] + 1, box[2] - 1, box[3] - 1), outline=(255, 255, 255), width=2)
    for region in regions:
        left, top, *_ = (round(v * scale[i % 2]) for i, v in enumerate(region.box))
        text = f"{region.kind}, {region.severity_word}"
        wide, high = pen.textbbox((0, 0), text, font=font)[2:]
        x = min(max(0, left + 5), max(0, picture.width - wide - 10))
        y = _free_row(top + 5, high + 6, (x, x + wide + 8), picture.height, taken)
        taken.append((x, y, x + wide + 8, y + high + 6))
        pen.rectangle(taken[-1], fill=(0, 0, 0))
        pen.text((x + 4, y + 2), text, fill=(255, 255, 255), font=font)


def _free_row(
    y: float, high: float, span: tuple[float, float], limit: int, taken: Sequence[tuple[float, float, float, float]]
) -> float:
    """The first height from `y` down at which a label meets no other."""
    for other in sorted(taken, key=lambda t: t[1]):
        if span[0] < other[2] and span[1] > other[0] and y < other[3] and y + high > other[1]:
            y = other[3] + 1
    return max(0.0, min(y, limit - high))


def _text_size(picture: Image.Image) -> int:
    return max(12, min(20, round(max(picture.size) / 45)))


def _with_scale(picture: Image.Image, found: QualityMap) -> Image.Image:
    """The picture on paper, and beside it what the colors mean."""
    size = _text_size(picture)
    font, small = _font(size), _font(max(11, size - 2))
    what, ends = _words(found)
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    labels = max(pen.textlength(word, font=small) for word in (*ends, "0.75"))
    right = round(_BAR + 12 + labels)
    sheet = Image.new("RGB", (picture.width + 3 * _MARGIN + right, picture.height + 2 * _MARGIN + size + 8), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_MARGIN, _MARGIN - 2), what, fill=_INK, font=font)
    top = _MARGIN + size + 6
    sheet.paste(picture, (_MARGIN, top))
    x, high = picture.width + 2 * _MARGIN, picture.height
    grey = np.full((high, _BAR, 3), 150, np.uint8)
    fall = np.repeat(np.linspace(1, 0, high)[:, None], _BAR, axis=1)
    sheet.paste(Image.fromarray(overlay(grey, fall)), (x, top))
    pen.rectangle((x, top, x + _BAR - 1, top + high - 1), outline=_FAINT)
    marks = ((1.0, ends[0]), (0.75, "0.75"), (0.5, "0.50"), (0.25, "0.25"), (0.0, ends[1]))
    for value, word in marks:
        y = top + round((1 - value) * (high - 1))
        pen.line((x + _BAR, y, x + _BAR + 4, y), fill=_FAINT)
        pen.text((x + _BAR + 8, min(max(top, y - size // 2), top + high - size - 1)), word, fill=_INK, font=small)
    return sheet


def _words(found: QualityMap) -> tuple[str, tuple[str, str]]:
    if found.method == "tiles":
        if found.regions is None:
            return f"how far the score falls ({found.model}, tiles)", ("score 1", "score 5")
        return f"damage ({found.model}, tiles)", ("1 damaged", "0 clean")
    return f"what speaks for damage ({found.model}, attribution)", ("1 most", "0 least")
