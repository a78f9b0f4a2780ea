"""The quality of a video over time: sampled frames scored one after the other, pooled, and its worst moments.

from mllm_iqa import score_video
result = score_video("clip.mp4")
result.mos, result.pooling     # one number, and how it came about
result.trace                   # a row per sampled frame
result.worst                   # the worst moments, with what is wrong in them
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from .assistant import _shared
from .errors import BackendError, ConfigError, VideoError
from .images import MAX_SOURCE_PIXELS, Picture
from .levels import level_probs, mos_of
from .prompt_files import load_prompt
from .rating import level_logprobs
from .types import Failure, Score
from .video_frames import Frame, FrameReader, Sampling, Video, VideoSource
from .video_pooling import POOLINGS, pooled, time_weights
from .video_types import Moment, TracePoint, VideoInfo, VideoScore
from .video_worst import WorstMoments, thumbnail

if TYPE_CHECKING:
    from .assistant import Assistant

Advance = Callable[[TracePoint, Video], None]


def judge_video(
    assistant: Assistant,
    path: VideoSource,
    *,
    sampling: Sampling | None = None,
    pooling: str = "mean",
    worst: int = 5,
    explain: bool = True,
    language: str = "en",
    together: int = 0,
    batch_size: int = 8,
    name: str | None = None,
    max_source_pixels: int = MAX_SOURCE_PIXELS,
    advance: Advance | None = None,
    stop: Callable[[], bool] | None = None,
) -> VideoScore:
    """Score a video by frames.

    Args:
        assistant: the model.
        path: of a video file, or its bytes.
        sampling: which frames; None = one a second and one after every cut.
        pooling: how frame scores become one: a key of `POOLINGS`. All of them are reported.
        worst: how many worst moments are kept, with a small picture each.
        explain: also say what is wrong in those.
        language: of these words.
        together: also show this many of the frames at once to a model that was made for several frames of a video, and
            read its one score of them; 0 = no.
        batch_size: frames in one call of the engine; does not change the result.
        name: what to call the video.
        max_source_pixels: refuse videos with larger frames.
        advance: told every point of the trace as it comes.
        stop: asked after every frame; True ends the work early, and what was scored is kept. A KeyboardInterrupt does
            the same where at least one frame was scored.

    Raises:
        VideoError: no video that can be read, or no frame of it could be scored.
        ConfigError: a sampling, pooling or number out of range.
        BackendError: a language the model does not speak, or `together` for a model that is not made for it.
    """
    if pooling not in POOLINGS:
        raise ConfigError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
    if together < 0 or worst < 0:
        raise ConfigError(
            f"the frames shown together and the worst moments must be at least 0, got {together}, {worst}"
        )
    if together:
        check_together(assistant)
    assistant.check_language(language)
    trace: list[TracePoint] = []
    moments = WorstMoments(worst)
    shown = _Spread(together)
    reader = FrameReader(
        path, sampling=sampling, max_pixels=assistant.max_pixels, max_source_pixels=max_source_pixels, name=name
    )
    with reader:
        try:
            for frame, result in _scored(assistant, reader, language, batch_size):
                point = _point(frame, result)
                trace.append(point)
                if isinstance(result, Score):
                    moments.offer(point, frame.picture)
                shown.offer(frame.picture)
                if advance is not None:
                    advance(point, reader.video)
                if stop is not None and stop():
                    reader.video.ended_early = f"stopped after {frame.seconds:.1f} s"
                    break
        except KeyboardInterrupt:
            if not any(point.mos is not None for point in trace):
                raise
            reader.video.ended_early = f"interrupted after {trace[-1].seconds:.1f} s"
    return concluded(
        assistant,
        reader.video,
        trace,
        moments,
        pooling=pooling,
        explain=explain,
        language=language,
        together=_together(assistant, shown.pictures) if together else None,
    )


def check_together(assistant: Assistant) -> None:
    """Refuse a model that was not made to judge several frames at once.

    Raises:
        BackendError: it was not.
    """
    card = assistant.card
    made = "rate_video.v1" in card.prompts if card is not None else assistant.entry is None
    if assistant.entry is not None and "video" in assistant.entry.can:
        made = True
    if not made:
        raise BackendError(
            f"{assistant.backend.name} was not made to judge several frames of a video at once; its frames are scored "
            "one by one"
        )


def _scored(
    assistant: Assistant, frames: FrameReader, language: str, batch_size: int
) -> Iterator[tuple[Frame, Score | Failure]]:
    """Each frame and its score, in order; at most `batch_size` frames wait."""
    waiting: deque[Frame] = deque()

    def pictures() -> Iterator[Picture]:
        for frame in frames:
            waiting.append(frame)
            yield frame.picture

    for result in assistant.score_many(pictures(), explain=False, language=language, batch_size=batch_size):
        yield waiting.popleft(), result


def _point(frame: Frame, result: Score | Failure) -> TracePoint:
    if isinstance(result, Failure):
        return TracePoint(frame.seconds, frame.number, frame.scene, frame.cut, None, None, None, result.error)
    return TracePoint(
        frame.seconds, frame.number, frame.scene, frame.cut, result.mos, result.levels, result.outside_mass, None
    )


def concluded(
    assistant: Assistant,
    video: Video,
    trace: Sequence[TracePoint],
    moments: WorstMoments,
    *,
    pooling: str,
    explain: bool,
    language: str,
    together: float | None = None,
) -> VideoScore:
    """The result, from the trace and the worst moments; what is wrong in these is read now."""
    known = [point for point in trace if point.mos is not None]
    if not known:
        reason = f": {trace[0].error}" if trace else ""
        raise VideoError(f"{video.name}: not one of its {len(trace)} frames could be scored{reason}")
    weights = time_weights([point.seconds for point in known])
    mos = [point.mos for point in known if point.mos is not None]
    values = {kind: pooled(mos, weights, kind) for kind in POOLINGS}
    worst: list[Moment] = []
    for point, picture in moments.worst():
        if worst and point.mos is not None and point.mos >= values["mean"]:
            break  # what is better than the video is none of its worst moments; the worst frame always is
        found = None
        if explain and "explain" in assistant.can:
            found = assistant.score(picture, language=language)
        worst.append(
            Moment(
                point.seconds,
                point.mos if point.mos is not None else values[pooling],
                None if found is None else found.distortions,
                None if found is None else found.explanation,
                thumbnail(picture),
            )
        )
    return VideoScore(
        mos=values[pooling],
        pooling=pooling,
        pooled=values,
        together=together,
        trace=tuple(trace),
        worst=tuple(worst),
        video=VideoInfo.of(video),
        n_scored=len(known),
        n_total=len(trace),
        ended_early=video.ended_early,
        model=assistant.backend.name,
    )


class _Spread:
    """Keeps `count` pictures spread evenly over a stream of unknown length.

    Every second one is dropped whenever there are twice as many, so that memory is bounded.
    """

    def __init__(self, count: int) -> None:
        self._count, self._step, self._seen = count, 1, 0
        self._kept: list[Picture] = []

    def offer(self, picture: Picture) -> None:
        if self._count and self._seen % self._step == 0:
            self._kept.append(picture)
            if len(self._kept) >= 2 * self._count:
                self._kept, self._step = self._kept[::2], 2 * self._step
        self._seen += 1

    @property
    def pictures(self) -> list[Picture]:
        kept = len(self._kept)
        wanted = min(self._count, kept)
        return [self._kept[round(i * (kept - 1) / max(1, wanted - 1))] for i in range(wanted)]


def _together(assistant: Assistant, pictures: Sequence[Picture]) -> float:
    """The score of several frames shown in one question."""
    prompt = load_prompt("rate_video.v1")
    return float(mos_of(level_probs(level_logprobs(assistant.backend, prompt, [pictures], prompt.question)[0])))


def score_video(
    path: VideoSource,
    *,
    every: float | None = None,
    count: int | None = None,
    scenes: bool = True,
    pooling: str = "mean",
    worst: int = 5,
    explain: bool = True,
    language: str = "en",
    together: int = 0,
    model: str = "nano",
    device: str = "auto",
) -> VideoScore:
    """Score a video by frames: one every `every` seconds (1 by default) or `count` of them; see `judge_video`.

    Needs PyAV (the extra `video`). The last used model stays loaded.
    """
    return judge_video(
        _shared(model, device),
        path,
        sampling=Sampling(every=1.0 if every is None and count is None else every, count=count, scenes=scenes),
        pooling=pooling,
        worst=worst,
        explain=explain,
        language=language,
        together=together,
    )
