"""Many clients at once: full queues, late answers, slow readers, and a stop in the middle."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from mllm_iqa.serve.options import Limits, ServeOptions

from mllm_iqa.assistant import Assistant

from .conftest import HeldBackend, Running, png, serving, wait_until


def options(**limits: float) -> ServeOptions:
    return ServeOptions(limits=Limits(**limits), ui=False)  # type: ignore[arg-type]


def score(url: str, seed: int) -> httpx.Response:
    files = {"image": (f"{seed}.png", png(seed))}
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
        assert server.service.gate.accepted == 0


def test_every_answer_belongs_to_its_picture(running: Running, fake: Assistant) -> None:
    with ThreadPoolExecutor(12) as clients:
        answers = list(clients.map(lambda n: score(running.url, n), range(60)))
    for n, answer in enumerate(answers):
        row = answer.json()["results"][0]
        assert row["image"]["name"] == f"{n}.png"
        assert row["mos"] == fake.score(png(n), explain=False).mos


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
        warm = score(url, 0)
        assert warm.status_code == 200

        def ask(n: int) -> tuple[int, httpx.Response | None]:
            try:
                return n, score(url, n % 7)
            except httpx.TransportError as error:
                assert "complete message" not in str(error)  # an answer cut off half-way; else nothing was accepted
                return n, None

        def figures() -> str:
            return httpx.get(f"{url}/metrics", trust_env=False, timeout=60).text

        with ThreadPoolExecutor(24) as clients:
            first = [clients.submit(ask, n) for n in range(24)]
            wait_until(lambda: "mllm_iqa_accepted_requests 24.0" in figures() or any(f.done() for f in first), 120)
            accepted = float(re.search(r"mllm_iqa_accepted_requests (\S+)", figures())[1])  # type: ignore[index]
            process.send_signal(signal.SIGTERM)
            late = [clients.submit(ask, n) for n in range(24, 40)]
            answers = [f.result() for f in [*first, *late]]
        assert process.wait(120) == 0
        drained.join()
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    statuses = [answer.status_code for _, answer in answers if answer is not None]
    assert accepted > 0
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) >= accepted
    expected = warm.json()["results"][0]
    for n, answer in answers:
        if answer is not None and answer.status_code == 200 and n % 7 == 0:
            assert answer.json()["results"][0]["mos"] == pytest.approx(expected["mos"], abs=1e-4)
