"""What a picture's file says about itself: format, size, bits, and the JPEG quality that its tables tell."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache
from math import log

from PIL import Image
from PIL.ImageFile import ImageFile

from .types import FileFacts

LOSSLESS_FORMATS = frozenset({"PNG", "BMP", "PPM", "TGA", "QOI"})
"""Formats that keep every value they are given. TIFF, WebP, AVIF, JPEG 2000 and GIF may or may not."""

# Tables K.1 and K.2 of ITU-T T.81, row by row; libjpeg scales them by its quality.
_LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29),
    *(51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121),
    *(120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMINANCE = (
    *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66),
    *(99,) * 38,
)
_FARTHEST = 0.35  # mean |log ratio| to libjpeg's nearest tables, from which on a quality would say little


def file_facts(image: Image.Image) -> FileFacts | None:
    """What the file says, from an opened picture that was not decoded yet; None where it came from no file.

    Args:
        image: as `PIL.Image.open` gives it. Neither its pixels nor its position in the file are touched.
    """
    if not isinstance(image, ImageFile) or image.fp is None:
        return None
    position = image.fp.tell()
    size = image.fp.seek(0, io.SEEK_END)
    image.fp.seek(position)
    format = str(image.format)
    tables = getattr(image, "quantization", None) if format in ("JPEG", "MPO") else None
    return FileFacts(
        format="JPEG" if format == "MPO" else format,
        bytes=size,
        jpeg_quality=None if not tables else jpeg_quality(tables),
        bits=_bits(image),
        palette=image.mode in ("P", "PA"),
    )


def jpeg_quality(tables: Mapping[int, Sequence[int]]) -> int | None:
    """The quality, on libjpeg's scale, whose quantization tables are nearest to a JPEG's.

    That of the last save alone: a picture saved at 20 and again at 95 has the tables of 95. Source of the scaling:
    libjpeg's `jpeg_quality_scaling` and `jpeg_add_quant_table`.

    Args:
        tables: 64 steps each, row by row, by number: 0 luminance, 1 chrominance where there is one.

    Returns:
        1..100; None for tables of another design, which no quality of libjpeg comes near.
    """
    given = [tables[number] for number in (0, 1) if number in tables]
    if not given or any(len(table) != 64 or min(table) < 1 for table in given):
        return None

    def distance(quality: int) -> float:
        pairs = zip(given, scaled_tables(quality), strict=False)
        return sum(sum(abs(log(a / b)) for a, b in zip(x, y, strict=True)) / 64 for x, y in pairs) / len(given)

    distances = {quality: distance(quality) for quality in range(1, 101)}
    nearest = min(distances, key=lambda quality: distances[quality])
    return nearest if distances[nearest] <= _FARTHEST else None


@cache
def scaled_tables(quality: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Libjpeg's luminance and chrominance tables at a quality of 1..100, row by row."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    luminance, chrominance = (
        tuple(min(255, max(1, (step * percent + 50) // 100)) for step in table) for table in (_LUMINANCE, _CHROMINANCE)
    )
    return luminance, chrominance


def _bits(image: ImageFile) -> int:
    """Bits of one channel as the file holds them, where Pillow tells: it reads 16-bit RGB into 8."""
    if image.mode == "1":
        return 1
    if image.mode in ("I", "F"):
        return 16 if image.format == "PNG" else 32
    told = [image.mode, *(str(part) for tile in image.tile for part in tile)]
    return 16 if any(";16" in part for part in told) else 8
