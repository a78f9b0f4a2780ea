"""Folders of small pictures, FAKE models, rows made by hand, and a real browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.tables import COLUMNS

EVIL = "<script>window.ran=1<\u2215script><img src=x onerror=window.ran=2>\"'&{{7*7}}--><!--.png"


@pytest.fixture
def fake() -> Assistant:
    return Assistant(FakeBackend())


def save_scene(path: Path, seed: int, *, side: int = 64) -> None:
    """Smooth random shapes, so that small changes leave the hash alone."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    small.resize((side, side), Image.Resampling.BICUBIC).save(path)


def make_row(name: str, number: int, *, error: str | None = None) -> dict[str, Any]:
    """A row of a store."""
    rng = np.random.default_rng(number)
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"name": name, "error": error, "sha256": f"{number:064x}", "bytes": 1, "mtime_ns": 1, "fingerprint": None}
    if error is None:
        mos = float(rng.uniform(1, 5))
        found = [{"kind": ["lens blur", "JPEG"][number % 2], "severity": 1 + number % 5}] if number % 3 else []
        row |= {
            "mos": mos,
            "interval_low": max(1, mos - 0.8),
            "interval_high": min(5, mos + 0.8),
            "interval_source": "a calibration",
            "level": ["bad", "poor", "fair", "good", "excellent"][min(4, int(mos)) - (mos >= 5) if mos < 5 else 4],
            "distortions": json.dumps(found),
            "explanation": f"The quality of picture {number} is what it is.",
            "confidence": float(rng.uniform()),
            "width": 640,
            "height": 480,
            "notes": "",
            "advice": json.dumps([{"text": f"Mend picture {number} <b>well</b>.", "kinds": [], "rule": "advice.v1/x"}]),
            "distrust": json.dumps(
                [{"signal": "flatness", "value": 12.5, "threshold": 3.0, "text": "it is flat"}] if number % 2 else []
            ),
            "model": "some model 1",
            "prompt": "rate.v1",
        }
        row["fingerprint"] = f"{int(rng.integers(2**63)):016x}:{int(rng.integers(2**63)):016x}"
    return row


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A real browser, whose event loop ends with the module; skipped with the reason where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("there is no chromium here (on Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


Opens = Callable[..., Any]


@pytest.fixture
def opened_page(chromium: Any) -> Iterator[Opens]:
    """Opens a file in a context of its own; at the end no page may have failed, or asked for anything but files."""
    contexts, strangers, errors = list[Any](), list[str](), list[str]()

    def open_page(path: Path, *, width: int = 1280, height: int = 900, **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else strangers.append(r.url))
        page.goto(path.as_uri())
        page.wait_for_selector(".card", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert strangers == []
    assert errors == []
