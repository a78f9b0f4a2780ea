"""From a decoded video frame to 8-bit sRGB: which matrix and which range its numbers mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

# Numbers of ITU-T H.273, which containers and codecs carry.
_RGB, _UNSPECIFIED = 0, 2
_MATRICES = {1: "BT.709", 4: "FCC", 5: "BT.601", 6: "BT.601", 7: "SMPTE 240M", 9: "BT.2020", 10: "BT.2020"}
_PQ, _HLG = 16, 18
_FULL, _LIMITED = 2, 1  # FFmpeg's color_range
_HD_HEIGHT, _HD_WIDTH = 720, 1280  # from which on an unnamed matrix is taken for that of HDTV, as players do


@dataclass(frozen=True, slots=True)
class FrameColor:
    """How a frame's numbers are read.

    Attributes:
        matrix: number of ITU-T H.273 of the YCbCr matrix; 0 = the frame is RGB or grey already.
        full: whether values use the full range 0..255 (at 8 bits) rather than 16..235.
        words: both for people, and whether the file states them.
        notes: what cannot be shown faithfully.
    """

    matrix: int
    full: bool
    words: str
    notes: tuple[str, ...] = ()


def color_of(
    *, pixel_format: str, is_rgb: bool, colorspace: int, color_range: int, transfer: int, width: int, height: int
) -> FrameColor:
    """What the numbers of a frame mean.

    Args:
        pixel_format: FFmpeg's name of it; the `yuvj` formats are of full range.
        is_rgb: whether it holds RGB or grey.
        colorspace: number of ITU-T H.273; unknown ones are taken for unspecified.
        color_range: FFmpeg's: 1 limited, 2 full, else unspecified.
        transfer: number of ITU-T H.273.
        width: in px.
        height: in px; both decide between BT.601 and BT.709 where the file does not.
    """
    notes = []
    if transfer in (_PQ, _HLG):
        name = "PQ" if transfer == _PQ else "HLG"
        notes.append(f"the video is HDR ({name}) and was not tone-mapped; its score means little")
    if is_rgb:
        return FrameColor(_RGB, True, "RGB", tuple(notes))
    stated = colorspace in _MATRICES
    matrix = colorspace if stated else (1 if height >= _HD_HEIGHT or width >= _HD_WIDTH else 5)
    full = color_range == _FULL or (color_range != _LIMITED and pixel_format.startswith("yuvj"))
    if _MATRICES[matrix] == "BT.2020" and not notes:
        notes.append("the video has the wide colors of BT.2020, which were shown as those of sRGB")
    how = "stated" if stated else "by its size; the file does not say"
    words = f"{_MATRICES[matrix]} ({how}), {'full' if full else 'limited'} range"
    return FrameColor(matrix, full, words, tuple(notes))


def rgb_of(frame: Any) -> tuple[np.ndarray, FrameColor]:
    """The pixels of a PyAV frame, uint8 RGB (H, W, 3), and how they were read.

    BT.709's and BT.601's transfer curve is taken for sRGB's, as screens and browsers do.
    """
    components = frame.format.components
    grey = len(components) < 3 and not frame.format.has_palette
    color = color_of(
        pixel_format=frame.format.name,
        is_rgb=frame.format.is_rgb or frame.format.has_palette,
        colorspace=int(frame.colorspace),
        color_range=int(frame.color_range),
        transfer=int(frame.color_trc),
        width=frame.width,
        height=frame.height,
    )
    if color.matrix == _RGB and not grey:
        return frame.to_ndarray(format="rgb24"), color
    converted = frame.reformat(
        format="rgb24",
        src_colorspace=color.matrix,
        dst_colorspace=color.matrix,
        src_color_range=_FULL if color.full else _LIMITED,
        dst_color_range=_FULL,
        interpolation="BICUBIC",
    )
    return converted.to_ndarray(), color
