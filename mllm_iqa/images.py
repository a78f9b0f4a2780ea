"""Reading pictures: any common source in; upright 8-bit sRGB pixels and a note on every change out.

`load_image` is the one way a picture enters the program. It never fetches anything, bounds what a hostile file can cost
before decoding it, and refuses with an `ImageError` whatever it cannot read faithfully.
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias
from urllib.parse import unquote_to_bytes

import numpy as np
from PIL import Image, UnidentifiedImageError

from .errors import ImageError
from .file_facts import file_facts
from .srgb import Array, eight_bit, to_srgb
from .types import ImageInfo

MAX_SOURCE_PIXELS = 178_000_000  # just below the size at which Pillow itself refuses to open a file
MAX_SOURCE_BYTES = 512 * 2**20
MIN_SIDE = 32
MAX_ASPECT = 100

# Raster formats only. Left out on purpose: EPS (runs Ghostscript), PSD and ICO (several pictures that are no frames).
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000", "PPM", "TGA", "QOI")
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION, _PHOTOMETRIC, _SUBFILE_TYPE, _DNG_VERSION = 274, 262, 254, 50706  # EXIF and TIFF tag numbers

_filters_lock = threading.Lock()  # the list of warning filters is shared by all threads


class Tensor(Protocol):
    """A torch tensor, recognised without importing torch."""

    def detach(self) -> Any:
        """The same values outside the autograd graph."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture ready to be judged.

    Attributes:
        pixels: (H, W, 3) uint8, RGB in sRGB, C-contiguous, upright; memory of its own.
        info: name, sizes, and what intake changed.
    """

    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    info: ImageInfo


ImageSource: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO | Image.Image | Array | Tensor | Picture


def load_image(
    source: ImageSource,
    *,
    name: str | None = None,
    max_pixels: int | None = None,
    max_source_pixels: int = MAX_SOURCE_PIXELS,
    background: tuple[int, int, int] = (255, 255, 255),
) -> Picture:
    """Read one picture as upright 8-bit sRGB.

    Args:
        source: one of
            - a path (str or path-like) of a regular file, or a `data:image/...;base64,` URI;
            - the bytes of a file, or a binary file object, read from its current position and left open;
            - a PIL image: its current frame;
            - a numpy array (H, W) or (H, W, C), C = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA: bool, uint8, uint16 over its
              full range, or floating-point in [0, 1];
            - a torch tensor with the same values, (H, W), (H, W, C) or (C, H, W). It is (C, H, W) when the first
              dimension is 1, 3 or 4 and the last is not, so that an ambiguous shape counts as (H, W, C);
            - a `Picture`, which is returned as it is unless it must be renamed or made smaller.
        name: what to call it in `info.name` and in errors; None = the file name, or `<bytes>`, `<array>` and the like.
        max_pixels: bound on width x height of what is judged; a larger picture is resized once, keeping its aspect
            ratio to within one pixel. None = native size.
        max_source_pixels: bound on width x height of a source that still has to be decoded, MAX_SOURCE_PIXELS at most.
        background: RGB, each 0..255, that a transparent picture is composited over.

    Returns:
        The pixels, and an `ImageInfo` whose notes tell each change: frame chosen, orientation, depth, alpha, colour
        space, size. The source is not modified, and equal sources give equal pixels.

    Raises:
        ImageError: naming the source and the reason: unreadable, not a picture, truncated, smaller side under MIN_SIDE,
            sides beyond MAX_ASPECT : 1, more than max_source_pixels or MAX_SOURCE_BYTES (both found before decoding),
            values out of range, or a budget that would leave a side under MIN_SIDE.
    """
    where = _one_line(_where(source) if name is None else name)
    shown = shown_name(source) if name is None else name
    try:
        if isinstance(source, Picture):
            return _refitted(source, name, max_pixels)
        notes: list[str] = []
        with _opened(source, notes) as raw:
            facts = None if raw is source else file_facts(raw)  # a PIL image may have been changed since it was opened
            image = to_srgb(_loaded(raw, notes, max_source_pixels), background, notes)
        return _finished(image, ImageInfo(shown, *image.size, *image.size, tuple(notes), facts), max_pixels)
    except ImageError as error:
        raise ImageError(f"{where}: {error}") from error.__cause__


def read_encoded(path: str) -> bytes:
    """The bytes of a picture's file, for `load_image` to decode later.

    Raises:
        ImageError: without the path: no regular file, unreadable, empty, or more than MAX_SOURCE_BYTES.
    """
    with _regular_file(path) as file:
        return _drained(file)


def shown_name(source: ImageSource) -> str:
    """What results call a picture whose caller gave it no name: its file name, or `<bytes>`, `<array>` and the like."""
    where = _one_line(_where(source))
    return os.path.basename(where) or where


def resized(pixels: Array, height: int, width: int) -> Array:
    """The one way pictures change size, in training as in use: Lanczos, antialiased when reducing.

    Args:
        pixels: (H, W, 3) uint8, no side 0.
        height: of the result, at least 1.
        width: of the result, at least 1.

    Returns:
        (height, width, 3) uint8, C-contiguous, memory of its own.
    """
    return np.array(_resized(Image.fromarray(pixels), (width, height)))


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=None)


def pad_to_multiple(pixels: Array, multiple: int) -> Array:
    """Extend the right and bottom edges by reflection until both sides are multiples of `multiple`.

    Args:
        pixels: (H, W) or (H, W, C), neither side 0, any dtype.
        multiple: at least 1.

    Returns:
        The same array when nothing is missing, else a new C-contiguous one. The edge row or column is not repeated,
        except when a side has too few pixels to reflect without repeating it.
    """
    height, width = pixels.shape[:2]
    missing = (-height % multiple, -width % multiple)
    if missing == (0, 0):
        return pixels
    mode = "reflect" if missing[0] < height and missing[1] < width else "symmetric"
    pads = ((0, missing[0]), (0, missing[1])) + ((0, 0),) * (pixels.ndim - 2)
    padded: Array = np.pad(pixels, pads, mode=mode)  # type: ignore[call-overload]
    return padded


def _one_line(text: str) -> str:
    """`text` made safe to print: no line breaks, no lone surrogates (undecodable file names), not endless."""
    line = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    return line if len(line) <= 300 else line[:300] + "..."


def _where(source: Any) -> str:
    """What to call `source` in an error when the caller gave it no name."""
    if isinstance(source, Picture):
        return source.info.name
    if _is_data_uri(source):
        return "<data URI>"
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(source) or "<empty path>"
    if isinstance(source, bytes | bytearray | memoryview):
        return "<bytes>"
    if isinstance(source, Image.Image):
        return os.fsdecode(getattr(source, "filename", "")) or "<image>"
    if isinstance(source, np.ndarray):
        return "<array>"
    if _is_tensor(source):
        return "<tensor>"
    if hasattr(source, "read"):
        own = getattr(source, "name", None)
        return own if isinstance(own, str) and own else "<file>"
    return f"<{type(source).__name__}>"


def _is_data_uri(source: Any) -> bool:
    return isinstance(source, str) and source[:5].lower() == "data:"


def _is_tensor(source: Any) -> bool:
    return type(source).__module__.partition(".")[0] == "torch" and hasattr(source, "detach")


@contextmanager
def _opened(source: Any, notes: list[str]) -> Iterator[Image.Image]:
    """The source as a PIL image, not yet decoded; valid inside the block."""
    if isinstance(source, Image.Image):
        yield source
    elif isinstance(source, np.ndarray):
        yield _from_array(source, notes)
    elif _is_tensor(source):
        yield _from_array(_tensor_to_array(source), notes)
    else:
        with _stream(source) as stream:
            yield _identified(stream)


@contextmanager
def _stream(source: Any) -> Iterator[BinaryIO]:
    """The encoded bytes of a path, URI, bytes or file object, their number checked."""
    if _is_data_uri(source):
        yield io.BytesIO(_data_uri_bytes(source))
    elif isinstance(source, str | os.PathLike):
        with _regular_file(os.fsdecode(source)) as file:
            yield file
    elif isinstance(source, bytes | bytearray | memoryview):
        _check_bytes(memoryview(source).nbytes)
        yield io.BytesIO(bytes(source))  # a view may have gaps
    elif hasattr(source, "read"):
        yield io.BytesIO(_drained(source))
    else:
        raise ImageError("not a picture source; give a path, bytes, a binary file, a PIL image, an array or a tensor")


def _check_bytes(count: int) -> None:
    if count == 0:
        raise ImageError("is empty (0 bytes)")
    if count > MAX_SOURCE_BYTES:
        raise ImageError(f"has {count} bytes; the limit is {MAX_SOURCE_BYTES}")


def _regular_file(path: str) -> BinaryIO:
    """Open `path` for reading if it is a regular file; a FIFO or device could block or never end."""
    if re.match(r"https?:/|[A-Za-z][A-Za-z0-9+.-]+://", path):
        raise ImageError("is a URL, and nothing is fetched from the network; download the picture and give its path")
    if not path:
        raise ImageError("the path is empty")
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise ImageError("is a directory, not a picture")
        if not stat.S_ISREG(found.st_mode):
            raise ImageError("is not a regular file")
        _check_bytes(found.st_size)
        return Path(path).open("rb")
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ImageError(f"cannot be opened: {reason}") from error


def _drained(file: Any) -> bytes:
    """The rest of a binary file object; a raw one may return fewer bytes than asked for."""
    parts: list[bytes] = []
    total = 0
    while True:
        try:
            part = file.read(MAX_SOURCE_BYTES + 1 - total)
        except (OSError, ValueError) as error:
            raise ImageError(f"cannot be read: {error}") from error
        if not isinstance(part, bytes | bytearray):
            raise ImageError("is not a binary file object; open it with mode 'rb'")
        parts.append(bytes(part))
        total += len(part)
        if not part or total > MAX_SOURCE_BYTES:
            break
    if total > MAX_SOURCE_BYTES:
        raise ImageError(f"has more bytes than the limit of {MAX_SOURCE_BYTES}")
    _check_bytes(total)
    return parts[0] if total == len(parts[0]) else b"".join(parts)


def _data_uri_bytes(uri: str) -> bytes:
    head, comma, payload = uri.partition(",")
    fields = [field.strip().lower() for field in head[5:].split(";")]
    if not comma or not fields[0].startswith("image/") or fields[-1] != "base64":
        raise ImageError("must have the form data:image/...;base64,...")
    if len(payload) > 4 * (MAX_SOURCE_BYTES // 3 + 1):
        raise ImageError(f"has {len(payload)} base64 characters; the limit is {MAX_SOURCE_BYTES} bytes")
    try:
        data = base64.b64decode(b"".join(unquote_to_bytes(payload).split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"holds no valid base64: {error}") from error
    _check_bytes(len(data))
    return data


@contextmanager
def _decoding() -> Iterator[None]:
    """Turn what a decoder raises into an `ImageError`; on broken files Pillow's decoders raise nearly anything."""
    try:
        yield
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"refused before decoding: {str(error).partition(',')[0]}") from error
    except Exception as error:
        raise ImageError(f"cannot be decoded: {_one_line(str(error)) or type(error).__name__}") from error


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Silence Pillow's warnings on large pictures (`_check_size` decides) and on damaged metadata (which is ignored).

    One thread at a time, since the filters belong to the process: for reading headers, not for decoding.
    """
    with _filters_lock, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def _identified(stream: BinaryIO) -> Image.Image:
    """The picture in `stream`, header read, size checked, not decoded."""
    Image.init()
    formats = [name for name in (*FORMATS, "HEIF") if name in Image.OPEN]  # HEIF once pillow-heif is registered
    try:
        with _decoding(), _quiet_pillow():
            return Image.open(stream, formats=formats)
    except ImageError as error:
        stream.seek(0)
        header = stream.read(12)
        if header[4:8] == b"ftyp" and header[8:12] in _HEIF_BRANDS:
            raise ImageError("HEIF needs the pillow-heif package and pillow_heif.register_heif_opener()") from error
        if isinstance(error.__cause__, UnidentifiedImageError):
            raise ImageError(f"is not a complete picture in a known format ({', '.join(formats)})") from error
        raise


def _check_size(width: int, height: int, max_source_pixels: int = MAX_SOURCE_PIXELS) -> None:
    size, limit = f"{width}x{height} pixels", min(max_source_pixels, MAX_SOURCE_PIXELS)
    if width * height > limit:
        raise ImageError(f"{size}, more than the limit of {limit}; refused before decoding")
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"{size} is too small to judge; the smaller side must be at least {MIN_SIDE}")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(f"{size} is too elongated to judge; the sides may differ by {MAX_ASPECT}:1 at most")


def _loaded(image: Image.Image, notes: list[str], max_source_pixels: int) -> Image.Image:
    """Decode and turn upright; any mode. The metadata that decoding discards is read first."""
    with _decoding():
        _check_size(*image.size, max_source_pixels)
        frames = int(getattr(image, "n_frames", 1))
        if frames > 1:
            frame = image.tell()
            notes.append(f"{'first' if frame == 0 else f'number {frame + 1}'} of {frames} frames")
        tiff_tags = getattr(image, "tag_v2", None)
        turned = None if tiff_tags is None else tiff_tags.get(_ORIENTATION)  # Pillow turns TIFF itself, in load()
        if tiff_tags is not None:
            _check_tiff(image, tiff_tags)
        layout = " ".join(str(tile.args) for tile in getattr(image, "tile", ()))
        image.load()
        if "I;12" in layout:
            image = image.point(lambda value: value * (65535 / 4095))
        elif re.search(r"(?<!BGR);16", layout) and image.mode[0] != "I":  # BGR;16 packs three colours into 16 bits
            notes.append("16-bit values scaled to 8 bits")
        if ";16" in layout and "transparency" in image.info:
            notes.append("transparent colour of a 16-bit picture ignored")  # Pillow compares it with 8-bit values
        if turned is None:
            turned = _exif_orientation(image)
            upright = image.transpose(_TURNS[turned]) if turned in _TURNS else image
        else:
            upright = image
        if turned in _TURNS:
            notes.append(f"EXIF orientation {turned} applied")
        return upright


def _check_tiff(image: Image.Image, tags: Any) -> None:
    """Refuse what Pillow would read as something else than the picture."""
    if tags.get(_SUBFILE_TYPE, 0) & 1 or _DNG_VERSION in tags:
        raise ImageError("is a camera raw file or starts with a preview; develop it to TIFF, PNG or JPEG first")
    if tags.get(_PHOTOMETRIC) == 0 and image.mode[0] in "IF":
        raise ImageError("is a 16-bit or floating-point TIFF with inverted greys (WhiteIsZero), which is not supported")


def _exif_orientation(image: Image.Image) -> Any:
    """The EXIF orientation tag; None when there is none or the EXIF header is damaged (as viewers do)."""
    try:
        with _quiet_pillow():
            return image.getexif().get(_ORIENTATION)
    except Exception:  # damaged EXIF makes Pillow raise nearly anything, and says nothing about the pixels
        return None


def _tensor_to_array(tensor: Any) -> Array:
    """A torch tensor as (H, W[, C]) numpy."""
    _check_dimensions(tuple(tensor.shape))
    try:
        values = tensor.detach().cpu()
        array: Array = (values.float() if str(values.dtype) == "torch.bfloat16" else values).numpy()
    except (TypeError, RuntimeError, ValueError) as error:
        raise ImageError(f"cannot be turned into an array: {_one_line(str(error))}") from error
    if array.ndim == 3 and array.shape[0] in (1, 3, 4) and array.shape[2] not in (1, 3, 4):
        return array.transpose(1, 2, 0)
    return array


def _check_dimensions(shape: tuple[int, ...]) -> None:
    if len(shape) == 4:
        raise ImageError(f"shape {shape} is a batch; pass one picture, for example batch[0]")
    if len(shape) not in (2, 3):
        raise ImageError(f"shape {shape} is no picture; expected (height, width) or (height, width, channels)")


def _from_array(array: Array, notes: list[str]) -> Image.Image:
    """(H, W[, C]) values as a PIL image of mode L, LA, RGB or RGBA; C = 1 counts as (H, W)."""
    _check_dimensions(array.shape)
    if array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4):
        raise ImageError(f"shape {array.shape} has {array.shape[2]} channels; expected (height, width, 1 to 4)")
    _check_size(array.shape[1], array.shape[0])
    flat = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    return Image.fromarray(np.ascontiguousarray(eight_bit(flat, notes)))


def fitted_size(width: int, height: int, max_pixels: int | None) -> tuple[int, int]:
    """(width, height) within the budget: the largest product among the roundings of the exactly proportional size."""
    if max_pixels is None or width * height <= max_pixels:
        return width, height
    scale = sqrt(max(max_pixels, 0) / (width * height))
    low_w, low_h = int(width * scale), int(height * scale)
    sizes = [(w, h) for w in (low_w, low_w + 1) for h in (low_h, low_h + 1)]
    fitting = [(w, h) for w, h in sizes if w * h <= max_pixels and MIN_SIDE <= w <= width and MIN_SIDE <= h <= height]
    if not fitting:
        raise ImageError(
            f"{width}x{height} pixels do not fit the pixel budget of {max_pixels} with both sides at least {MIN_SIDE}"
        )
    return max(fitting, key=lambda size: (size[0] * size[1], -abs(size[0] * height - size[1] * width)))


def _finished(image: Image.Image, info: ImageInfo, max_pixels: int | None) -> Picture:
    """An RGB image within the budget, as a `Picture`; `info` is completed when this changes the size."""
    size = fitted_size(*image.size, max_pixels)
    if size != image.size:
        before, after = (f"{width}x{height}" for width, height in (image.size, size))
        note = f"resized from {before} to {after} to respect the pixel budget of {max_pixels}"
        info = replace(info, judged_width=size[0], judged_height=size[1], notes=(*info.notes, note))
        image = _resized(image, size)
    return Picture(np.array(image), info)


def _refitted(picture: Picture, name: str | None, max_pixels: int | None) -> Picture:
    info = picture.info if name is None else replace(picture.info, name=name)
    height, width = picture.pixels.shape[:2]
    if fitted_size(width, height, max_pixels) != (width, height):
        return _finished(Image.fromarray(picture.pixels), info, max_pixels)
    return picture if info is picture.info else Picture(picture.pixels, info)
