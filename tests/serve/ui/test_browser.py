"""The page as its users meet it: a real server on this machine, nano, and a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mllm_iqa import score_image

from .conftest import EXAMPLES, checked

pytestmark = [
    pytest.mark.browser,
    # What pandas says of Gradio's queue, whose thread is in this process and would stop.
    pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting' is deprecated"),
    pytest.mark.filterwarnings("ignore:The copy keyword is deprecated"),
]

PATIENCE = 120_000  # milliseconds; the machine may be busy
SHARP, BLURRED, CAT = (str(EXAMPLES / f"{name}.jpg") for name in ("coffee", "coffee_out_of_focus", "cat"))
Opens = Callable[..., Any]


@pytest.fixture
def opened(served: Any, chromium: Any) -> Iterator[Opens]:
    """Opens the page in a context of its own; at the end no page may have asked for anything elsewhere."""
    address, _ = served
    contexts, strangers = list[Any](), list[str]()

    def note(request: Any) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            strangers.append(request.url)

    def open_page(*, width: int = 1280, height: int = 900, **options: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("request", note)
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector(".iqa-drop")
        return page

    yield open_page
    errors = [error for context in contexts for page in context.pages for error in page.errors]
    for context in contexts:
        context.close()
    assert strangers == []
    assert errors == []


def drop(page: Any, *paths: str) -> None:
    before = page.locator(".iqa-tray li").count()
    page.set_input_files("#iqa-tray input[type=file]", list(paths))
    page.wait_for_selector(f".iqa-tray li:nth-child({before + len(paths)})")


def press(page: Any, name: str) -> str:
    """Press a button and wait for its entry; returns the entry's words."""
    before = page.locator("#iqa-feed .iqa-entry").count()
    page.click(f"#iqa-{name}")
    return finished(page, before + 1)


def finished(page: Any, count: int) -> str:
    page.wait_for_selector(f"#iqa-feed .iqa-entry:nth-of-type({count})")
    page.wait_for_selector("#iqa-score:enabled")
    return str(page.locator("#iqa-feed .iqa-entry").nth(count - 1).inner_text())


def ask(page: Any, question: str) -> str:
    before = page.locator("#iqa-feed .iqa-entry").count()
    page.fill("#iqa-question textarea", question)
    page.press("#iqa-question textarea", "Enter")
    return finished(page, before + 1)


def test_the_less_distorted_picture_is_named(opened: Opens, upload_folder: Path) -> None:
    page = opened()
    drop(page, SHARP, BLURRED)
    words = press(page, "compare")
    assert "1 · coffee.jpg is better" in words
    assert "In a direct comparison, the first image is better." in words
    assert "blur" in words
    # The slider moves the border between the pictures.
    view = page.locator("#iqa-feed .iqa-compare")
    border = "e => getComputedStyle(e.querySelector('.iqa-b')).clipPath"
    middle = view.evaluate(border)
    page.locator("#iqa-feed .iqa-range").fill("20")
    assert middle != view.evaluate(border)
    page.click("#iqa-feed .iqa-switch label:last-child")
    assert view.evaluate(border) == "none"
    # What was uploaded is not on the disk any more.
    assert [path for path in upload_folder.rglob("*") if path.suffix in {".jpg", ".bin"}] == []


def test_a_score_and_what_is_wrong(opened: Opens) -> None:
    page = opened()
    drop(page, BLURRED)
    words = press(page, "score")
    mos = score_image(BLURRED, explain=False).mos
    assert re.search(rf"1 · coffee_out_of_focus\.jpg\s+{mos:.2f}\s+of 5", words)
    assert page.locator("#iqa-feed .iqa-bars .iqa-row").count() == 6
    assert "90% interval" in words and "The quality of the image is poor." in words
    assert "blur" in press(page, "wrong")


def test_an_answer_is_in_view_from_its_first_line_on(opened: Opens) -> None:
    page = opened(height=700, reduced_motion="reduce")
    drop(page, BLURRED)
    top = "document.querySelector('#iqa-feed .iqa-entry:last-of-type').getBoundingClientRect().top"
    for name in ("score", "wrong", "score"):
        press(page, name)
        page.wait_for_function(f"{top} > -1 && {top} < 100")
    # A reader who has scrolled away is left where they are.
    page.click("#iqa-wrong")
    page.wait_for_selector("#iqa-live .iqa-status")
    page.mouse.move(800, 300)
    page.wait_for_timeout(200)
    page.mouse.wheel(0, -10_000)
    finished(page, 4)
    page.wait_for_timeout(500)
    assert page.evaluate(top) > 300


def test_a_ranking_is_ordered_and_a_picture_can_be_left_out(opened: Opens) -> None:
    page = opened()
    drop(page, BLURRED, SHARP, CAT)
    press(page, "rank")
    names = page.locator("#iqa-feed .iqa-ranking h3").all_inner_texts()
    assert sorted(names) == ["1 · coffee_out_of_focus.jpg", "2 · coffee.jpg", "3 · cat.jpg"]
    assert names.index("2 · coffee.jpg") < names.index("1 · coffee_out_of_focus.jpg")
    assert "3 are chosen" in press(page, "compare")
    page.click("[data-pick='3']")
    page.wait_for_selector("li.iqa-out")
    assert "2 · coffee.jpg is better" in press(page, "compare")
    page.click("[data-remove='1']")
    page.wait_for_function("document.querySelectorAll('.iqa-tray li').length === 2")
    assert "only one is chosen" in press(page, "compare")


def test_an_answer_is_streamed_and_the_box_is_free_again(opened: Opens) -> None:
    page = opened()
    page.click("[data-example=cat]")
    page.wait_for_selector(".iqa-tray li")
    page.evaluate(
        """() => {
            window.seen = [];
            new MutationObserver(() => {
                const answer = document.querySelector("#iqa-live .iqa-answer");
                if (answer) window.seen.push(answer.innerText);
            }).observe(document.querySelector("#iqa-live"), { childList: true, subtree: true, characterData: true });
        }"""
    )
    words = ask(page, "Rate the quality of this image.")
    seen = page.evaluate("window.seen")
    lengths = sorted({len(text) for text in seen})
    assert len(lengths) >= 3, seen  # it grew before the reader's eyes
    assert seen[-1].strip() in words
    assert page.input_value("#iqa-question textarea") == ""


def test_what_cannot_be_used_is_said(opened: Opens, tmp_path: Path) -> None:
    page = opened()
    assert "Drop at least one picture first" in press(page, "score")
    text, heavy = tmp_path / "notes.jpg", tmp_path / "heavy.png"
    text.write_text("not a picture at all", encoding="utf-8")
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(heavy)
    page.set_input_files("#iqa-tray input[type=file]", [str(text), str(heavy), CAT])
    page.wait_for_selector(".iqa-tray li")  # the good one of the three is taken
    refused = page.locator(".iqa-refused").all_inner_texts()
    assert len(refused) == 2
    assert "notes.jpg: is not a complete picture in a known format" in refused[0]
    assert "heavy.png has 2 MB; the limit is 1 MB" in refused[1]
    assert "only one is chosen" in press(page, "compare")
    assert "only 1 is chosen" in press(page, "rank")


def test_a_model_that_is_not_there_is_said(opened: Opens) -> None:
    page = opened()
    page.click("[data-example=cat]")
    page.wait_for_selector(".iqa-tray li")
    page.fill("#iqa-model input", "nonesuch")
    page.press("#iqa-model input", "Enter")
    words = press(page, "score")
    assert "The model cannot be used" in words and "no model named 'nonesuch'" in words


def test_nothing_is_kept_after_a_reload_or_shown_to_others(opened: Opens, served: Any) -> None:
    _, blocks = served
    page = opened()
    page.click("[data-example=cat]")
    page.wait_for_selector(".iqa-tray li")
    press(page, "score")
    other = opened()
    for fresh in (other, page):
        if fresh is page:
            before = set(blocks.state_holder.session_data)
            page.reload()
            page.wait_for_selector(".iqa-drop")
            assert fresh.locator(".iqa-tray li").count() == 0
        assert fresh.locator(".iqa-entry").count() == 0
        assert fresh.locator(".iqa-welcome").count() == 1
    stored = "[...Object.keys(localStorage), ...Object.keys(sessionStorage), document.cookie].join(' ')"
    assert "cat" not in page.evaluate(stored)
    assert page.evaluate("indexedDB.databases().then(found => found.length)") == 0
    for _ in range(100):  # the server hears of the closed page a little later
        if before - set(blocks.state_holder.session_data):
            break
        page.wait_for_timeout(300)
    kept = [s for s in blocks.state_holder.session_data.values() for value in s.state_data.values() if value]
    assert all("cat.jpg" not in str(session.state_data) for session in kept)
    assert before - set(blocks.state_holder.session_data)


def test_a_session_can_be_saved(opened: Opens, tmp_path: Path) -> None:
    page = opened()
    drop(page, SHARP, BLURRED)
    press(page, "compare")
    ask(page, "What is wrong with <these> images?")
    saved = {}
    for kind in ("json", "html"):
        with page.expect_download() as download:
            page.click(f"#iqa-{kind}")
        assert download.value.suggested_filename.endswith(f".{kind}")
        saved[kind] = tmp_path / f"session.{kind}"
        download.value.save_as(saved[kind])
    document = json.loads(saved["json"].read_text(encoding="utf-8"))
    assert [entry["kind"] for entry in document["entries"]] == ["compare", "chat"]
    assert document["entries"][0]["result"]["winner"] == "a"
    assert document["entries"][1]["question"] == "What is wrong with <these> images?"
    html = checked(saved["html"].read_text(encoding="utf-8"))
    page.goto("about:blank")
    page.set_content(html)
    assert page.locator("article").count() == 2
    assert "coffee.jpg is better" in page.inner_text("body")


def test_chinese(opened: Opens) -> None:
    page = opened(locale="zh-CN")
    page.wait_for_selector("text=将图片拖到这里")
    assert page.inner_text("#iqa-compare").startswith("哪张更好")
    assert "nano 的文字回答只有英文" in page.inner_text("#iqa-model-box")
    page.click("[data-example=coffee]")
    page.wait_for_selector(".iqa-tray li:nth-child(2)")
    words = press(page, "compare")
    assert "1 · coffee.jpg 更好" in words and "两种顺序结论一致" in words
    assert "In a direct comparison, the first image is better." in words
    page.click("#iqa-language")
    page.wait_for_selector("text=1 · coffee.jpg is better")
    assert page.inner_text("#iqa-compare") == "Which is better and why"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(opened: Opens, scheme: str) -> None:
    page = opened(width=390, height=844, color_scheme=scheme)
    drop(page, SHARP, BLURRED)
    for name in ("wrong", "compare", "rank"):
        press(page, name)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    wide = page.evaluate(
        "[...document.querySelectorAll('.iqa-card, .iqa-frame, #iqa-composer, .iqa-box')]"
        ".filter(e => e.getBoundingClientRect().right > 390.5).map(e => e.className)"
    )
    assert wide == []
    ground = page.evaluate("getComputedStyle(document.querySelector('.iqa-card')).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") is (scheme == "light")


def test_a_long_request_does_not_hold_up_another_user(opened: Opens, tmp_path: Path) -> None:
    busy, quick = opened(), opened()
    crops = [tmp_path / f"{left}.jpg" for left in range(0, 100, 10)]
    with Image.open(SHARP) as whole:
        for crop in crops:
            whole.crop((int(crop.stem), 0, int(crop.stem) + 500, 400)).save(crop)
    drop(busy, *map(str, crops))
    quick.click("[data-example=cat]")
    quick.wait_for_selector(".iqa-tray li")
    busy.click("#iqa-rank")  # 45 pairs in both orders
    busy.wait_for_selector("#iqa-live .iqa-status:has-text('Comparing every pair')")
    ask(quick, "Is there any noise?")
    assert busy.locator("#iqa-feed .iqa-entry").count() == 0
    assert busy.locator("#iqa-stop").is_visible()
    busy.click("#iqa-stop")
    busy.wait_for_selector("#iqa-score:enabled")
    assert "Stopped." in busy.inner_text("#iqa-live")
