"""The work behind every endpoint: from what was sent to a result, in time, with errors that tell whose fault it was."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from threading import Semaphore
from typing import TypeVar

from mllm_iqa.assistant import Assistant
from mllm_iqa.calibration import Calibration
from mllm_iqa.errors import (
    CalibrationError,
    ConfigError,
    ImageError,
    IqaError,
    MissingDependencyError,
    PromptError,
    VideoError,
)
from mllm_iqa.heat_map import png_of
from mllm_iqa.images import Picture, load_image
from mllm_iqa.prompt_files import LANGUAGES
from mllm_iqa.types import Comparison, Failure, Ranking, RubricScore, Score
from mllm_iqa.video import judge_video
from mllm_iqa.video_frames import Sampling
from mllm_iqa.video_types import TracePoint, VideoScore
from mllm_iqa.where import QualityMap, map_of

from .batching import BatchingBackend, DeadlineError
from .calibrations import checked
from .forms import shown
from .metrics import Metrics
from .options import Limits
from .problems import Problem
from .schemas import (
    ChatRequest,
    CompareRequest,
    ExplainRequest,
    RankRequest,
    RubricRequest,
    ScoreRequest,
    SentImage,
    VideoRequest,
    WhereRequest,
)
from .url_fetch import Fetcher

T = TypeVar("T")
AnyRequest = (
    ScoreRequest
    | ExplainRequest
    | CompareRequest
    | RankRequest
    | RubricRequest
    | ChatRequest
    | WhereRequest
    | VideoRequest
)

_log = logging.getLogger(__name__)
_VIDEO_MARGIN = 0.15  # of a request's time, left for saying what is wrong in the worst moments of a video


class Judge:
    """Models ready to judge what requests bring."""

    def __init__(
        self,
        assistants: Mapping[str, Assistant],
        *,
        limits: Limits,
        metrics: Metrics,
        fetcher: Fetcher | None,
        calibrations: Sequence[Calibration] = (),
    ) -> None:
        """Take over the engines of some assistants.

        Args:
            assistants: by the name that requests use; the first is the default. Their backends belong to this object
                from now on.
            limits: see `Limits`.
            metrics: told what happens.
            fetcher: of pictures by address; None = refuse them.
            calibrations: that requests may name; each belongs to one of the models.

        Raises:
            CalibrationError: one fits none of the models, or two have one name.
        """
        self._calibrations = checked(calibrations, list(assistants.values()))
        self._limits = limits
        self._metrics = metrics
        self._fetcher = fetcher
        self._pool = ThreadPoolExecutor(limits.running, "mllm-iqa-request")
        self._decoding = Semaphore(os.cpu_count() or 1)  # bounds the memory that decoders take
        self._backends: dict[str, BatchingBackend] = {}
        self._assistants: dict[str, Assistant] = {}
        for name, assistant in assistants.items():
            backend = BatchingBackend(
                assistant.backend,
                batch_rows=limits.batch_rows,
                timeout_seconds=limits.request_seconds,
                on_batch=metrics.batch,
            )
            self._backends[name] = backend
            self._assistants[name] = Assistant(
                backend,
                card=assistant.card,
                max_pixels=assistant.max_pixels,
                entry=assistant.entry,
                advice=assistant.advice,
                source=assistant.source,
            )

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, the default first."""
        return tuple(self._assistants)

    @property
    def calibrations(self) -> Mapping[str, Calibration]:
        """Those that requests may name."""
        return self._calibrations

    @property
    def alive(self) -> bool:
        """Whether every engine's thread runs."""
        return all(backend.alive for backend in self._backends.values())

    def assistant(self, model: str | None) -> Assistant:
        """The assistant of that name, its calls batched with all others.

        Raises:
            Problem: no such model here.
        """
        name = self.models[0] if model is None else model
        if name not in self._assistants:
            message = f"no model named {shown(name)!r} is served here; there are: {', '.join(self.models)}"
            raise Problem("unknown_model", message)
        return self._assistants[name]

    def backend(self, model: str) -> BatchingBackend:
        """The batching engine of a model."""
        return self._backends[model]

    def close(self) -> None:
        """Finish what is under way and stop the threads."""
        self._pool.shutdown()
        for backend in self._backends.values():
            backend.close()

    # Tasks.

    async def score(self, request: ScoreRequest) -> list[Score | Failure]:
        """A row for each picture; see `Assistant.score_many`.

        Raises:
            Problem: among others, when no picture could be read.
        """
        if request.reference is not None and len(request.images) != 1:
            raise Problem("invalid_parameter", "a reference goes with a single picture")
        if request.reference is not None:
            only = ExplainRequest(
                model=request.model,
                language=request.language,
                image=request.images[0],
                reference=request.reference,
                calibration=request.calibration,
                thorough=request.thorough,
            )
            return [await self.explain(only, explain=request.explain)]
        sent = await self._fetched(request.images)

        def work(assistant: Assistant, deadline: float) -> list[Score | Failure]:
            assistant = self._as_asked(assistant, request)
            read = [self._picture_or_failure(image, assistant) for image in sent]
            pictures = [picture for picture in read if isinstance(picture, Picture)]
            if not pictures:
                raise Problem("unreadable_image", "; ".join(f.error for f in read if isinstance(f, Failure)))
            with _session(assistant, deadline):
                many = assistant.score_many(
                    pictures, explain=request.explain, language=request.language, batch_size=self._limits.batch_rows
                )
                scores = iter(list(many))
            return [row if isinstance(row, Failure) else next(scores) for row in read]

        return await self._run(request, work)

    async def explain(self, request: ExplainRequest, *, explain: bool = True) -> Score:
        """One picture in full; see `Assistant.score`."""
        sent = await self._fetched([request.image, *_given(request.reference)])

        def work(assistant: Assistant, deadline: float) -> Score:
            assistant = self._as_asked(assistant, request)
            picture, *reference = [self._picture(image, assistant) for image in sent]
            with _session(assistant, deadline):
                return assistant.score(
                    picture, reference=reference[0] if reference else None, explain=explain, language=request.language
                )

        return await self._run(request, work)

    async def compare(self, request: CompareRequest) -> Comparison:
        """Which of two pictures is better; see `Assistant.compare`."""
        sent = await self._fetched([request.a, request.b, *_given(request.reference)])

        def work(assistant: Assistant, deadline: float) -> Comparison:
            a, b, *reference = [self._picture(image, assistant) for image in sent]
            with _session(assistant, deadline):
                return assistant.compare(
                    a,
                    b,
                    reference=reference[0] if reference else None,
                    explain=request.explain,
                    language=request.language,
                )

        return await self._run(request, work)

    async def rank(self, request: RankRequest) -> Ranking:
        """Pictures from best to worst; see `Assistant.rank`."""
        sent = await self._fetched(request.images)

        def work(assistant: Assistant, deadline: float) -> Ranking:
            pictures = [self._picture(image, assistant) for image in sent]
            with _session(assistant, deadline):
                try:
                    return assistant.rank(pictures, language=request.language, comparisons=request.comparisons)
                except ConfigError as error:  # too few comparisons
                    raise Problem("invalid_parameter", str(error)) from None

        return await self._run(request, work)

    async def rubric(self, request: RubricRequest) -> list[tuple[RubricScore, ...] | Failure]:
        """A row for each picture; see `Assistant.score_many_by`.

        Raises:
            Problem: among others, a rubric that breaks the form or does not suit the model, or no readable picture.
        """
        try:
            rubrics = request.parsed()
        except PromptError as error:
            raise Problem("invalid_parameter", str(error)) from None
        sent = await self._fetched(request.images)

        def work(assistant: Assistant, deadline: float) -> list[tuple[RubricScore, ...] | Failure]:
            read = [self._picture_or_failure(image, assistant) for image in sent]
            pictures = [picture for picture in read if isinstance(picture, Picture)]
            if not pictures:
                raise Problem("unreadable_image", "; ".join(f.error for f in read if isinstance(f, Failure)))
            with _session(assistant, deadline):
                many = assistant.score_many_by(pictures, rubrics, batch_size=self._limits.batch_rows)
                try:
                    rows = iter(list(many))
                except PromptError as error:
                    raise Problem("invalid_parameter", str(error)) from None
            return [row if isinstance(row, Failure) else next(rows) for row in read]

        return await self._run(request, work)

    async def where(self, request: WhereRequest) -> tuple[QualityMap, bytes | None]:
        """Where a picture is damaged, and a PNG of it where that is wanted; see `where.map_of`."""
        sent = await self._fetched([request.image])

        def work(assistant: Assistant, deadline: float) -> tuple[QualityMap, bytes | None]:
            picture = self._picture(sent[0], assistant)
            with _session(assistant, deadline):
                found = map_of(assistant, picture, batch_size=self._limits.batch_rows)
            return found, png_of(found, picture.pixels, boxes=request.boxes) if request.format == "png" else None

        return await self._run(request, work)

    async def video(
        self, request: VideoRequest, *, advance: Callable[[TracePoint], None], gone: Callable[[], bool]
    ) -> VideoScore:
        """A video scored by frames; see `video.judge_video`. It ends early where the time of a request does.

        Args:
            request: with its file.
            advance: told every frame's score, in the thread that works.
            gone: asked after every frame whether nobody waits for the result any more.
        """
        if request.video.url is not None:
            raise Problem("url_refused", "this server fetches no videos from addresses; send the file")
        sent = await self._fetched([request.video])
        every = 1.0 if request.every is None and request.count is None else request.every
        sampling = Sampling(
            every=every, count=request.count, scenes=request.scenes, most=min(600, self._limits.video_frames)
        )

        def work(assistant: Assistant, deadline: float) -> VideoScore:
            name, content = sent[0]
            until = deadline - _VIDEO_MARGIN * self._limits.request_seconds
            with _session(assistant, deadline):
                return judge_video(
                    assistant,
                    content if isinstance(content, bytes) else video_bytes(content, name),
                    sampling=sampling,
                    pooling=request.pooling,
                    worst=request.worst,
                    explain=request.explain,
                    language=request.language,
                    name=name,
                    max_source_pixels=self._limits.source_pixels,
                    advance=lambda point, _: advance(point),
                    stop=lambda: gone() or time.monotonic() >= until,
                )

        return await self._run(request, work)

    async def chat(self, request: ChatRequest) -> AsyncIterator[str]:
        """What the model says, piece by piece; see `Assistant.chat`. The reader's speed does not matter to the model.

        Everything that can be refused is refused before the first piece.
        """
        sent = await self._fetched(request.images)
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        gone = False

        def work(assistant: Assistant, deadline: float) -> None:
            pictures = [self._picture(image, assistant) for image in sent]
            messages = [message.model_dump() for message in request.messages]
            answer = assistant.chat(pictures, messages)
            for piece in answer:
                if gone:
                    return
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        running = asyncio.ensure_future(self._run(request, work))
        running.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            await running
        finally:
            gone = True
            running.cancel()
            with suppress(asyncio.CancelledError, Problem):
                await running

    # Parts.

    async def _run(self, request: AnyRequest, work: Callable[[Assistant, float], T]) -> T:
        """work(assistant, deadline) in a thread of the pool, within the time of a request."""
        assistant = self.assistant(request.model)
        _check_language(assistant, getattr(request, "language", "en"))
        deadline = time.monotonic() + self._limits.request_seconds

        def timed() -> T:
            self._metrics.working.inc()
            try:
                if time.monotonic() >= deadline:
                    raise _too_late(self._limits)
                return work(assistant, deadline)
            finally:
                self._metrics.working.dec()

        task = asyncio.get_running_loop().run_in_executor(self._pool, timed)
        try:
            return await asyncio.wait_for(task, self._limits.request_seconds + 1.0)
        except (TimeoutError, DeadlineError):
            raise _too_late(self._limits) from None
        except ImageError as error:
            raise Problem("unreadable_image", str(error)) from None
        except VideoError as error:
            raise Problem("unreadable_video", str(error)) from None
        except ConfigError as error:
            raise Problem("invalid_parameter", str(error)) from None
        except MissingDependencyError as error:
            raise Problem("not_installed", f"this server has no video support: {error}") from None
        except IqaError as error:
            _log.error("the engine failed: %s", error)
            raise Problem("engine", str(error)) from None

    def _as_asked(self, assistant: Assistant, request: ScoreRequest | ExplainRequest) -> Assistant:
        """The model on the scale and with the care that a request asks for."""
        if request.thorough:
            assistant = assistant.asking_again()
        if request.calibration is None:
            return assistant
        if request.calibration not in self._calibrations:
            there = ", ".join(self._calibrations) or "none"
            message = f"no calibration named {shown(request.calibration)!r} is offered here; there are: {there}"
            raise Problem("invalid_parameter", message)
        if request.reference is not None:
            raise Problem("invalid_parameter", "a calibration is for scores without a reference")
        try:
            return assistant.calibrated(self._calibrations[request.calibration])
        except CalibrationError as error:
            raise Problem("invalid_parameter", str(error)) from None

    async def _fetched(self, images: Sequence[SentImage]) -> list[tuple[str, bytes | str]]:
        """Name and content (a file, or base64 still to be read) of each picture."""
        out: list[tuple[str, bytes | str]] = []
        for number, image in enumerate(images, start=1):
            name = shown(image.name or "") or f"image {number}"
            if image.raw is not None:
                out.append((name, image.raw))
            elif image.url is not None:
                if self._fetcher is None:
                    raise Problem("url_refused", "this server fetches no pictures from addresses; send the picture")
                out.append((name, await self._fetcher.fetch(image.url)))
            else:
                out.append((name, image.data or ""))
        return out

    def _picture(self, sent: tuple[str, bytes | str], assistant: Assistant) -> Picture:
        name, content = sent
        with self._decoding:
            data = content if isinstance(content, bytes) else _decoded(content, name)
            picture = load_image(
                data, name=name, max_pixels=assistant.max_pixels, max_source_pixels=self._limits.source_pixels
            )
        self._metrics.pictures.inc()
        return picture

    def _picture_or_failure(self, sent: tuple[str, bytes | str], assistant: Assistant) -> Picture | Failure:
        try:
            return self._picture(sent, assistant)
        except ImageError as error:
            self._metrics.failed("unreadable_image")
            return Failure(sent[0], str(error))


def _session(assistant: Assistant, deadline: float) -> AbstractContextManager[None]:
    backend = assistant.backend
    if not isinstance(backend, BatchingBackend):
        raise TypeError("a served assistant runs on a BatchingBackend")
    return backend.session(deadline)


def _given(image: SentImage | None) -> list[SentImage]:
    return [] if image is None else [image]


def _check_language(assistant: Assistant, language: str) -> None:
    known = [code for code in assistant.backend.languages if code in LANGUAGES]
    if language not in known:
        message = f"{assistant.backend.name} does not answer in {shown(language)!r}; it knows: {', '.join(known)}"
        raise Problem("invalid_parameter", message)


def _decoded(content: str, name: str) -> bytes | str:
    """What `load_image` takes: a data URI as it is, else the bytes of base64. Never a path."""
    if content[:5].lower() == "data:":
        return content
    try:
        return base64.b64decode("".join(content.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ImageError(f"{name}: is neither a data URI nor valid base64") from None


def video_bytes(content: str, name: str) -> bytes:
    """The file in a data URI of a video, or in plain base64."""
    head, comma, rest = content.partition(",")
    if content[:5].lower() == "data:" and not (comma and head.lower().endswith(";base64")):
        raise VideoError(f"{name}: must have the form data:video/...;base64,...")
    try:
        return base64.b64decode("".join((rest if comma else content).split()), validate=True)
    except (binascii.Error, ValueError):
        raise VideoError(f"{name}: is neither a data URI nor valid base64") from None


def _too_late(limits: Limits) -> Problem:
    return Problem("timeout", f"the request took longer than {limits.request_seconds:g} seconds", retry_after=5)
