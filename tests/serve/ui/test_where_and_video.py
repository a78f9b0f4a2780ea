"""The page's map of damage and its videos: cards that hold no more than they should, and both in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")

from mllm_iqa.serve.ui.cards import entry_card
from mllm_iqa.serve.ui.entries import Filmed, Located, Map
from mllm_iqa.serve.ui.strings import STRINGS
from mllm_iqa.serve.ui.tasks import film, where

from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.errors import VideoError
from mllm_iqa.images import load_image

from ...video_files import moving, write_video
from .conftest import EVIL, EXAMPLES, checked, make_held
from .test_browser import PATIENCE, drop, finished, opened, press

__all__ = ["opened"]  # a fixture


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_map_card_is_harmless_and_complete(language: str) -> None:
    held = make_held(3, EVIL, width=96, height=64)
    *_, last = where((held,), assistant=Assistant(FakeBackend()), strings=STRINGS[language])
    assert isinstance(last.entry, Located) and len(last.entry.maps) == 1
    html = checked(entry_card(last.entry, STRINGS[language], name="entry-1"))
    assert html.count("<img") == 3 and "<img src=x" not in html
    region = {"kind": EVIL, "severity": 3, "box": [1, 2, 3, 4]}
    changed = Map({**last.entry.maps[0].values, "regions": [region], "model": EVIL}, last.entry.maps[0].drawn)
    html = checked(entry_card(Located((held,), last.entry.photos, (changed,)), STRINGS[language], name="e"))
    assert "1, 2, 3, 4" in html
    assert last.entry.to_dict()["results"][0]["method"] == "tiles"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_video_card_is_harmless_and_its_file_goes(language: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / "<b>&.mp4", moving(12))
    *steps, last = film(str(path), assistant=Assistant(FakeBackend()), strings=STRINGS[language])
    assert isinstance(last.entry, Filmed) and len(steps) >= 2
    html = entry_card(last.entry, STRINGS[language], name="entry-1")
    assert 'src="data:image/svg+xml;base64,' in html and "<b>&" not in html
    checked(html.replace("data:image/svg+xml", "data:image/jpeg"))
    assert not path.exists()


def test_what_is_no_video_is_said_and_its_file_goes(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("no video")
    with pytest.raises(VideoError, match="is no video"):
        list(film(str(path), assistant=Assistant(FakeBackend()), strings=STRINGS["en"]))
    assert not path.exists()


@pytest.mark.browser
@pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting' is deprecated")
@pytest.mark.filterwarnings("ignore:The copy keyword is deprecated")
def test_both_in_a_browser(opened: Any, tmp_path: Path, upload_folder: Path) -> None:
    pixels = np.array(load_image(EXAMPLES / "cat.jpg").pixels[60:252, 60:316])
    noise = np.random.default_rng(0).normal(0, 55, (128, 128, 3))
    pixels[32:160, 112:240] = np.clip(pixels[32:160, 112:240] + noise, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "noisy.jpg", quality=95)
    page = opened()
    drop(page, str(tmp_path / "noisy.jpg"))
    assert "of it damaged" in press(page, "where")
    drawn, alone = (page.locator(f"#iqa-feed .iqa-map {name}") for name in (".iqa-drawn", ".iqa-alone"))
    assert drawn.is_visible() and not alone.is_visible()
    page.click("#iqa-feed .iqa-map .iqa-switch label:last-child")
    assert alone.is_visible() and not drawn.is_visible()
    clip = write_video(tmp_path / "clip.mp4", moving(12))
    with page.expect_file_chooser(timeout=PATIENCE) as chooser:
        page.click("#iqa-video")
    chooser.value.set_files(str(clip))
    words = finished(page, 2)
    assert "clip.mp4" in words and "frames" in words
    assert page.locator("#iqa-feed .iqa-plot").evaluate("image => image.naturalWidth") > 0
    assert [path for path in upload_folder.rglob("*.mp4") if path.is_file()] == []
