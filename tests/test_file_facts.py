"""What a file says about itself: read from files made here, and silent where a file tells nothing."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mllm_iqa.file_facts import jpeg_quality, scaled_tables
from mllm_iqa.images import load_image
from mllm_iqa.types import FileFacts

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def saved(format: str, image: Image.Image | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(file, format, **options)
    return file.getvalue()


@pytest.mark.parametrize("quality", [1, 2, 10, 35, 49, 50, 51, 75, 85, 95, 100])
def test_the_quality_of_a_jpeg_that_pillow_saved_is_read_back(quality: int) -> None:
    data = saved("JPEG", quality=quality)
    assert load_image(data).info.file == FileFacts("JPEG", len(data), jpeg_quality=quality)


def test_the_scaling_is_libjpegs() -> None:
    # Quality 50 is annex K itself; at 75 the percentage is 50, so 16 -> (16 * 50 + 50) // 100 = 8; at 10 it is 500.
    assert scaled_tables(50)[0][:3] == (16, 11, 10)
    assert scaled_tables(75)[0][:3] == (8, 6, 5)
    assert scaled_tables(10)[0][:3] == (80, 55, 50)
    assert set(scaled_tables(100)[0]) == {1}
    assert scaled_tables(1)[1][0] == 255


def test_a_grey_jpeg_has_one_table_and_a_quality() -> None:
    data = saved("JPEG", Image.fromarray(PIXELS[..., 0]), quality=40)
    assert load_image(data).info.file.jpeg_quality == 40  # type: ignore[union-attr]


def test_the_quality_is_that_of_the_last_save() -> None:
    again = saved("JPEG", Image.open(io.BytesIO(saved("JPEG", quality=10))), quality=95)
    assert load_image(again).info.file.jpeg_quality == 95  # type: ignore[union-attr]


def test_tables_of_another_design_tell_no_quality() -> None:
    flat = [40] * 64
    data = saved("JPEG", qtables=[flat, flat])
    assert load_image(data).info.file.jpeg_quality is None  # type: ignore[union-attr]
    assert jpeg_quality({}) is None
    assert jpeg_quality({0: [0] * 64}) is None
    near = [step + 1 for step in scaled_tables(60)[0]]
    assert 55 <= (jpeg_quality({0: near}) or 0) <= 60


@pytest.mark.parametrize(
    ("format", "mode", "bits", "palette"),
    [
        ("PNG", "RGB", 8, False),
        ("PNG", "P", 8, True),
        ("GIF", "P", 8, True),
        ("PNG", "I;16", 16, False),
        ("TIFF", "I;16", 16, False),
        ("TIFF", "F", 32, False),
        ("BMP", "1", 1, False),
        ("WEBP", "RGB", 8, False),
    ],
)
def test_bits_and_palettes(format: str, mode: str, bits: int, palette: bool) -> None:
    if mode == "I;16":
        image = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(PIXELS[..., 0].astype(np.float32) / 255)
    else:
        image = Image.fromarray(PIXELS).convert(mode)
    data = saved(format, image)
    assert load_image(data).info.file == FileFacts(format, len(data), None, bits, palette)


def test_sixteen_bits_of_color_are_seen_though_pillow_reads_eight() -> None:
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + bytes(64 * 6) for _ in range(48))
    header = struct.pack(">IIBBBBB", 64, 48, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    assert load_image(data).info.file.bits == 16  # type: ignore[union-attr]


def test_what_came_as_pixels_has_no_file(tmp_path: Any) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(saved("JPEG", quality=20))
    assert load_image(PIXELS).info.file is None
    with Image.open(path) as image:  # it may have been drawn on since it was opened
        assert load_image(image).info.file is None
    assert load_image(path).info.file is not None
    with path.open("rb") as file:
        assert load_image(file).info.file == load_image(path).info.file
