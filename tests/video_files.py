"""Small videos for tests, made with PyAV itself."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

EXAMPLES = Path(__file__).resolve().parents[1] / "mllm_iqa" / "examples"


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    *,
    fps: int = 10,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    seconds: Sequence[float] | None = None,
    colorspace: int | None = None,
    color_range: int | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode uint8 RGB frames (H, W, 3) of one size; `seconds` gives each frame's own time (a variable rate)."""
    with av.open(str(path), "w", options=options or {}) as container:
        stream = None
        for i, pixels in enumerate(frames):
            if stream is None:
                stream = container.add_stream(codec, rate=fps)
                stream.height, stream.width = pixels.shape[:2]
                stream.pix_fmt = pixel_format
                stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
                if codec in ("libx264", "libx265"):
                    stream.options = {"crf": "12", "preset": "ultrafast", "g": "10"}
                if colorspace is not None:
                    stream.codec_context.colorspace = colorspace
                if color_range is not None:
                    stream.codec_context.color_range = color_range
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            if colorspace is not None or color_range is not None:
                frame = frame.reformat(
                    format=pixel_format, dst_colorspace=colorspace, src_color_range=2, dst_color_range=color_range
                )
            frame.pts = round(1000 * (i / fps if seconds is None else seconds[i]))
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def moving(count: int, *, height: int = 96, width: int = 128, damaged: Callable[[int], bool] = lambda i: False) -> list:
    """Frames that pan over the shipped photograph of a cat; noise covers those for which `damaged` is true."""
    from mllm_iqa.images import load_image

    photo = load_image(EXAMPLES / "cat.jpg").pixels
    rng = np.random.default_rng(0)
    frames = []
    for i in range(count):
        left, top = 100 + i % 60, 40 + i % 30
        frame = photo[top : top + height, left : left + width]
        if damaged(i):
            frame = np.clip(frame + rng.normal(0, 60, frame.shape), 0, 255).astype(np.uint8)
        frames.append(np.ascontiguousarray(frame))
    return frames


def set_rotation(path: Path, quarter_turns_clockwise: int) -> Path:
    """Write a rotation into the track header of an MP4 file, as a phone that is held upright does."""
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarter_turns_clockwise % 4]
    one = 1 << 16
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd")
    assert data[at + 4] == 0, "a track header of version 0"
    matrix = struct.pack(">9i", cos * one, sin * one, 0, -sin * one, cos * one, 0, 0, 0, 1 << 30)
    start = at + 4 + 4 + 4 * 5 + 8 + 2 * 4  # flags, times, ids and duration; reserved; layer ... volume
    data[start : start + 36] = matrix
    path.write_bytes(data)
    return path
