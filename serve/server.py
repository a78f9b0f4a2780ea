"""Running the application: a uvicorn server that, told to stop, first finishes what it has accepted."""

from __future__ import annotations

import os
import time
from types import FrameType

import uvicorn

from .app import Service

_NOTICE_SECONDS = 0.5  # in which new requests still meet a 503 instead of a closed door


class DrainingServer(uvicorn.Server):
    """On SIGTERM or SIGINT it answers new requests 503, finishes accepted ones, then ends; on a second one at once."""

    def __init__(self, app: Service, *, host: str, port: int, drain_seconds: float, log_level: str = "info") -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_level=log_level,
            access_log=False,  # what came from whom is nobody's business; /metrics counts
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        super().__init__(config)
        self._gate = app.gate
        self._drain_seconds = drain_seconds
        self._asked_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop, or stop."""
        if self._asked_at is not None:
            os._exit(1)  # threads in the middle of a call of the model could not be stopped otherwise
        self._gate.draining = True
        self._asked_at = time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        """Whether to end now; asked ten times a second."""
        if self._asked_at is not None:
            waited = time.monotonic() - self._asked_at
            if (self._gate.accepted == 0 and waited > _NOTICE_SECONDS) or waited > self._drain_seconds:
                self.should_exit = True
        return await super().on_tick(counter)
