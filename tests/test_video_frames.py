"""Reading videos: right colors, the right way up, times that are the file's, and files that are broken."""

import struct
from pathlib import Path

import numpy as np
import pytest

from mllm_iqa.errors import ConfigError, VideoError
from mllm_iqa.images import load_image
from mllm_iqa.video_color import color_of
from mllm_iqa.video_frames import Frame, FrameReader, Sampling, Video
from mllm_iqa.video_scenes import is_jump

from .video_files import EXAMPLES, moving, set_rotation, write_video


def read(path: Path, **options: object) -> tuple[list[Frame], Video]:
    with FrameReader(path, sampling=Sampling(**options)) as reader:
        return list(reader), reader.video


def bars(height: int = 64, width: int = 96) -> np.ndarray:
    """Six patches of color, each 32 px wide and high."""
    out = np.zeros((height, width, 3), np.uint8)
    colors = [(200, 30, 40), (30, 180, 60), (40, 60, 210), (230, 220, 30), (128, 128, 128), (240, 240, 240)]
    for i, color in enumerate(colors):
        out[32 * (i // 3) : 32 * (i // 3) + 32, 32 * (i % 3) : 32 * (i % 3) + 32] = color
    return out


def middles(pixels: np.ndarray) -> np.ndarray:
    return np.array(
        [pixels[32 * r + 12 : 32 * r + 20, 32 * c + 12 : 32 * c + 20].mean((0, 1)) for r in (0, 1) for c in (0, 1, 2)]
    )


@pytest.mark.parametrize(
    ("codec", "pixel_format", "colorspace", "color_range", "suffix"),
    [
        ("libx264", "yuv420p", 1, 1, "mp4"),
        ("libx264", "yuv420p", 5, 1, "mp4"),
        ("libx264", "yuv420p", 1, 2, "mkv"),
        ("libx264", "yuv444p", 5, 2, "mkv"),
        ("libx264", "yuv420p10le", 1, 1, "mp4"),
        ("libvpx-vp9", "yuv420p", 1, 1, "webm"),
        ("mpeg4", "yuv420p", None, None, "avi"),
        ("mjpeg", "yuvj420p", None, None, "mov"),
        ("ffv1", "yuv422p10le", 1, 1, "mkv"),
    ],
)
def test_colors_come_back(
    tmp_path: Path, codec: str, pixel_format: str, colorspace: int | None, color_range: int | None, suffix: str
) -> None:
    path = tmp_path / f"bars.{suffix}"
    write_video(
        path, [bars()] * 3, codec=codec, pixel_format=pixel_format, colorspace=colorspace, color_range=color_range
    )
    frames, video = read(path, every=0.1)
    error = np.abs(middles(frames[1].picture.pixels) - middles(bars()))
    # Read with the wrong matrix, the red patch would be off by about 20; with the wrong range, the white by 15.
    assert error.max() < 7, (video.color, error.round(1))
    assert (video.width, video.height) == (96, 64)


def test_what_numbers_mean_where_the_file_does_not_say() -> None:
    base = {"is_rgb": False, "colorspace": 2, "color_range": 0, "transfer": 2, "width": 640, "height": 360}
    small = color_of(pixel_format="yuv420p", **base)
    assert (small.matrix, small.full) == (5, False) and "does not say" in small.words
    large = color_of(pixel_format="yuvj420p", **{**base, "width": 1920, "height": 1080})
    assert (large.matrix, large.full) == (1, True)
    hdr = color_of(pixel_format="yuv420p10le", **{**base, "colorspace": 9, "transfer": 16})
    assert hdr.matrix == 9 and "HDR (PQ)" in hdr.notes[0]


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_frames_stand_upright(tmp_path: Path, turns: int) -> None:
    stored = bars()
    path = set_rotation(write_video(tmp_path / "phone.mp4", [stored] * 3), turns)
    frames, video = read(path, every=0.1)
    upright = np.rot90(stored, -turns)  # numpy turns counterclockwise
    assert frames[0].picture.pixels.shape == upright.shape
    assert np.abs(frames[0].picture.pixels.astype(int) - upright).mean() < 6
    assert video.rotation == 90 * turns
    assert (video.height, video.width) == upright.shape[:2]


def test_odd_sizes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "odd.mkv", moving(3, height=71, width=93), codec="ffv1", pixel_format="yuv444p")
    frames, _ = read(path, every=0.1)
    assert frames[0].picture.pixels.shape == (71, 93, 3)
    assert np.abs(frames[0].picture.pixels.astype(int) - moving(1, height=71, width=93)[0]).mean() < 4


def test_times_are_those_of_the_file(tmp_path: Path) -> None:
    times = [0, 0.1, 0.2, 0.9, 1.0, 1.05, 2.4, 2.5, 4.0, 4.1]
    path = write_video(tmp_path / "variable.mkv", moving(10), seconds=times)
    frames, video = read(path, every=1.0, scenes=False)
    # The first frame shown at or after 0, 1, 2, 3 and 4 s; that after 2 s comes at 2.4, that after 3 s at 4.
    assert [round(f.seconds, 2) for f in frames] == [0.0, 1.0, 2.4, 4.0]
    assert [f.number for f in frames] == [0, 4, 6, 8]
    assert video.decoded == 10 and video.ended_early is None


def test_a_number_of_frames_is_spread_over_the_duration(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", moving(40))
    frames, _ = read(path, every=None, count=4, scenes=False)
    assert [f.seconds for f in frames] == pytest.approx([0.5, 1.5, 2.5, 3.5], abs=0.06)
    raw = write_video(tmp_path / "clip.h264", moving(20))  # without a duration in any header
    assert len(read(raw, every=None, count=3, scenes=False)[0]) == 3


def test_a_cut_is_looked_at(tmp_path: Path) -> None:
    first, second = moving(12), [255 - frame for frame in moving(12)]
    path = write_video(tmp_path / "cut.mp4", [*first, *second])
    frames, video = read(path, every=10.0)
    assert video.cuts == pytest.approx([1.2], abs=0.01)
    assert [(round(f.seconds, 1), f.scene, f.cut) for f in frames] == [(0.0, 0, False), (1.2, 1, True)]
    assert read(path, every=10.0, scenes=False)[1].cuts == []
    assert is_jump(0.3, [0.01] * 5) and not is_jump(0.3, [0.2] * 5) and not is_jump(0.05, [0.0])


def test_frames_are_reduced_to_the_budget(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", moving(2))
    with FrameReader(path, max_pixels=4096) as reader:
        frame = next(iter(reader))
    height, width = frame.picture.pixels.shape[:2]
    assert height * width <= 4096 and "frame 0" in frame.picture.info.name


def test_a_file_that_is_cut_off_gives_what_it_has(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", moving(60), options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    frames, video = read(cut, every=0.5)
    assert 2 <= len(frames) < 12
    assert video.ended_early is not None and ("6.0 s" in video.ended_early or "breaks off" in video.ended_early)


def test_a_damaged_part_is_survived(tmp_path: Path) -> None:
    path = write_video(tmp_path / "whole.ts", moving(60))
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : third + 3000] = np.random.default_rng(0).integers(0, 256, 3000, np.uint8).tobytes()
    path.write_bytes(data)
    frames, video = read(path, every=0.5)
    assert frames[-1].seconds > 5 and video.ended_early is None


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("text.mp4", b"this is not a video\n" * 50, "no video that can be read"),
        ("empty.mp4", b"", r"empty \(0 bytes\)"),
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "no video that can be read"),
        ("list.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n", "no video that can be read"),
        ("no-index.mp4", struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 0) + b"\0" * 500, "no video that can be read"),
    ],
)
def test_what_is_no_video_is_refused(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(VideoError, match=rf"{name}: .*{says}"):
        FrameReader(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"cat\.jpg: is a still picture; use `mllm-iqa score`"):
        FrameReader(EXAMPLES / "cat.jpg")
    disguised = tmp_path / "cat.mp4"
    disguised.write_bytes((EXAMPLES / "cat.jpg").read_bytes())
    with pytest.raises(VideoError, match="is a still picture"):
        FrameReader(disguised)
    with pytest.raises(VideoError, match="no such file"):
        FrameReader(tmp_path / "missing.mp4")
    with pytest.raises(VideoError, match="not a regular file"):
        FrameReader(tmp_path)


def test_sound_alone_has_no_video_stream(tmp_path: Path) -> None:
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(VideoError, match=r"has no video stream \(it holds: audio\)"):
        FrameReader(path)


def test_frames_too_large_or_too_small_are_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", moving(2))
    with pytest.raises(VideoError, match="128x96 pixels, more than the limit of 1000"):
        FrameReader(path, max_source_pixels=1000)
    tiny = write_video(tmp_path / "tiny.mp4", [np.zeros((16, 16, 3), np.uint8)] * 2)
    with pytest.raises(VideoError, match="too small to judge"):
        FrameReader(tiny)


@pytest.mark.parametrize(
    "options", [{"every": 0}, {"every": None}, {"every": 1, "count": 3}, {"every": None, "count": 0}, {"most": 0}]
)
def test_samplings_out_of_range_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        Sampling(**options).check()


def test_a_long_video_takes_no_more_frames_than_the_most(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", moving(60))
    assert len(read(path, every=0.1, most=10, scenes=False)[0]) <= 11


def test_a_picture_equals_its_file(tmp_path: Path) -> None:
    frame = moving(1)[0]
    path = write_video(tmp_path / "exact.mkv", [frame] * 2, codec="ffv1", pixel_format="bgr0")
    frames, video = read(path, every=1.0)
    assert np.array_equal(frames[0].picture.pixels, load_image(frame).pixels) and video.color == "RGB"
