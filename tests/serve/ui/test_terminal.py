"""`python -m mllm_iqa.serve.ui` at a terminal: it comes up, serves the page, and ends when told to."""

import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

pytest.importorskip("gradio")


def test_ctrl_c_does_not_wait_for_an_open_page() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    command = [sys.executable, "-m", "mllm_iqa.serve.ui", "--port", url.rpartition(":")[2]]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        assert process.stderr.readline() == f"{url}\n"
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
            deadline = time.monotonic() + 60
            while True:
                try:
                    assert "<html" in client.get("/").text
                    break
                except httpx.ConnectError:
                    assert time.monotonic() < deadline, "the page did not come up within a minute"
                    time.sleep(0.1)
            # What every open page holds: a stream without an end.
            with client.stream("GET", "/gradio_api/heartbeat/somebody") as stream:
                assert stream.status_code == 200
                process.send_signal(signal.SIGINT)
                assert process.wait(30) == 0
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
