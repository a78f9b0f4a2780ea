"""Choosing a scale on the page, in a real browser, over the engine without a model."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio")

from mllm_iqa.serve.ui import build_ui, mount_ui

from mllm_iqa import Assistant
from mllm_iqa.backends.fake import FakeBackend

from .conftest import EXAMPLES, in_a_loop
from .test_scale_and_trust import made

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting' is deprecated"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]


@pytest.fixture
def address(upload_folder: Path) -> Iterator[str]:
    import uvicorn
    from fastapi import FastAPI

    app = FastAPI(openapi_url=None)
    page = in_a_loop(lambda: build_ui(lambda _: Assistant(FakeBackend()), ["fake"], calibrations={"lab": made()}))
    in_a_loop(lambda: mount_ui(app, page))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 120
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.1)
    assert server.started, "the page did not come up within two minutes"
    yield f"http://127.0.0.1:{port}"
    server.should_exit = server.force_exit = True
    thread.join(timeout=60)


def test_a_scale_is_chosen_and_stands_on_the_card(address: str, chromium: Any, tmp_path: Path) -> None:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(".iqa-drop")
    page.set_input_files("#iqa-tray input[type=file]", [str(EXAMPLES / "cat.jpg")])
    page.wait_for_selector(".iqa-tray li")
    page.click("#iqa-scale input")
    page.click("[role=option]:has-text('lab')")
    page.click("#iqa-score")
    page.wait_for_selector(".iqa-own-scale")
    assert "on the scale lab" in page.inner_text(".iqa-score")
    assert "higher is better" in page.inner_text(".iqa-score")
    page.screenshot(path=str(tmp_path / "scale.png"))
    context.close()
