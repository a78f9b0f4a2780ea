"""What is found out about a video: frozen results with `to_dict()` and a readable `str()`."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from typing import Any

from .levels import level_of_mos
from .types import Finding
from .video_frames import Video


@dataclass(frozen=True, slots=True)
class TracePoint:
    """One sampled frame.

    Attributes:
        seconds: when it is shown, from the beginning; frame: its number among the decoded ones, from 0.
        scene: number of its shot, from 0; cut: whether it was looked at because a shot begins.
        mos: 1..5, None where it could not be scored.
        levels: probability of each level word; None where the model gives none.
        outside_mass: see `Score`.
        error: why there is no score.
    """

    seconds: float
    frame: int
    scene: int
    cut: bool
    mos: float | None
    levels: dict[str, float] | None
    outside_mass: float | None
    error: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Moment:
    """One of the worst moments.

    Attributes:
        seconds: when; mos: of its frame.
        distortions: what was found in it; None when not asked for.
        explanation: in words; None when not asked for.
        thumbnail: the frame, small, as a JPEG file.
    """

    seconds: float
    mos: float
    distortions: tuple[Finding, ...] | None
    explanation: str | None
    thumbnail: bytes

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; the thumbnail as a data URI."""
        uri = "data:image/jpeg;base64," + base64.b64encode(self.thumbnail).decode()
        found = None if self.distortions is None else [asdict(finding) for finding in self.distortions]
        return {
            "seconds": self.seconds,
            "mos": self.mos,
            "distortions": found,
            "explanation": self.explanation,
            "thumbnail": uri,
        }


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What was judged; see `video_frames.Video` for the meaning of each."""

    name: str
    width: int
    height: int
    duration: float | None
    fps: float | None
    codec: str
    pixel_format: str
    color: str
    rotation: int
    decoded: int
    damaged: int
    last_seconds: float
    cuts: tuple[float, ...]
    notes: tuple[str, ...]

    @classmethod
    def of(cls, video: Video) -> VideoInfo:
        """A video that has been read, frozen."""
        return cls(
            video.name,
            video.width,
            video.height,
            video.duration,
            video.fps,
            video.codec,
            video.pixel_format,
            video.color,
            video.rotation,
            video.decoded,
            video.damaged,
            video.last_seconds,
            tuple(video.cuts),
            tuple(video.notes),
        )


@dataclass(frozen=True, slots=True)
class VideoScore:
    """A video's quality.

    Attributes:
        mos: 1..5, the frame scores pooled by `pooling`.
        pooled: the same by every pooling there is.
        together: the score of several frames in one question; None when not asked for.
        trace: the sampled frames in order of time.
        worst: the worst moments, worst first.
        video: what was judged.
        n_scored, n_total: frames with a score, and sampled.
        ended_early: why the trace does not reach the end of the video; None = it does.
        model: name and version.
    """

    mos: float
    pooling: str
    pooled: dict[str, float]
    together: float | None
    trace: tuple[TracePoint, ...]
    worst: tuple[Moment, ...]
    video: VideoInfo
    n_scored: int
    n_total: int
    ended_early: str | None
    model: str

    @property
    def level(self) -> str:
        """The level word nearest to the MOS."""
        return level_of_mos(self.mos)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "mos": self.mos,
            "level": self.level,
            "pooling": self.pooling,
            "pooled": self.pooled,
            "together": self.together,
            "video": asdict(self.video),
            "n_scored": self.n_scored,
            "n_total": self.n_total,
            "ended_early": self.ended_early,
            "model": self.model,
            "worst": [moment.to_dict() for moment in self.worst],
            "trace": [point.to_dict() for point in self.trace],
        }

    def __str__(self) -> str:
        lines = [f"{self.video.name}: MOS {self.mos:.2f} ({self.level}; {self.pooling} of {self.n_scored} frames)"]
        lines += [f"worst at {moment.seconds:.1f} s: MOS {moment.mos:.2f}" for moment in self.worst[:1]]
        lines += [f"ended early: {self.ended_early}"] if self.ended_early else []
        return "\n".join(lines)
