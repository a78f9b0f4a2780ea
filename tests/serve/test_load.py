"""Many clients at once: full queues, late answers, slow readers, and a stop in the middle."""

import asyncio
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from mllm_iqa.serve import load
from mllm_iqa.serve.options import Limits, ServeOptions

from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.base import Conversation
from mllm_iqa.backends.fake import FakeBackend

from .conftest import HeldBackend, Running, png, serving, wait_until


def options(**limits: float) -> ServeOptions:
    return ServeOptions(limits=Limits(**limits), ui=False)  # type: ignore[arg-type]


def score(url: str, seed: int, picture: bytes | None = None) -> httpx.Response:
    files = {"image": (f"{seed}.png", picture or png(seed))}
    return httpx.post(f"{url}/v1/score", files=files, timeout=120, trust_env=False)


@pytest.fixture
def held() -> Iterator[HeldBackend]:
    backend = HeldBackend()
    yield backend
    backend.go.set()


def test_a_full_queue_answers_429_and_loses_nothing(held: HeldBackend) -> None:
    held.go.clear()
    with serving(Assistant(held), options(running=2, queued=3)) as server, ThreadPoolExecutor(16) as clients:
        accepted = [clients.submit(score, server.url, n) for n in range(5)]
        wait_until(lambda: server.service.gate.accepted == 5)
        refused = [clients.submit(score, server.url, n).result() for n in range(5, 9)]
        assert [(a.status_code, a.json()["error"]["code"]) for a in refused] == [(429, "queue_full")] * 4
        assert all(1 <= int(a.headers["retry-after"]) <= 60 for a in refused)
        assert server.client.get("/readyz").json()["status"] == "busy"
        assert server.client.get("/healthz").status_code == 200
        assert 'mllm_iqa_failures_total{code="queue_full"} 4.0' in server.client.get("/metrics").text
        held.go.set()
        rows = [a.result().json()["results"][0] for a in accepted]
    assert [row["image"]["name"] for row in rows] == [f"{n}.png" for n in range(5)]
    assert [row["mos"] for row in rows] == [Assistant(held).score(png(n), explain=False).mos for n in range(5)]


def test_a_late_answer_is_a_504_and_the_next_one_is_in_time(held: HeldBackend) -> None:
    with serving(Assistant(held), options(running=2, queued=3, request_seconds=2)) as server:
        held.go.clear()
        answer = score(server.url, 1)
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
        held.go.set()
        assert score(server.url, 2).status_code == 200
        wait_until(lambda: server.service.gate.accepted == 0)  # given back just after the answer has gone out


def test_every_answer_belongs_to_its_picture(running: Running, fake: Assistant) -> None:
    with ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(lambda n: score(running.url, n), range(60)))
    for n, answer in enumerate(answers):
        row = answer.json()["results"][0]
        assert row["image"]["name"] == f"{n}.png"
        assert row["mos"] == fake.score(png(n), explain=False).mos


def test_the_load_tool_finds_every_answer_right(running: Running, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--requests", "60", "--concurrency", "20", "--pictures", "7", "--side", "64"]
    assert load.main([running.url, *arguments]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["answered"], figures["lost"], figures["crossed"], figures["failed"]) == (60, 0, 0, 0)
    assert figures["gain"] == pytest.approx(figures["rate"] / figures["alone_rate"])
    assert figures["p95"] >= figures["p50"] > 0
    assert figures["memory_after"] > 10


def test_the_load_tool_waits_on_429(held: HeldBackend) -> None:
    with serving(Assistant(held), options(running=1, queued=0)) as server:
        run = load.run(server.url, requests=6, concurrency=3, count=2, side=64, explain=False, key=None)
        figures = asyncio.run(run)
    assert (figures.answered, figures.failed) == (6, 0)
    assert figures.waits > 0


class Forgetful(FakeBackend):
    """An engine whose answers change: what a service that mixes up its answers looks like."""

    def __init__(self) -> None:
        self.calls = 0

    def continuation_logprobs(self, conversations: Sequence[Conversation], candidates: Sequence[str]) -> np.ndarray:
        self.calls += 1
        rows = super().continuation_logprobs(conversations, candidates)
        return np.roll(rows, self.calls % 2, axis=1)


def test_the_load_tool_notices_a_wrong_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(Assistant(Forgetful())) as server:
        arguments = ["--requests", "10", "--concurrency", "1", "--pictures", "3", "--side", "64", "--no-explain"]
        assert load.main([server.url, *arguments]) == 1
    figures = json.loads(capsys.readouterr().out)
    assert figures["crossed"] > 0
    assert figures["answered"] + figures["crossed"] == 10
    assert figures["faults"][0].startswith("crossed: request ")


def test_the_load_tool_says_when_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert load.main(["http://127.0.0.1:1", "--requests", "1", "--pictures", "1"]) == 2
    assert "no service answers there" in capsys.readouterr().err


def test_a_slow_reader_of_a_chat_blocks_nobody(running: Running) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + png(0)
    body += b'\r\n--x\r\nContent-Disposition: form-data; name="messages"\r\n\r\nWhat?\r\n--x--\r\n'
    head = "POST /v1/chat HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    readers = [socket.create_connection(("127.0.0.1", running.port), timeout=60) for _ in range(20)]
    for reader in readers:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        reader.sendall(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    for n in range(5):
        assert score(running.url, n).status_code == 200
    for reader in readers:
        with reader:
            assert b"event: done" in reader.makefile("rb").read()


def test_a_stopping_server_refuses_new_work_and_finishes_the_old(held: HeldBackend) -> None:
    held.go.clear()
    with serving(Assistant(held), options(running=2, queued=8)) as server, ThreadPoolExecutor(8) as clients:
        accepted = [clients.submit(score, server.url, n) for n in range(4)]
        wait_until(lambda: server.service.gate.accepted == 4)
        server.server.handle_exit(signal.SIGTERM, None)
        answer = score(server.url, 9)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "draining")
        assert server.client.get("/readyz").json()["status"] == "draining"
        held.go.set()
        assert [a.result().status_code for a in accepted] == [200] * 4
        wait_until(lambda: server.server.should_exit)


def test_sigterm_in_the_middle_of_load_loses_no_accepted_request() -> None:
    command = [
        sys.executable,
        "-m",
        "mllm_iqa",
        "serve",
        "--port",
        "0",
        "--no-ui",
        "--queued",
        "200",
        "--timeout",
        "300",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert process.stderr is not None
    try:
        url = next(m[1] for line in process.stderr if (m := re.search(r"running on (http://\S+)", line)))
        drained = threading.Thread(target=process.stderr.read)
        drained.start()
        pictures = [png(n, 384, 512) for n in range(7)]  # so large that the server is slower than its clients
        warm = score(url, 0, pictures[0])
        assert warm.status_code == 200

        in_flight: set[tuple[int, int]] = set()
        answers: dict[tuple[int, int], httpx.Response] = {}
        signalled = threading.Event()

        def keep_asking(client: int) -> None:
            for n in itertools.count():
                last = signalled.is_set()
                in_flight.add((client, n))
                try:
                    answers[client, n] = score(url, client, pictures[client % 7])
                except httpx.TransportError as error:
                    assert "complete message" not in str(error)  # an answer cut off half-way; else nothing was accepted
                in_flight.discard((client, n))
                if last:
                    return

        def accepted() -> set[tuple[int, int]]:
            """What the server surely holds: it counts all 24, and these were in flight before and after it did."""
            before = set(in_flight)
            figures = httpx.get(f"{url}/metrics", trust_env=False, timeout=60).text
            return before & in_flight if "mllm_iqa_accepted_requests 24.0" in figures else set()

        with ThreadPoolExecutor(24) as threads:
            clients = [threads.submit(keep_asking, n) for n in range(24)]
            try:
                end = time.monotonic() + 120
                while len(held := accepted()) < 12:
                    assert time.monotonic() < end, "the queue never filled"
                process.send_signal(signal.SIGTERM)
            finally:
                signalled.set()
            for asked in clients:
                asked.result()
        assert process.wait(120) == 0
        drained.join()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert {answer.status_code for answer in answers.values()} <= {200, 503}
    assert [answers[request].status_code for request in held if request in answers] == [200] * len(held)
    expected = warm.json()["results"][0]
    for (client, _), answer in answers.items():
        if answer.status_code == 200 and client % 7 == 0:
            assert answer.json()["results"][0]["mos"] == pytest.approx(expected["mos"], abs=1e-4)
