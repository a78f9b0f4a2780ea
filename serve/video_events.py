"""A video's scores as they come: what the thread that works says, handed to the one that answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from mllm_iqa.video_types import TracePoint, VideoScore

from .judge import Judge
from .problems import Problem
from .schemas import VideoRequest

Found = TracePoint | VideoScore


async def video_events(judge: Judge, request: VideoRequest) -> AsyncIterator[Found]:
    """Every point of the trace, then the result. Whoever stops reading stops the work at the next frame.

    Raises:
        Problem: see `Judge.video`; what can be refused is refused before the first point.
    """
    loop = asyncio.get_running_loop()
    points: asyncio.Queue[TracePoint | None] = asyncio.Queue()
    gone = False
    running = asyncio.ensure_future(
        judge.video(request, advance=lambda point: _handed(loop, points, point), gone=lambda: gone)
    )
    running.add_done_callback(lambda _: points.put_nowait(None))
    try:
        while (point := await points.get()) is not None:
            yield point
        yield await running
    finally:
        gone = True
        running.cancel()
        with suppress(asyncio.CancelledError, Problem):
            await running


def _handed(loop: asyncio.AbstractEventLoop, points: asyncio.Queue[TracePoint | None], point: TracePoint) -> None:
    loop.call_soon_threadsafe(points.put_nowait, point)


async def written(first: Found, rest: AsyncIterator[Found]) -> AsyncIterator[str]:
    """Server-sent events: `point` for each frame, then `done` with everything, or `error`."""
    try:
        yield _event(first)
        async for found in rest:
            yield _event(found)
    except Problem as problem:
        yield _line("error", problem.to_dict())
    finally:
        close = getattr(rest, "aclose", None)
        if close is not None:
            await close()


def _event(found: Found) -> str:
    return _line("done" if isinstance(found, VideoScore) else "point", found.to_dict())


def _line(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
