"""The door: bounded bodies, a bounded queue, and a server that stops without losing what it accepted.

The body of a request is read whole, within its limits, before the request is accepted. So a slow client costs a
connection and nothing else, and an accepted request never waits for its client.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .options import Limits
from .problems import Problem

_GUARDED = ("/v1/", "/mcp")
_DISCARD_SECONDS = 20.0
_MAX_RETRY_SECONDS = 60


class Gate:
    """Counts the accepted requests; used on the event loop's thread alone."""

    def __init__(self, *, running: int, queued: int) -> None:
        """Accept up to `running` + `queued` requests at once, of which `running` are worked on."""
        self._running = running
        self._capacity = running + queued
        self._mean_seconds = 1.0
        self.accepted = 0
        self.draining = False

    def check(self, *, read_through: bool) -> None:
        """Raise the `Problem` of a request that cannot be accepted now."""
        if self.draining:
            raise Problem(
                "draining", "the server is stopping; ask another one", retry_after=1, read_through=read_through
            )
        if self.accepted >= self._capacity:
            message = f"{self.accepted} requests are under way or wait, which is the limit; try again later"
            raise Problem("queue_full", message, retry_after=self._retry_after(), read_through=read_through)

    def _retry_after(self) -> int:
        """Seconds in which about half of the queue should be done."""
        seconds = self._mean_seconds * self.accepted / self._running / 2
        return min(_MAX_RETRY_SECONDS, max(1, math.ceil(seconds)))

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Around the work on an accepted request; raises like `check`."""
        self.check(read_through=True)
        self.accepted += 1
        start = time.monotonic()
        try:
            yield
        finally:
            self.accepted -= 1
            # Seconds of work, not of waiting: what was spent, over how many were there for each that is worked on.
            seconds = (time.monotonic() - start) / max(1.0, (self.accepted + 1) / self._running)
            self._mean_seconds += 0.1 * (seconds - self._mean_seconds)


class Intake:
    """ASGI middleware around everything that takes pictures."""

    def __init__(self, app: ASGIApp, *, gate: Gate, limits: Limits, on_refusal: Callable[[str], None]) -> None:
        """Stand before `app`; `on_refusal` is told the code of every request that is not let through."""
        self._app = app
        self._gate = gate
        self._on_refusal = on_refusal
        self._limits = limits
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, read and accepted, or answer why not."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(_GUARDED):
            await self._app(scope, receive, send)
            return
        body = _Body(scope, receive)
        try:
            try:
                self._gate.check(read_through=False)
                await self._read(body)
                with self._gate.slot():
                    await self._app(scope, body.replay, send)
            except Problem as problem:
                self._on_refusal(problem.code)
                if problem.code != "too_slow":
                    await body.discard()
                await problem.response()(scope, receive, send)
        finally:
            self._held -= body.counted

    async def _read(self, body: _Body) -> None:
        """Read the whole body, or raise the `Problem` that ends it."""
        limits = self._limits
        declared = body.declared_bytes
        too_large = Problem(
            "too_large", f"the request is larger than the limit of {limits.body_bytes} bytes", read_through=False
        )
        if declared is not None and declared > limits.body_bytes:
            raise too_large
        try:
            async with asyncio.timeout(limits.upload_seconds):
                async for chunk in body.chunks():
                    if len(body.data) + len(chunk) > limits.body_bytes:
                        raise too_large
                    if self._held + len(chunk) > limits.held_bytes:
                        message = "the server holds as many uploads as it may; try again later"
                        raise Problem("queue_full", message, retry_after=1, read_through=False)
                    body.data += chunk
                    body.counted += len(chunk)
                    self._held += len(chunk)
        except TimeoutError:
            message = f"the request did not arrive within {limits.upload_seconds:g} seconds"
            raise Problem("too_slow", message, read_through=False) from None


class _Body:
    """The body of one request, as far as it was read."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        self.declared_bytes = int(length) if length.isascii() and length.isdigit() else None
        self.data = bytearray()
        self.counted = 0
        self._asks_first = headers.get("expect", "").lower() == "100-continue"
        self._receive = receive
        self._started = self._ended = self._replayed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """What is still to come, piece by piece; raises `Problem` when the client has gone."""
        while not self._ended:
            self._started = True
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._ended = True
                raise Problem("bad_request", "the client went away in the middle of its request")
            self._ended = not message.get("more_body", False)
            yield message.get("body", b"")

    async def discard(self) -> None:
        """Read on without keeping anything, for a while: most clients only listen once they have said everything."""
        self.data = bytearray()
        if self._asks_first and not self._started:
            return
        try:
            async with asyncio.timeout(_DISCARD_SECONDS):
                async for _ in self.chunks():
                    pass
        except (TimeoutError, Problem):
            pass

    async def replay(self) -> Message:
        """The body in one piece, then whatever the connection says."""
        if self._replayed:
            return await self._receive()
        self._replayed = True
        data, self.data = bytes(self.data), bytearray()
        return {"type": "http.request", "body": data, "more_body": False}
