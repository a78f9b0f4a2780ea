"""Real servers on loopback: most over the engine without a model, some over one that can be held up."""

import base64
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import numpy as np
import pytest
from mllm_iqa.serve.app import Service, create_app
from mllm_iqa.serve.options import ServeOptions
from mllm_iqa.serve.server import DrainingServer
from PIL import Image

from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.base import Conversation
from mllm_iqa.backends.fake import FakeBackend


def png(seed: int, height: int = 48, width: int = 64) -> bytes:
    """A picture of noise, another one for every seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def data_uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def wait_until(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.01)


class HeldBackend(FakeBackend):
    """The engine without a model, which waits before every call while it is held, and remembers its calls."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.calls: list[tuple[str, int]] = []

    def continuation_logprobs(self, conversations: Sequence[Conversation], candidates: Sequence[str]) -> np.ndarray:
        self.calls.append(("logprobs", len(conversations)))
        assert self.go.wait(60)
        return super().continuation_logprobs(conversations, candidates)

    def generate(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> list[str]:
        self.calls.append(("generate", len(conversations)))
        return super().generate(conversations, max_new_tokens=max_new_tokens)


@dataclass
class Running:
    """A server and how to reach it."""

    url: str
    service: Service
    server: DrainingServer
    client: httpx.Client

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def post(self, path: str, **rest: object) -> httpx.Response:
        return self.client.post(path, **rest)  # type: ignore[arg-type]


@contextmanager
def serving(assistant: Assistant, options: ServeOptions | None = None) -> Iterator[Running]:
    service = create_app({"fake": assistant}, options or ServeOptions(ui=False))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = DrainingServer(service, host="127.0.0.1", port=port, drain_seconds=30, log_level="error")
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
            yield Running(url, service, server, client)
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def fake() -> Assistant:
    return Assistant.load("fake")


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serving(Assistant.load("fake")) as server:
        yield server
