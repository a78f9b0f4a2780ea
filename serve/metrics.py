"""What the service counts, as Prometheus reads it."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100)
_ROWS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The figures of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.requests = Counter(
            "mllm_iqa_requests",
            "Requests answered, by path and HTTP status.",
            ["path", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "mllm_iqa_request_seconds",
            "Seconds from a request's first byte to the last of its answer.",
            ["path"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.failures = Counter(
            "mllm_iqa_failures", "Requests and pictures without a result, by code.", ["code"], registry=self.registry
        )
        self.pictures = Counter("mllm_iqa_pictures", "Pictures read.", registry=self.registry)
        self.accepted = Gauge("mllm_iqa_accepted_requests", "Requests under way or waiting.", registry=self.registry)
        self.working = Gauge("mllm_iqa_working_requests", "Requests worked on.", registry=self.registry)
        self.batch_rows = Histogram(
            "mllm_iqa_batch_rows", "Conversations in one call of the model.", buckets=_ROWS, registry=self.registry
        )
        self.batch_seconds = Histogram(
            "mllm_iqa_batch_seconds", "Seconds of one call of the model.", buckets=_SECONDS, registry=self.registry
        )

    def failed(self, code: str) -> None:
        """Count one request or picture without a result."""
        self.failures.labels(code).inc()

    def batch(self, rows: int, seconds: float) -> None:
        """Count one call of the model."""
        self.batch_rows.observe(rows)
        self.batch_seconds.observe(seconds)


class Measured:
    """ASGI middleware that counts requests; `label_of` turns a path into one of few labels."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, label_of: Callable[[str], str]) -> None:
        self._app = app
        self._metrics = metrics
        self._label_of = label_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on and watch."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 500, time.monotonic()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            label = self._label_of(scope["path"])
            self._metrics.requests.labels(label, str(status)).inc()
            self._metrics.seconds.labels(label).observe(time.monotonic() - start)
