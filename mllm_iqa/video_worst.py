"""The worst moments of a stream of scored frames, a few pictures at a time."""

from __future__ import annotations

import io

from PIL import Image

from .images import Picture
from .video_types import TracePoint

_SPARE = 3  # candidates kept for each moment wanted, so that neighbours can be merged
_APART = 2.0  # seconds between two moments: nearer ones are one
_THUMBNAIL = (200, 150)


class WorstMoments:
    """Keeps the worst frames offered, at most one within any two seconds."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: list[tuple[TracePoint, Picture]] = []

    def offer(self, point: TracePoint, picture: Picture) -> None:
        """Consider a frame that has a score; frames come in order of time."""
        if not self._count or point.mos is None:
            return
        self._kept.append((point, picture))
        self._kept.sort(key=_badness)
        if len(self._kept) > _SPARE * self._count:
            self._kept = self._separate()[: _SPARE * self._count]

    def worst(self) -> list[tuple[TracePoint, Picture]]:
        """The worst moments, worst first; of equals the earlier."""
        return self._separate()[: self._count]

    def _separate(self) -> list[tuple[TracePoint, Picture]]:
        out: list[tuple[TracePoint, Picture]] = []
        for candidate in self._kept:
            if all(abs(candidate[0].seconds - other[0].seconds) >= _APART for other in out):
                out.append(candidate)
        return out


def _badness(candidate: tuple[TracePoint, Picture]) -> tuple[float, float]:
    point = candidate[0]
    return (point.mos if point.mos is not None else 5.0), point.seconds


def thumbnail(picture: Picture) -> bytes:
    """A small version as a JPEG file."""
    small = Image.fromarray(picture.pixels)
    small.thumbnail(_THUMBNAIL, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=82)
    return file.getvalue()
