"""Pictures as sessions hold them, results made by hand, and a real page in a real browser."""

from __future__ import annotations

import asyncio
import io
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mllm_iqa.types import Comparison, Finding, ImageInfo, Interval, RankedImage, Ranking, Score

EXAMPLES = Path(__file__).parents[3] / "mllm_iqa" / "examples"
LEVELS = {"excellent": 0.05, "good": 0.6, "fair": 0.3, "poor": 0.04, "bad": 0.01}
EVIL = "<img src=x onerror=alert(1)>\"'&${7*7}{{7*7}}.jpg"


VOID = {"img", "input", "br", "meta"}


class Strict(HTMLParser):
    """Refuses tags that do not match, scripts, foreign addresses and handlers that are not the slider's."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "iframe", "object", "link"}
        for key, value in attrs:
            assert not key.startswith("on") or (key == "oninput" and "--at" in str(value))
            assert key not in {"src", "href"} or str(value).startswith("data:image/jpeg;base64,")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(html: str) -> str:
    """The same HTML, if it is well-formed and harmless."""
    parser = Strict()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return html


def jpeg(width: int = 64, height: int = 48, *, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def make_held(number: int = 1, name: str = "a.jpg", **size: int) -> Any:
    from mllm_iqa.serve.ui.held import hold

    return hold(jpeg(seed=number, **size), number=number, name=name, max_pixels=10_000_000)


def make_info(name: str = "a.jpg") -> ImageInfo:
    return ImageInfo(name, 64, 48, 64, 48, ())


def make_score(name: str = "a.jpg", *, mos: float = 3.64, **changes: Any) -> Score:
    fields: dict[str, Any] = {
        "mos": mos,
        "std": 0.7,
        "interval": Interval(2.6, 4.7, 0.9, "a calibration"),
        "levels": LEVELS,
        "outside_mass": 0.002,
        "distortions": (Finding("lens blur", "blur", 2, 0.61),),
        "explanation": "The quality of the image is good. It shows lens blur (moderate).",
        "confidence": 0.55,
        "image": make_info(name),
        "model": "some model 1",
        "prompt": "rate.v1",
    }
    return Score(**(fields | changes))


def make_comparison(winner: Any = "a", **changes: Any) -> Comparison:
    fields: dict[str, Any] = {
        "winner": winner,
        "probability": 0.8,
        "probabilities": {"a": 0.8, "b": 0.15, "tie": 0.05},
        "order_flip": False,
        "explanation": "The first image is better.",
        "confidence": 0.5,
        "a": make_info("a.jpg"),
        "b": make_info("b.jpg"),
        "reference": None,
        "distortions_a": (),
        "distortions_b": (Finding("lens blur", "blur", 4, 0.9),),
        "model": "some model 1",
        "prompt": "compare.v1",
    }
    return Comparison(**(fields | changes))


def make_ranking() -> Ranking:
    rows = (
        RankedImage(make_info("b.jpg"), 1, 1, 1.25, 0.4),
        RankedImage(make_info("a.jpg"), 0, 2, -1.25, 0.4),
    )
    return Ranking(rows, comparisons=1, order_flips=0, model="some model 1", prompt="compare.v1")


def in_a_loop(make: Callable[[], Any]) -> Any:
    """Call `make` inside an event loop, in a thread without one. Outside, Gradio opens loops that it never closes."""

    async def call() -> Any:
        return make()

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(lambda: asyncio.run(call())).result()


@pytest.fixture(scope="session")
def upload_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("uploads")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def served(upload_folder: Path) -> Iterator[Any]:
    """The page with nano on a free port of this machine, as (address, Gradio page)."""
    pytest.importorskip("gradio")
    import uvicorn
    from fastapi import FastAPI
    from mllm_iqa.serve.ui import Limits, Models, build_ui, mount_ui

    models, limits, app = Models(device="cpu"), Limits(megabytes=1), FastAPI(openapi_url=None)
    page = in_a_loop(lambda: build_ui(models, ["nano"], custom_models=True, limits=limits))
    in_a_loop(lambda: mount_ui(app, page, max_megabytes=1))
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
    yield f"http://127.0.0.1:{port}", page
    server.should_exit = server.force_exit = True  # the browser's open streams would be waited for
    thread.join(timeout=60)
    assert not thread.is_alive(), "the page did not go down within a minute"
    # A stopped answer still runs to its end; a process that ends meanwhile dies inside torch.
    for worker in threading.enumerate():
        loop = getattr(worker, "loop", None)  # of an AnyIO worker thread; those of servers that run on never end
        if worker.name == "AnyIO worker thread" and loop is not None and loop.is_closed():
            worker.join(timeout=60)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A real browser; skipped with the reason where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no chromium here (on Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()
