"""Reading videos: frames sampled over time as upright 8-bit sRGB pictures, one after the other, in bounded memory.

Nothing but the current frame is held. A file that ends early or has damaged parts gives what can be decoded, and
`Video.notes` and `Video.ended_early` say so. Needs PyAV (the extra `video`).
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .errors import ConfigError, ImageError, VideoError
from .extras import missing
from .images import MAX_SOURCE_PIXELS, MIN_SIDE, Picture, load_image
from .video_color import rgb_of
from .video_scenes import CutFinder

if TYPE_CHECKING:
    import av

VideoSource: TypeAlias = str | os.PathLike[str] | bytes
"""The path of a video file, or what is in one."""

FORMATS = (
    *("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "ogg"),
    *("asf", "mxf", "ivf", "h264", "hevc", "obu", "m4v", "yuv4mpegpipe", "gif", "apng", "nut", "dv"),
)
"""Demuxers that may open a file. Left out on purpose: playlists, which read other files and addresses."""

MAX_SAMPLES = 3600
_UNKNOWN_FPS = 25.0  # of a stream that carries neither times nor a rate
_SHORT_BY = 0.05  # of the promised duration: more is missing where a file ended early


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which frames are looked at.

    Attributes:
        every: seconds from one to the next; None = `count` of them instead.
        count: how many, in the middles of equal parts of the duration; None = by `every`.
        scenes: also look at the first whole frame after every cut.
        most: never more than these; the interval is widened until they suffice.
    """

    every: float | None = 1.0
    count: int | None = None
    scenes: bool = True
    most: int = 600

    def check(self) -> None:
        """Raise a `ConfigError` on values out of range."""
        if (self.every is None) == (self.count is None):
            raise ConfigError("say either how many seconds lie between two frames or how many frames there are")
        if self.every is not None and not (math.isfinite(self.every) and self.every > 0):
            raise ConfigError(f"the seconds between two frames must be positive, got {self.every}")
        if self.count is not None and not 1 <= self.count <= MAX_SAMPLES:
            raise ConfigError(f"the number of frames must lie between 1 and {MAX_SAMPLES}, got {self.count}")
        if not 1 <= self.most <= MAX_SAMPLES:
            raise ConfigError(f"the largest number of frames must lie between 1 and {MAX_SAMPLES}, got {self.most}")


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame that is looked at.

    Attributes:
        picture: its pixels, reduced to the model's budget.
        seconds: when it is shown, from the beginning of the video.
        number: of the decoded frame, from 0.
        scene: number of the shot it lies in, from 0.
        cut: whether it is looked at because a cut lies just before it, and not because its time had come.
    """

    picture: Picture
    seconds: float
    number: int
    scene: int
    cut: bool


@dataclass(slots=True)
class Video:
    """A video that is being read; what decoding brings to light is filled in on the way.

    Attributes:
        name: of the file.
        width, height: of a frame as it is shown, in pixels; upright from the first frame on.
        duration: in seconds as the file states it; None = it does not say.
        fps: mean frame rate as the file states it; None = unknown.
        codec, pixel_format: names as FFmpeg has them.
        color: how colors were read, e.g. "BT.709, limited range (stated)".
        rotation: degrees by which frames were turned clockwise to stand upright.
        decoded: frames decoded so far; damaged: packets that could not be decoded.
        last_seconds: when the last decoded frame is shown.
        ended_early: why fewer frames came than the file promises; None = it ended where it should.
        cuts: seconds at which a new shot begins.
        notes: one sentence each on what a viewer of the numbers should know.
    """

    name: str
    width: int
    height: int
    duration: float | None
    fps: float | None
    codec: str
    pixel_format: str
    color: str = ""
    rotation: int = 0
    decoded: int = 0
    damaged: int = 0
    last_seconds: float = 0.0
    ended_early: str | None = None
    cuts: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def note(self, sentence: str) -> None:
        """Add a note, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)


class FrameReader:
    """The sampled frames of one file: an iterator of `Frame`, with `video` beside it. Close it, or use `with`."""

    def __init__(
        self,
        path: VideoSource,
        *,
        sampling: Sampling | None = None,
        max_pixels: int | None = None,
        max_source_pixels: int = MAX_SOURCE_PIXELS,
        name: str | None = None,
    ) -> None:
        """Open a video and read its header.

        Args:
            path: of a regular file, or its bytes.
            sampling: which frames; None = one a second and one after every cut.
            max_pixels: pixel budget of a frame.
            max_source_pixels: refuse videos with larger frames.
            name: what to call it; None = its file name.

        Raises:
            VideoError: no such file, no video, no video stream, a still picture, frames too large or too small.
            ConfigError: a sampling out of range.
            MissingDependencyError: PyAV is not installed.
        """
        self._sampling = sampling or Sampling()
        self._sampling.check()
        self._max_pixels = max_pixels
        self._container = _opened(path, _shown(path, name, whole=True))
        try:
            self._stream = _video_stream(self._container)
            self.video = _described(self._container, self._stream, _shown(path, name))
            _check_size(self.video, max_source_pixels)
            self._every, self._first = _interval(self._sampling, _stated_or_counted(path, self.video, self._sampling))
        except VideoError as error:
            self._container.close()
            raise VideoError(f"{_shown(path, name, whole=True)}: {error}") from None
        except BaseException:
            self._container.close()
            raise
        self._start: float | None = None

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """Decode to the end.

        Raises:
            VideoError: not one frame could be decoded.
        """
        video, cuts = self.video, CutFinder()
        taken, pending_cut = 0, False
        for frame in self._frames():
            seconds = self._seconds(frame)
            number = video.decoded
            video.decoded += 1
            video.last_seconds = max(video.last_seconds, seconds)
            if self._sampling.scenes and cuts.is_cut(frame, seconds):
                video.cuts.append(seconds)
                pending_cut = True
            due = seconds + 1e-6 >= self._first + taken * self._every
            if not due and not (pending_cut and len(video.cuts) <= self._sampling.most):
                continue
            if due:  # times that no frame was shown at (a gap in the file) are passed over
                taken = 1 + math.floor((seconds + 1e-6 - self._first) / self._every)
            yield Frame(self._picture(frame, number), seconds, number, len(video.cuts), pending_cut and not due)
            pending_cut = False
        self._conclude()

    def _frames(self) -> Iterator[Any]:
        """Every frame that can be decoded. Packets that cannot are counted; a broken end ends the video."""
        import av

        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError as error:
                self.video.ended_early = f"the file breaks off: {error.strerror}"
                return
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                self.video.damaged += 1

    def _seconds(self, frame: Any) -> float:
        """When a frame is shown, from the first one's time; without a time stamp, one frame after the last."""
        if frame.pts is None or frame.time_base is None:
            step = 1 / (self.video.fps or _UNKNOWN_FPS)
            self.video.note("frames carry no time stamps; their times are counted from the frame rate")
            return self.video.last_seconds + (step if self.video.decoded else 0.0)
        time = float(frame.pts * Fraction(frame.time_base))
        if self._start is None:
            self._start = time
        return max(0.0, time - self._start)

    def _picture(self, frame: Any, number: int) -> Picture:
        rgb, color = rgb_of(frame)
        if not self.video.color:  # the first frame: only frames say how they are turned
            self.video.color, self.video.rotation = color.words, -int(frame.rotation) % 360
            height, width = np.rot90(rgb, _turns(frame)).shape[:2]
            self.video.width, self.video.height = width, height
        for sentence in color.notes:
            self.video.note(sentence)
        if getattr(frame, "interlaced_frame", False):
            self.video.note("frames are interlaced and were judged as they are, combed where something moves")
        turned = np.ascontiguousarray(np.rot90(rgb, _turns(frame)))
        try:
            return load_image(turned, name=f"{self.video.name} frame {number}", max_pixels=self._max_pixels)
        except ImageError as error:
            raise VideoError(str(error)) from None

    def _conclude(self) -> None:
        """Compare what came with what was promised."""
        video = self.video
        if not video.decoded:
            raise VideoError(f"{video.name}: not one frame of it can be decoded; is the file complete?")
        end = video.last_seconds + (1 / video.fps if video.fps else 0.0)
        if video.ended_early is None and video.duration and end < (1 - _SHORT_BY) * video.duration - 0.2:
            video.ended_early = f"decoded {end:.1f} of the {video.duration:.1f} s that its header promises"
        if video.damaged:
            video.note(f"{video.damaged} damaged packets could not be decoded; their frames are missing")


def _shown(path: VideoSource, name: str | None, *, whole: bool = False) -> str:
    """What to call a video: the name it was given, or its file's; with `whole` the path, for errors."""
    if name is not None:
        return name
    if isinstance(path, bytes):
        return "<video>"
    return os.fspath(path) if whole else Path(os.fspath(path)).name


def _opened(path: VideoSource, shown: str) -> av.container.InputContainer:
    try:
        import av
    except ModuleNotFoundError as error:
        raise (missing(error) or error) from None
    if not isinstance(path, bytes):
        if not os.path.exists(path):
            raise VideoError(f"{shown}: cannot be opened: no such file")
        if not os.path.isfile(path):
            raise VideoError(f"{shown}: is not a regular file")
    if not (len(path) if isinstance(path, bytes) else os.path.getsize(path)):
        raise VideoError(f"{shown}: is empty (0 bytes)")
    av.logging.set_level(None)  # what it would print is told by notes
    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}
    # An absolute name, so that none is taken for a protocol ("http:...").
    source: Any = io.BytesIO(path) if isinstance(path, bytes) else os.path.abspath(os.fspath(path))
    try:
        container: av.container.InputContainer = av.open(source, options=options, metadata_errors="replace")
        return container
    except av.error.FFmpegError as error:
        raise VideoError(f"{shown}: {_why_not(path, error)}") from None


def _why_not(path: VideoSource, error: Any) -> str:
    try:
        load_image(path)
    except ImageError:
        return f"is no video that can be read ({error.strerror}); a cut-off MP4 lacks its index and cannot be read"
    return "is a still picture; use `mllm-iqa score`"


def _video_stream(container: Any) -> Any:
    """The first stream of moving pictures; cover art is none."""
    import av

    attached = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not (s.disposition & attached)]
    if not streams:
        others = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise VideoError(f"has no video stream (it holds: {others})")
    stream = streams[0]
    if stream.codec_context is None:
        raise VideoError("its video is in a format that this build of FFmpeg cannot decode")
    stream.thread_type = "AUTO"
    return stream


def _described(container: Any, stream: Any, name: str) -> Video:
    duration = None
    if stream.duration and stream.time_base:
        duration = float(stream.duration * stream.time_base)
    elif container.duration:
        duration = container.duration / 1_000_000
    context = stream.codec_context
    video = Video(
        name,
        context.width,
        context.height,
        duration,
        float(stream.average_rate) if stream.average_rate else None,
        context.name,
        context.pix_fmt or "unknown",
    )
    aspect = stream.sample_aspect_ratio
    if aspect and aspect != 1:
        video.note(f"pixels are not square ({aspect.numerator}:{aspect.denominator}); frames were judged as stored")
    return video


def _turns(frame: Any) -> int:
    """Quarter turns counterclockwise that put a frame upright."""
    return round(int(frame.rotation) / 90) % 4


def _check_size(video: Video, max_source_pixels: int) -> None:
    size = f"{video.width}x{video.height} pixels"
    if min(video.width, video.height) < MIN_SIDE:
        raise VideoError(f"{size} is too small to judge; the smaller side must be at least {MIN_SIDE}")
    if video.width * video.height > max_source_pixels:
        raise VideoError(f"{size}, more than the limit of {max_source_pixels} a frame")


def _interval(sampling: Sampling, duration: float | None) -> tuple[float, float]:
    """Seconds between two frames, and when the first is due."""
    if sampling.count is not None:
        if not duration:
            raise VideoError("does not say how long it is; choose frames by seconds instead of by number")
        every = duration / min(sampling.count, sampling.most)
        return every, every / 2
    assert sampling.every is not None
    return max(sampling.every, (duration or 0.0) / sampling.most), 0.0


def _stated_or_counted(path: VideoSource, video: Video, sampling: Sampling) -> float | None:
    """The duration; where it matters and the header has none, that of the packets, which are read but not decoded."""
    if video.duration is not None or sampling.count is None:
        return video.duration
    with _opened(path, video.name) as container:
        stream = _video_stream(container)
        stamps = [(p.pts, p.time_base) for p in container.demux(stream) if p.size]  # the packets' data is let go of
    times = [float(pts * base) for pts, base in stamps if pts is not None and base]
    if len(times) > 1:
        return max(times) - min(times)
    return len(stamps) / (video.fps or _UNKNOWN_FPS) if stamps else None
