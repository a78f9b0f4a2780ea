"""Intake of pictures: every source, mode and bound, and that each refusal names the file and the reason."""

import base64
import io
import os
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from mllm_iqa import images
from mllm_iqa.errors import ImageError
from mllm_iqa.images import Picture, load_image, pad_to_multiple, resized
from mllm_iqa.types import FileFacts, ImageInfo

LOSSLESS = {"PNG": "png", "BMP": "bmp", "TIFF": "tif", "PPM": "ppm", "TGA": "tga"}
LOSSY = {"JPEG": "jpg", "WEBP": "webp", "AVIF": "avif", "JPEG2000": "jp2"}


def photo(height: int = 48, width: int = 64, channels: int = 3) -> np.ndarray:
    """Smooth ramps plus noise, no symmetry: any turn, flip or channel swap shows."""
    rng = np.random.default_rng(height * 1000 + width)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([200 * x / width, 200 * y / height, 100 * (x + y) / (width + height), 40 + 0 * x], axis=-1)
    return (base[..., :channels] + rng.integers(0, 40, (height, width, channels))).astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, format: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(stream, format, **options)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes, *before_data: bytes) -> bytes:
    """A PNG written by hand, for headers that no encoder writes."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before_data) + data + chunk(b"IEND", b"")


def tiff(width: int, height: int, bits: int, data: bytes, *, photometric: int = 1, extra: dict[int, int] | None = None):
    """An uncompressed one-strip little-endian grey TIFF written by hand."""
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 0, 277: 1, 278: height, 279: len(data)}
    tags |= extra or {}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4) + data


def refusal(source: object, **options: object) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(source, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert " at 0x" not in message, "an address would differ between runs"
    return message


# --- sources -------------------------------------------------------------------------------------------------------


def test_every_source_of_the_same_pixels_gives_the_same_picture(tmp_path: Path) -> None:
    pixels = photo()
    data = encoded(pixels)
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    with path.open("rb") as file, Image.open(path) as lazy:
        pictures = {
            "photo.png": [load_image(str(path)), load_image(path), load_image(file), load_image(lazy)],
            "<bytes>": [load_image(data), load_image(bytearray(data)), load_image(memoryview(data))],
            "<file>": [load_image(io.BytesIO(data))],
            "<image>": [load_image(Image.fromarray(pixels))],
            "<array>": [load_image(pixels)],
            "<tensor>": [load_image(torch.from_numpy(pixels)), load_image(torch.from_numpy(pixels).permute(2, 0, 1))],
            "<data URI>": [load_image("data:image/png;base64," + base64.b64encode(data).decode())],
        }
        assert not file.closed
    for name, group in pictures.items():
        for picture in group:
            assert np.array_equal(picture.pixels, pixels), name
            # Where the picture came as pixels, the file was not seen; Pillow had opened the last of the first group.
            bare = name in ("<image>", "<array>", "<tensor>") or picture is pictures["photo.png"][-1]
            facts = None if bare else FileFacts("PNG", len(data), None, 8, False)
            assert picture.info == ImageInfo(name, 64, 48, 64, 48, file=facts)


@pytest.mark.parametrize("format", LOSSLESS)
def test_lossless_formats_give_back_the_exact_pixels(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture.{LOSSLESS[format]}"
    path.write_bytes(encoded(photo(), format))
    assert np.array_equal(load_image(path).pixels, photo())


@pytest.mark.parametrize("format", LOSSY)
def test_lossy_formats_give_about_the_same_pixels(format: str) -> None:
    smooth = np.asarray(Image.fromarray(photo()).resize((12, 9)).resize((64, 48), Image.Resampling.BICUBIC))
    got = load_image(encoded(smooth, format)).pixels
    assert np.abs(got.astype(int) - smooth).mean() < 8


def test_the_content_decides_and_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "really_a_png.jpg"
    path.write_bytes(encoded(photo()))
    assert np.array_equal(load_image(path).pixels, photo())


def test_pixels_are_contiguous_uint8_of_their_own_memory() -> None:
    source = photo()
    for given_source in (source, Image.fromarray(source), encoded(source), torch.from_numpy(source)):
        pixels = load_image(given_source).pixels
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        assert pixels.flags.writeable, "torch.from_numpy warns on read-only memory"
        assert not np.shares_memory(pixels, source)


def test_inputs_are_not_modified() -> None:
    array, image = photo(channels=4), Image.fromarray(photo(channels=4))
    tensor = torch.rand(3, 40, 40, requires_grad=True)
    copies = array.copy(), image.copy(), tensor.detach().clone()
    for source in (array, image, tensor):
        load_image(source, max_pixels=40 * 36)
    assert np.array_equal(array, copies[0])
    assert image == copies[1]
    assert torch.equal(tensor.detach(), copies[2])
    assert tensor.requires_grad


def test_loading_is_deterministic() -> None:
    data = encoded(photo(200, 300), "JPEG", quality=80)
    first, second = (load_image(data, max_pixels=20_000) for _ in range(2))
    assert np.array_equal(first.pixels, second.pixels)
    assert first.info == second.info


def test_a_file_object_is_read_from_where_it_stands_and_left_open() -> None:
    stream = io.BytesIO(b"header" + encoded(photo()))
    stream.seek(6)
    assert np.array_equal(load_image(stream).pixels, photo())
    assert not stream.closed
    assert refusal(stream) == "<file>: is empty (0 bytes)"


def test_a_file_object_may_return_fewer_bytes_than_asked_for() -> None:
    class Dribble(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(100, size or 0))

    assert np.array_equal(load_image(Dribble(encoded(photo()))).pixels, photo())


def test_a_pipe_can_be_read_as_a_file_object() -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as source, open(writer, "wb") as sink:
        sink.write(encoded(photo()))
        sink.close()
        picture = load_image(source)
    assert np.array_equal(picture.pixels, photo())
    assert picture.info.name == "<file>"


def test_a_given_name_is_used_in_the_info_and_in_errors(tmp_path: Path) -> None:
    assert load_image(photo(), name="record 7").info.name == "record 7"
    assert load_image(encoded(photo()), name="shots/7.png").info.name == "shots/7.png"
    assert refusal(tmp_path, name="record 7").startswith("record 7: ")


def test_the_path_stands_in_errors_and_the_file_name_in_the_info(tmp_path: Path) -> None:
    path = tmp_path / "a photo.png"
    path.write_bytes(encoded(photo()))
    assert load_image(path).info.name == "a photo.png"
    path.write_bytes(encoded(photo())[:200])
    assert refusal(path).startswith(f"{path}: ")


def test_an_undecodable_file_name_can_still_be_printed(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.png"
    try:
        Path(os.fsdecode(path)).write_bytes(encoded(photo()))
    except OSError:
        pytest.skip("this file system accepts only valid UTF-8 names")
    assert load_image(os.fsdecode(path)).info.name == "caf\\udce9.png"


def test_a_picture_passes_through() -> None:
    picture = load_image(photo(), name="first")
    assert load_image(picture) is picture
    assert load_image(picture, max_pixels=48 * 64) is picture
    renamed = load_image(picture, name="second")
    assert renamed.info.name == "second"
    assert renamed.pixels is picture.pixels
    small = load_image(picture, max_pixels=2000)
    assert np.array_equal(small.pixels, load_image(photo(), max_pixels=2000).pixels)
    assert small.info == load_image(photo(), name="first", max_pixels=2000).info
    assert "first: " in refusal(picture, max_pixels=10)


def test_a_picture_keeps_its_history_when_it_is_made_smaller_twice() -> None:
    once = load_image(Image.fromarray(photo(100, 200, 4)), max_pixels=10_000)
    twice = load_image(once, max_pixels=4_000)
    assert (twice.info.width, twice.info.height) == (200, 100)
    assert twice.info.notes[:2] == once.info.notes
    assert len(twice.info.notes) == 3
    assert (twice.info.judged_height, twice.info.judged_width) == twice.pixels.shape[:2]


@pytest.mark.parametrize(
    "uri",
    [
        "data:image/png;base64,{}",
        "DATA:IMAGE/PNG;BASE64,{}",
        "data:image/png;charset=utf-8;base64,\n{}\n",
        "data:image/anything;base64,{}",
    ],
)
def test_data_uris(uri: str) -> None:
    payload = base64.b64encode(encoded(photo())).decode()
    for text in (payload, payload.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")):
        assert np.array_equal(load_image(uri.format(text)).pixels, photo())


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("data:image/png;base64,", "is empty"),
        ("data:image/png;base64,!!!!", "no valid base64"),
        ("data:image/png;base64,abc", "no valid base64"),
        ("data:image/png;base64,AAAA", "not a complete picture in a known format"),
        ("data:image/png,AAAA", "must have the form"),
        ("data:image/png;base64", "must have the form"),
        ("data:text/plain;base64,AAAA", "must have the form"),
    ],
)
def test_bad_data_uris_are_refused_without_echoing_them(uri: str, reason: str) -> None:
    message = refusal(uri)
    assert message.startswith("<data URI>: ")
    assert reason in message


@pytest.mark.parametrize(
    "url", ["http://a/b.png", "https://a/b.png", "HTTPS://a/b.png", "s3://a/b.png", "file:///b.png"]
)
def test_urls_are_refused(url: str) -> None:
    message = refusal(url)
    assert message.startswith(url)
    assert "nothing is fetched" in message


def test_a_url_made_into_a_path_is_refused_as_a_url() -> None:
    assert "nothing is fetched" in refusal(Path("https://a/b.png"))


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    assert refusal(tmp_path) == f"{tmp_path}: is a directory, not a picture"
    assert refusal(tmp_path / "none.png") == f"{tmp_path / 'none.png'}: cannot be opened: No such file or directory"
    assert refusal("/dev/zero") == "/dev/zero: is not a regular file"
    assert refusal("") == "<empty path>: the path is empty"
    assert "cannot be opened" in refusal("nul\0byte.png")
    assert "cannot be opened: File name too long" in refusal("x" * 5000)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_a_fifo_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refusal(tmp_path / "pipe")


def test_a_file_without_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(photo()))
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser reads everything: let the system call itself say no

        def denied(self: Path, mode: str) -> None:
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "open", denied)
    assert refusal(path) == f"{path}: cannot be opened: Permission denied"


@pytest.mark.parametrize("source", [None, 3, ["a.png"], object()])
def test_things_that_are_no_source(source: object) -> None:
    message = refusal(source)
    assert message.startswith(f"<{type(source).__name__}>: not a picture source")


def test_text_and_closed_file_objects_are_refused() -> None:
    assert "open it with mode 'rb'" in refusal(io.StringIO("text"))
    closed = io.BytesIO(b"x")
    closed.close()
    assert "cannot be read" in refusal(closed)


def test_the_module_imports_no_torch() -> None:
    code = "import sys, mllm_iqa.images; sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


# --- broken and hostile files --------------------------------------------------------------------------------------


def test_files_that_are_no_pictures(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("these are notes, not pixels\n" * 20)
    message = refusal(path)
    assert message.startswith(f"{path}: is not a complete picture in a known format (JPEG, PNG, ")
    path.write_bytes(b"")
    assert refusal(path) == f"{path}: is empty (0 bytes)"
    assert refusal(b"") == "<bytes>: is empty (0 bytes)"


@pytest.mark.parametrize("brand", images._HEIF_BRANDS)
def test_heif_says_what_it_needs(brand: bytes) -> None:
    if "HEIF" in Image.OPEN:
        pytest.skip("pillow-heif is registered here")
    message = refusal(b"\0\0\0\x18ftyp" + brand + bytes(400), name="phone.heic")
    assert message == "phone.heic: HEIF needs the pillow-heif package and pillow_heif.register_heif_opener()"


def test_formats_that_run_programs_are_not_opened() -> None:
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n"
    assert "known format" in refusal(postscript)


@pytest.mark.parametrize("format", [*LOSSLESS, *LOSSY, "GIF"])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9])
def test_truncated_files_are_refused(format: str, kept: float, tmp_path: Path) -> None:
    data = encoded(photo(64, 64), format)
    path = tmp_path / "cut"
    path.write_bytes(data[: int(len(data) * kept)])
    assert refusal(path).startswith(f"{path}: ")


def test_a_bomb_is_refused_from_its_header_fast_and_without_memory() -> None:
    bomb = png(50_000, 50_000, 8, 2, bytes(1000))
    refusal(bomb)  # plugins loaded
    tracemalloc.start()
    start = time.perf_counter()
    message = refusal(bomb, name="bomb.png")
    seconds, peak = time.perf_counter() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message.startswith("bomb.png: refused before decoding: ")
    assert "2500000000 pixels" in message
    assert seconds < 1
    assert peak < 5_000_000


@pytest.mark.parametrize("ceiling", [None, Image.MAX_IMAGE_PIXELS])
def test_our_own_limit_holds_whatever_pillows_is(ceiling: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", ceiling)
    message = refusal(png(20_000, 8_901, 1, 0, bytes(10)))  # 178.02 million, under Pillow's own 178.96 million
    assert message == "<bytes>: 20000x8901 pixels, more than the limit of 178000000; refused before decoding"
    assert ceiling == Image.MAX_IMAGE_PIXELS


def test_between_pillows_warning_and_our_limit_a_picture_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # 48 x 64 = 3072 lies between the warning and twice it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filters = list(warnings.filters)
        assert np.array_equal(load_image(encoded(photo())).pixels, photo())
        assert warnings.filters == filters
    assert Image.MAX_IMAGE_PIXELS == 2000


def test_pil_images_and_arrays_obey_the_same_limit() -> None:
    huge = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (20_000, 9_000, 3))
    assert "more than the limit" in refusal(huge)
    assert "more than the limit" in refusal(torch.zeros(1, dtype=torch.uint8).expand(20_000, 9_000))


def test_too_many_bytes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(photo())
    path = tmp_path / "big.png"
    path.write_bytes(data)
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    monkeypatch.setattr(images, "MAX_SOURCE_BYTES", len(data))
    for source in (path, data, io.BytesIO(data), uri):
        assert np.array_equal(load_image(source).pixels, photo())
    monkeypatch.setattr(images, "MAX_SOURCE_BYTES", len(data) - 3)
    for source in (path, data, io.BytesIO(data), uri):
        assert "limit" in refusal(source)


@pytest.mark.parametrize(("width", "height"), [(31, 500), (500, 31), (1, 1)])
def test_too_small_is_refused(width: int, height: int) -> None:
    for source in (np.zeros((height, width, 3), np.uint8), encoded(Image.new("RGB", (width, height)))):
        message = refusal(source, name="tiny.png")
        assert message == (
            f"tiny.png: {width}x{height} pixels is too small to judge; the smaller side must be at least 32"
        )


def test_zero_sized_is_refused() -> None:
    assert "0x40 pixels is too small" in refusal(Image.new("RGB", (0, 40)))
    assert "40x0 pixels is too small" in refusal(np.zeros((0, 40, 3), np.uint8))
    assert "<bytes>: " in refusal(png(0, 40, 8, 2, b""))


def test_the_aspect_ratio_is_bounded() -> None:
    assert load_image(np.zeros((32, 3200), np.uint8)).info.width == 3200
    for shape in ((32, 3201), (3201, 32)):
        assert "too elongated to judge; the sides may differ by 100:1 at most" in refusal(np.zeros(shape, np.uint8))


def test_the_smallest_allowed_picture_is_read() -> None:
    assert load_image(np.zeros((32, 32), np.uint8)).pixels.shape == (32, 32, 3)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "TGA", "QOI"]), st.data())
def test_damaged_bytes_give_a_picture_or_an_image_error_and_nothing_else(format: str, data: st.DataObject) -> None:
    if format == "QOI" and "QOI" not in Image.SAVE:
        format = "PNG"
    good = bytearray(encoded(photo(40, 40), format))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = load_image(bytes(good), max_pixels=10_000)
    except ImageError as error:
        assert str(error).startswith("<bytes>: ")
    else:
        assert picture.pixels.shape[2] == 3


# --- orientation and frames ----------------------------------------------------------------------------------------

UNDO = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),  # stored turned left, shown by turning right
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", UNDO)
def test_all_eight_orientations_come_out_upright(orientation: int, format: str) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.ascontiguousarray(UNDO[orientation](photo()))
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    picture = load_image(encoded(stored, format, exif=exif, **options))
    assert np.array_equal(picture.pixels, photo())
    assert (picture.info.width, picture.info.height) == (64, 48)
    assert picture.info.notes == (() if orientation == 1 else (f"EXIF orientation {orientation} applied",))


def test_orientation_of_a_pil_image_is_applied_once_and_the_image_kept() -> None:
    exif = Image.Exif()
    exif[274] = 6
    stored = np.ascontiguousarray(np.rot90(photo()))
    for format in ("PNG", "TIFF", "JPEG"):
        with Image.open(io.BytesIO(encoded(stored, format, exif=exif))) as image:
            first, second = load_image(image), load_image(image)
        assert first.pixels.shape == second.pixels.shape == (48, 64, 3)
        assert np.array_equal(first.pixels, second.pixels)


@pytest.mark.parametrize("value", [0, 9, 4000])
def test_orientations_without_meaning_are_ignored(value: int) -> None:
    exif = Image.Exif()
    exif[274] = value
    picture = load_image(encoded(photo(), exif=exif))
    assert np.array_equal(picture.pixels, photo())
    assert picture.info.notes == ()


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_exif_does_not_cost_the_picture_nor_warn(exif: bytes) -> None:
    for format in ("JPEG", "PNG"):
        data = encoded(photo(), format, exif=exif)
        assert load_image(data).pixels.shape == (48, 64, 3)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_is_judged_and_noted(format: str) -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if format == "WEBP" else {}
    picture = load_image(encoded(frames[0], format, save_all=True, append_images=frames[1:], **options))
    assert picture.info.notes == ("first of 3 frames",)
    assert np.array_equal(picture.pixels, np.asarray(frames[0]))


def test_a_pil_image_is_judged_at_the_frame_it_stands_at() -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "lime", "blue")]
    with Image.open(io.BytesIO(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))) as image:
        image.seek(1)
        picture = load_image(image)
        assert image.tell() == 1
    assert picture.info.notes == ("number 2 of 3 frames",)
    assert np.array_equal(picture.pixels, np.asarray(frames[1]))


# --- modes ---------------------------------------------------------------------------------------------------------


def test_greyscale_and_one_bit_become_equal_channels() -> None:
    grey = photo()[..., 0]
    for source in (grey, grey[..., None], encoded(grey), Image.fromarray(grey)):
        picture = load_image(source)
        assert np.array_equal(picture.pixels, np.repeat(grey[..., None], 3, axis=2))
        assert picture.info.notes == ()
    bits = grey > 100
    for source in (bits, encoded(Image.fromarray(bits)), Image.fromarray(bits), torch.from_numpy(bits)):
        assert np.array_equal(load_image(source).pixels[..., 1], bits * 255)


def test_palette_pictures() -> None:
    palette = Image.fromarray(photo()).quantize(16)
    assert np.array_equal(load_image(encoded(palette)).pixels, np.asarray(palette.convert("RGB")))
    assert load_image(encoded(palette)).info.notes == ()


@pytest.mark.parametrize("transparency", [3, bytes([255, 255, 255, 0])])
def test_palette_transparency_is_composited(transparency: int | bytes) -> None:
    palette = Image.fromarray(photo()).quantize(16)
    picture = load_image(encoded(palette, transparency=transparency), background=(1, 2, 3))
    clear = np.asarray(palette) == 3
    assert clear.any()
    assert (picture.pixels[clear] == (1, 2, 3)).all()
    assert np.array_equal(picture.pixels[~clear], np.asarray(palette.convert("RGB"))[~clear])
    assert picture.info.notes == ("transparency composited over RGB (1, 2, 3)",)


def test_a_transparent_colour_is_composited() -> None:
    pixels = photo()
    pixels[:10, :10] = (7, 8, 9)
    picture = load_image(encoded(pixels, transparency=(7, 8, 9)))
    assert (picture.pixels[:10, :10] == 255).all()
    grey = pixels[..., 0]
    assert (load_image(encoded(grey, transparency=7)).pixels[grey == 7] == 255).all()
    bits = Image.fromarray(grey > 100)
    assert (load_image(encoded(bits, transparency=0)).pixels == 255).all()


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_composited_over_the_background(channels: int) -> None:
    pixels = photo(channels=channels)
    pixels[..., -1] = np.linspace(0, 255, 64).astype(np.uint8)
    background = (10, 200, 90)
    picture = load_image(pixels, background=background)
    alpha = pixels[..., -1:] / 255
    expected = pixels[..., :-1] * alpha + np.array(background) * (1 - alpha)
    assert np.abs(picture.pixels - expected).max() <= 1  # 8-bit rounding
    assert picture.info.notes == ("transparency composited over RGB (10, 200, 90)",)
    for same in (encoded(pixels), Image.fromarray(pixels)):
        assert np.array_equal(load_image(same, background=background).pixels, picture.pixels)


def test_white_is_the_default_background_and_opaque_alpha_changes_nothing() -> None:
    clear = np.zeros((40, 40, 4), np.uint8)
    assert (load_image(clear).pixels == 255).all()
    opaque = np.dstack([photo(), np.full((48, 64), 255, np.uint8)])
    picture = load_image(opaque)
    assert np.array_equal(picture.pixels, photo())
    assert picture.info.notes == ()


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA"])
def test_rarer_alpha_modes(mode: str) -> None:
    straight = Image.fromarray(photo(channels=2 if mode == "La" else 4))
    image = straight.convert(mode) if mode != "PA" else Image.fromarray(photo()).quantize(16).convert("PA")
    expected = load_image(image.convert("LA" if mode == "La" else "RGBA")).pixels
    assert np.array_equal(load_image(image).pixels, expected)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB", "HSV"])
def test_other_colour_spaces_are_converted_and_noted(mode: str) -> None:
    smooth = Image.fromarray(photo()).resize((12, 9)).resize((64, 48), Image.Resampling.BICUBIC)
    if mode == "LAB":
        to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        image = to_lab.apply(smooth)
        image.info.clear()
    else:
        image = smooth.convert(mode)
    picture = load_image(image)
    assert picture.info.notes == (f"converted from {mode} to RGB",)
    assert np.abs(picture.pixels.astype(int) - np.asarray(smooth)).mean() < 4  # two 8-bit roundings in a coarse space


def test_a_cmyk_jpeg() -> None:
    picture = load_image(encoded(Image.new("CMYK", (40, 40), (0, 255, 255, 0)), "JPEG", quality=95))
    assert np.abs(picture.pixels.astype(int) - (255, 0, 0)).max() <= 4
    assert picture.info.notes == ("converted from CMYK to RGB",)


def test_sixteen_bits_equal_eight_bits() -> None:
    eight = photo()[..., 0]
    sixteen = eight.astype(np.uint16) * 257
    expected = load_image(eight).pixels
    wide_int = Image.fromarray(sixteen.astype(np.int32))
    assert wide_int.mode == "I"
    sources = {
        "array": sixteen,
        "big-endian array": sixteen.astype(">u2"),
        "tensor": torch.from_numpy(sixteen),
        "I;16": Image.fromarray(sixteen),
        "I": wide_int,
        "png": encoded(sixteen),
        "tiff": encoded(sixteen, "TIFF"),
        "compressed tiff": encoded(sixteen, "TIFF", compression="tiff_lzw"),
        "float": eight / np.float32(255),
        "F": Image.fromarray(eight / np.float32(255)),
        "float tiff": encoded(eight / np.float32(255), "TIFF"),
    }
    for name, source in sources.items():
        picture = load_image(source)
        assert np.array_equal(picture.pixels, expected), name
        kind = "floating-point" if name in ("float", "F", "float tiff") else "16-bit"
        assert picture.info.notes == (f"{kind} values scaled to 8 bits",), name


def test_sixteen_bit_scaling_rounds_to_nearest_for_every_value() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    got = load_image(values).pixels[..., 0]
    expected = [int(Fraction(v * 255, 65535) + Fraction(1, 2)) for v in range(65536)]
    assert got.ravel().tolist() == expected


def test_sixteen_bit_colour_files() -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in (photo().astype(">u2") * 257))
    picture = load_image(png(64, 48, 16, 2, rows))
    assert np.array_equal(picture.pixels, photo())
    assert picture.info.notes == ("16-bit values scaled to 8 bits",)
    keyed = load_image(png(64, 48, 16, 2, rows, chunk(b"tRNS", bytes(6))))
    assert "transparent colour of a 16-bit picture ignored" in keyed.info.notes


def test_twelve_bit_tiff_uses_its_whole_range() -> None:
    # two 12-bit values in three bytes: 0xFFF 0x000 -> white, black
    data = tiff(40, 40, 12, bytes([0xFF, 0xF0, 0x00]) * (40 * 40 // 2))
    assert load_image(data).pixels[0, :2, 0].tolist() == [255, 0]


def test_tiffs_that_would_be_misread_are_refused() -> None:
    inverted = tiff(40, 40, 16, bytes(40 * 40 * 2), photometric=0)
    assert "inverted greys" in refusal(inverted, name="scan.tif")
    for tags in ({254: 1}, {50706: 0x04010000}):
        assert "camera raw" in refusal(tiff(40, 40, 8, bytes(1600), extra=tags), name="shot.dng")
    assert load_image(tiff(40, 40, 8, bytes(1600), photometric=0)).pixels.min() == 255


@pytest.mark.parametrize(("low", "high"), [(-1, 5), (0, 65536), (-(2**31), 2**31 - 1)])
def test_wide_integers_outside_sixteen_bits_are_refused(low: int, high: int) -> None:
    values = np.full((40, 40), low, np.int32)
    values[0, 0] = high
    assert refusal(Image.fromarray(values)) == (
        f"<image>: 32-bit integer values {low}..{high} leave the 16-bit range 0..65535"
    )


# --- colour profiles -----------------------------------------------------------------------------------------------


def matrix_profile(gamma: float, *, swap_red_and_green: bool = False) -> bytes:
    """A minimal ICC v2 display profile with sRGB's primaries and a pure power curve."""

    def fixed(value: float) -> int:
        return round(value * 65536)

    columns = [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)]
    if swap_red_and_green:
        columns[:2] = columns[1::-1]
    curve = b"curv" + bytes(4) + struct.pack(">IHxx", 1, round(gamma * 256))
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags: dict[bytes, bytes] = {b"desc": text + bytes(-len(text) % 4), b"cprt": b"text" + bytes(4) + b"none"}
    tags[b"wtpt"] = b"XYZ " + bytes(4) + struct.pack(">3i", fixed(0.9642), fixed(1.0), fixed(0.8249))
    for letter, column in zip(b"rgb", columns, strict=True):
        tags[bytes([letter]) + b"XYZ"] = b"XYZ " + bytes(4) + struct.pack(">3i", *map(fixed, column))
        tags[bytes([letter]) + b"TRC"] = curve
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for signature, value in tags.items():
        table += signature + struct.pack(">II", offset + len(body), len(value))
        body += value
    head = struct.pack(">I4sI4s4s4s", offset + len(body), bytes(4), 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s", 2024, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    head += struct.pack(">3i", fixed(0.9642), fixed(1.0), fixed(0.8249))
    return head + bytes(128 - len(head)) + table + body


NOTE = "embedded colour profile converted to sRGB"


def test_an_srgb_profile_changes_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for pixels in (photo(), photo()[..., 0]):
        picture = load_image(encoded(pixels, icc_profile=profile))
        assert np.array_equal(picture.pixels, load_image(pixels).pixels)
        assert picture.info.notes == ()


def test_a_linear_profile_is_converted_to_srgb() -> None:
    picture = load_image(encoded(np.full((40, 40, 3), 55, np.uint8), icc_profile=matrix_profile(1.0)))
    # sRGB of linear 55/255 = 0.21569: 1.055 * 0.21569 ** (1/2.4) - 0.055 = 0.50174, times 255 = 127.9
    assert np.abs(picture.pixels.astype(int) - 128).max() <= 1
    assert picture.info.notes == (NOTE,)


def test_a_profile_with_other_primaries_is_converted() -> None:
    profile = matrix_profile(2.2, swap_red_and_green=True)
    red = np.zeros((40, 40, 3), np.uint8)
    red[..., 0] = 255
    picture = load_image(encoded(red, "JPEG", quality=100, subsampling=0, icc_profile=profile))
    assert np.abs(picture.pixels[20, 20].astype(int) - (0, 255, 0)).max() <= 6
    assert picture.info.notes == (NOTE,)


def test_a_profile_applies_to_colours_before_alpha() -> None:
    pixels = np.full((40, 40, 4), 55, np.uint8)
    pixels[..., 3] = 128
    picture = load_image(encoded(pixels, icc_profile=matrix_profile(1.0)), background=(0, 0, 0))
    assert np.abs(picture.pixels.astype(int) - 64).max() <= 1  # 128 (see above) * 128/255; the background is sRGB
    assert picture.info.notes == (NOTE, "transparency composited over RGB (0, 0, 0)")


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_a_colour_profile_in_grey_and_palette_files(mode: str) -> None:
    grey = Image.new("L", (40, 40), 55)
    image = {"L": grey, "P": grey.convert("P"), "I;16": Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)}[mode]
    picture = load_image(encoded(image, icc_profile=matrix_profile(1.0)))
    assert np.abs(picture.pixels.astype(int) - 128).max() <= 1
    assert NOTE in picture.info.notes


@pytest.mark.parametrize("profile", [b"junk", matrix_profile(1.0)[:200], bytes(500)])
def test_a_broken_profile_is_ignored_with_a_note(profile: bytes) -> None:
    picture = load_image(encoded(photo(), icc_profile=profile))
    assert np.array_equal(picture.pixels, photo())
    assert picture.info.notes == ("embedded colour profile is unusable and was ignored",)


def test_a_profile_of_another_colour_space_is_ignored_with_a_note() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    picture = load_image(encoded(photo(), icc_profile=profile))
    assert np.array_equal(picture.pixels, photo())
    assert picture.info.notes == ("embedded colour profile is unusable and was ignored",)


# --- arrays and tensors --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_in_the_unit_interval_are_scaled(dtype: type[np.floating]) -> None:
    values = (photo() / 255).astype(dtype)
    picture = load_image(values)
    assert np.array_equal(picture.pixels, photo())
    assert picture.info.notes == ("floating-point values scaled to 8 bits",)
    assert (load_image(np.zeros((40, 40), dtype)).pixels == 0).all()
    assert (load_image(np.ones((40, 40), dtype)).pixels == 255).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1e-6, 1.0001, 255.0])
def test_floats_outside_the_unit_interval_are_refused(bad: float) -> None:
    values = np.full((40, 40, 3), 0.5)
    values[3, 4, 1] = bad
    for source in (values, torch.from_numpy(values), Image.fromarray(values[..., 1].astype(np.float32))):
        message = refusal(source)
        assert "must be finite and in [0, 1]" in message
        assert message.startswith(("<array>", "<tensor>", "<image>"))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint32, np.uint64, np.complex64, object])
def test_other_types_are_refused(dtype: type) -> None:
    message = refusal(np.zeros((40, 40, 3), dtype))
    assert message.startswith(f"<array>: values of type {np.dtype(dtype)}; expected uint8")


@pytest.mark.parametrize(
    "shape", [(), (40,), (1, 40, 40, 3), (2, 40, 40, 3), (1, 2, 3, 4, 5), (40, 40, 0), (40, 40, 5)]
)
def test_shapes_that_are_no_picture_are_refused(shape: tuple[int, ...]) -> None:
    message = refusal(np.zeros(shape, np.uint8))
    assert str(shape) in message
    assert ("pass one picture" in message) == (len(shape) == 4)


def test_numpy_arrays_are_never_taken_for_channels_first() -> None:
    assert "has 40 channels" in refusal(np.zeros((3, 40, 40), np.uint8))


def test_arrays_with_strides_are_read_right() -> None:
    big = photo(96, 128)
    for view in (big[::2, ::2], big[::-1], big[..., ::-1], big.swapaxes(0, 1), np.asfortranarray(big)):
        assert np.array_equal(load_image(view).pixels, view)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tensors_in_both_layouts(channels: int) -> None:
    array = photo(channels=channels)
    tensor = torch.from_numpy(array)
    expected = load_image(array).pixels
    assert np.array_equal(load_image(tensor).pixels, expected)
    assert np.array_equal(load_image(tensor.permute(2, 0, 1)).pixels, expected)
    assert np.array_equal(load_image(tensor.permute(2, 0, 1).float() / 255).pixels, expected)


def test_tensors_of_other_kinds() -> None:
    grey = torch.from_numpy(photo()[..., 0])
    assert np.array_equal(load_image(grey).pixels, load_image(photo()[..., 0]).pixels)
    parameter = torch.nn.Parameter(torch.full((3, 40, 40), 0.5))
    assert (load_image(parameter).pixels == 128).all()
    assert (load_image(torch.ones(3, 40, 40, dtype=torch.bfloat16)).pixels == 255).all()


def test_an_ambiguous_tensor_counts_as_channels_last() -> None:
    # (3, 40, 3): as (H, W, C) it is 40 wide and 3 high, hence too small; as (C, H, W) it would be 3 wide
    assert "40x3 pixels is too small" in refusal(torch.zeros(3, 40, 3, dtype=torch.uint8))


def test_tensor_refusals() -> None:
    message = refusal(torch.zeros(1, 3, 40, 40))
    assert message == "<tensor>: shape (1, 3, 40, 40) is a batch; pass one picture, for example batch[0]"
    assert "values of type int64" in refusal(torch.zeros(3, 40, 40, dtype=torch.int64))
    assert "cannot be turned into an array" in refusal(torch.zeros(3, 40, 40, device="meta"))


# --- the pixel budget ----------------------------------------------------------------------------------------------


def test_the_budget_is_met_exactly_where_it_can_be() -> None:
    pixels = photo(60, 80)
    native = load_image(pixels, max_pixels=4800)
    assert np.array_equal(native.pixels, pixels)
    assert native.info.notes == ()
    over = load_image(pixels, max_pixels=4799)
    assert over.pixels.shape[:2] in ((59, 80), (60, 79))
    assert load_image(pixels, max_pixels=None).pixels.shape == (60, 80, 3)
    assert load_image(pixels, max_pixels=1200 * 2).info.judged_height == 42  # 80 x 60 * sqrt(1/2) = 56.57 x 42.43


def test_resizing_is_noted_with_numbers_derived_by_hand() -> None:
    picture = load_image(np.zeros((3000, 4000), np.uint8), name="big", max_pixels=262144)
    # scale = sqrt(262144 / 12e6) = 0.147802: 591.21 x 443.41; 591 * 443 = 261813 fits, 592 * 443 = 262256 does not
    assert picture.info == ImageInfo(
        "big", 4000, 3000, 591, 443, ("resized from 4000x3000 to 591x443 to respect the pixel budget of 262144",)
    )
    assert picture.pixels.shape == (443, 591, 3)


@settings(max_examples=300, deadline=None)
@given(st.integers(32, 20_000), st.integers(32, 8_000), st.integers(1024, 2_000_000))
@example(3200, 32, 102_399)
@example(3200, 32, 102_400)
@example(4000, 3000, 262_144)
def test_the_fitted_size_is_within_budget_proportional_and_large(width: int, height: int, budget: int) -> None:
    try:
        w, h = images.fitted_size(width, height, budget)
    except ImageError:
        # only where the proportional size is about or under the smallest side
        assert min(width, height) * (budget / (width * height)) ** 0.5 < 33
        return
    if width * height <= budget:
        assert (w, h) == (width, height)
        return
    exact = (budget / (width * height)) ** 0.5
    assert w * h <= budget
    assert min(w, h) >= 32
    assert w <= width and h <= height
    assert abs(w - width * exact) <= 1 and abs(h - height * exact) <= 1
    if width != height:
        assert images.fitted_size(height, width, budget) == (h, w)


def test_a_budget_below_the_smallest_side_is_refused_not_squeezed() -> None:
    wide = np.zeros((40, 4000), np.uint8)
    assert refusal(wide, max_pixels=50_000) == (
        "<array>: 4000x40 pixels do not fit the pixel budget of 50000 with both sides at least 32"
    )
    for budget in (1023, 0, -5):
        assert "do not fit" in refusal(photo(), max_pixels=budget)
    assert load_image(np.zeros((33, 33), np.uint8), max_pixels=1024).pixels.shape == (32, 32, 3)


def test_resizing_is_antialiased_and_done_once() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (256, 128))  # finest stripes: their mean is mid grey
    small = load_image(stripes, max_pixels=64 * 64)
    assert np.abs(small.pixels[4:-4, 4:-4].astype(int) - 127.5).max() < 6
    data = encoded(photo(300, 400), "JPEG")
    with Image.open(io.BytesIO(data)) as image:
        expected = image.convert("RGB").resize((116, 86), Image.Resampling.LANCZOS)
    assert np.array_equal(load_image(data, max_pixels=10_000).pixels, np.asarray(expected))


def test_training_and_intake_share_one_resampler() -> None:
    pixels = photo(300, 400)
    before = pixels.copy()
    small = resized(pixels, 86, 116)
    assert np.array_equal(small, load_image(pixels, max_pixels=10_000).pixels)
    assert small.flags.c_contiguous and np.array_equal(pixels, before)
    same = resized(pixels, 300, 400)
    assert np.array_equal(same, pixels) and not np.shares_memory(same, pixels)


def test_orientation_comes_before_the_budget() -> None:
    exif = Image.Exif()
    exif[274] = 6
    info = load_image(encoded(photo(300, 200), exif=exif), max_pixels=15_000).info
    assert (info.width, info.height) == (300, 200)
    assert (info.judged_width, info.judged_height) == (150, 100)
    assert info.notes[0] == "EXIF orientation 6 applied"
    assert info.notes[1].startswith("resized from 300x200 to 150x100")


def test_notes_are_short_plain_lines() -> None:
    exif = Image.Exif()
    exif[274] = 3
    data = encoded(photo(200, 200, 4), exif=exif, icc_profile=matrix_profile(1.0))
    notes = load_image(data, max_pixels=5_000).info.notes
    assert len(notes) == 4
    assert all(note.isprintable() and len(note) < 100 for note in notes)


# --- padding -------------------------------------------------------------------------------------------------------


def test_padding_reflects_to_the_right_and_bottom() -> None:
    pixels = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.uint8)
    assert pad_to_multiple(pixels, 5).tolist() == [
        [1, 2, 3, 2, 1],
        [4, 5, 6, 5, 4],
        [7, 8, 9, 8, 7],
        [4, 5, 6, 5, 4],
        [1, 2, 3, 2, 1],
    ]


def test_padding_returns_the_same_array_when_nothing_is_missing() -> None:
    pixels = photo(48, 64)
    assert pad_to_multiple(pixels, 16) is pixels
    assert pad_to_multiple(pixels, 1) is pixels


def test_padding_a_side_too_small_to_reflect_repeats_the_edge() -> None:
    assert pad_to_multiple(np.array([[1, 2]], np.uint8), 4).tolist() == [[1, 2, 2, 1]] * 4


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 32))
def test_padding_keeps_the_picture_and_reaches_the_next_multiple(height: int, width: int, multiple: int) -> None:
    pixels = photo(height, width)
    padded = pad_to_multiple(pixels, multiple)
    assert padded.shape == (-(-height // multiple) * multiple, -(-width // multiple) * multiple, 3)
    assert np.array_equal(padded[:height, :width], pixels)
    assert padded.dtype == np.uint8
    assert padded.flags.c_contiguous


# --- speed, threads ------------------------------------------------------------------------------------------------


def test_a_twelve_megapixel_jpeg_is_read_quickly() -> None:
    smooth = Image.fromarray(photo(30, 40)).resize((4000, 3000), Image.Resampling.BICUBIC)
    data = encoded(smooth, "JPEG", quality=92)
    start = time.process_time()
    picture = load_image(data, max_pixels=262_144)
    assert time.process_time() - start < 2  # about 0.2 s of processor time on an idle core
    assert picture.info.width * picture.info.height == 12_000_000


def test_threads_do_not_leave_warning_filters_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(photo())
    plain_open = Image.open

    def slow_open(*args: object, **options: object) -> Image.Image:
        time.sleep(0.005)  # lets the other threads in while this one has changed the filters
        return plain_open(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Image, "open", slow_open)
    filters = list(warnings.filters)
    results: list[Picture] = []
    threads = [threading.Thread(target=lambda: results.extend(load_image(data) for _ in range(5))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == filters
    assert len(results) == 30
    assert all(np.array_equal(picture.pixels, photo()) for picture in results)
