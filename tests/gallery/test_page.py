"""The page as its users meet it: from a file, in a real browser, with names that mean harm, and with many pictures."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mllm_iqa.gallery.page import Heading, histogram, write_page
from mllm_iqa.gallery.store import save_thumbnail, thumbnail_path
from mllm_iqa.images import load_image

from .conftest import EVIL, Opens, make_row, save_scene

pytestmark = pytest.mark.browser


def until(page: Any, condition: str) -> None:
    """Wait for a condition in JavaScript; the browser's own waiting would need a laxer policy."""
    deadline = time.monotonic() + 60
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, condition
        time.sleep(0.05)


HEADING = Heading("Picture quality: photos", "../photos/", datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "0.0")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A report of 40 pictures, two of them near-duplicates, one with an evil name, and an unreadable one."""
    rows = [make_row(f"p{n:02}.jpg", n) for n in range(40)]
    rows[3]["name"] = EVIL
    rows[5]["fingerprint"] = rows[4]["fingerprint"]
    rows.append(make_row("broken </script>.jpg", 99, error="is not a <b>picture</b>"))
    save_scene(tmp_path / "one.png", 0)
    picture = load_image(tmp_path / "one.png")
    for row in rows[:-1]:
        save_thumbnail(tmp_path / "report", row["sha256"], picture)
    write_page(tmp_path / "report", rows, HEADING)
    return tmp_path / "report"


def test_it_lists_filters_and_orders(home: Path, opened_page: Opens) -> None:
    page = opened_page(home / "index.html")
    assert page.locator("#count").inner_text() == "41 pictures"
    numbers = [float(n) for n in page.locator("#list .card .mos b").all_inner_texts()]
    assert numbers == sorted(numbers)
    page.select_option("#kind", "lens blur")
    found = page.locator("#list .card .found").all_inner_texts()
    assert found and all("lens blur" in text for text in found)
    page.click("#controls button[type=reset]")
    page.fill("#low", "4")
    until(
        page, "[...document.querySelectorAll('#list .card b')].every(b => Number(b.textContent) >= 4 || !b.textContent)"
    )
    page.click("#controls button[type=reset]")
    page.select_option("#show", "groups")
    assert page.locator("#count").inner_text() == "2 of 41 pictures"
    page.select_option("#show", "errors")
    assert page.locator("#list .card").count() == 1
    page.click("#controls button[type=reset]")
    page.fill("#search", "P07")
    page.locator("#list .card").click()
    assert page.locator(".worst").inner_text().count("Do: Mend picture") == 20
    words = page.locator("dialog").inner_text()
    assert "picture 7 is what it is" in words and "Do: Mend picture 7 <b>well</b>." in words
    assert "Distrust this score: it is flat (12.5, usual below 3)" in words
    assert page.locator("dialog a").get_attribute("href") == "../photos/p07.jpg"
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    assert page.locator(".worst li").count() == 20
    assert "1 group" in page.locator("#duplicates summary").inner_text()


def test_a_bar_shows_its_pictures_alone(home: Path, opened_page: Opens) -> None:
    page = opened_page(home / "index.html")
    bar = page.locator(".bar:not([aria-label$=': 0 pictures'])").first
    count = int(bar.get_attribute("aria-label").split(": ")[1].split(" ")[0])
    bar.click()
    assert bar.get_attribute("aria-pressed") == "true"
    assert page.locator("#count").inner_text() == f"{count} of 41 pictures"
    bar.click()
    assert page.locator("#count").inner_text() == "41 pictures"


def test_a_name_runs_nothing(home: Path, opened_page: Opens) -> None:
    page = opened_page(home / "index.html")
    page.fill("#search", "script")
    page.locator("#list .card").first.click()
    assert EVIL in page.locator("dialog h2").inner_text() or "broken" in page.locator("dialog h2").inner_text()
    assert page.evaluate("window.ran") is None
    assert page.locator("#failures").inner_text().endswith("broken </script>.jpg: is not a <b>picture</b>")
    assert page.locator("#failures b b, .worst script, dialog script").count() == 0


def test_the_policy_stops_a_script_that_is_not_the_page_s(home: Path, chromium: Any) -> None:
    text = (home / "index.html").read_text().replace("<main>", "<main><script>window.ran=3</script>", 1)
    assert "window.ran=3" in text
    (home / "changed.html").write_text(text)
    page = chromium.new_page()
    page.goto((home / "changed.html").as_uri())
    page.wait_for_selector(".card")
    assert page.evaluate("window.ran") is None
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_and_can_be_read(home: Path, opened_page: Opens, width: int, scheme: str) -> None:
    page = opened_page(home / "index.html", width=width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") == (scheme == "light")
    named = "e.textContent.trim() || e.ariaLabel || e.labels?.length"
    unnamed = f"[...document.querySelectorAll('button,input,select')].filter(e => !({named})).length"
    assert page.evaluate(unnamed) == 0
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark


def test_a_hundred_thousand_rows_open(tmp_path: Path, opened_page: Opens, record_property: object) -> None:
    rows = [make_row(f"folder {n // 1000}/picture-{n:06}.jpg", n % 997) for n in range(100_000)]
    for n, row in enumerate(rows):
        row["fingerprint"] = f"{n * 0x9E3779B97F4A7C15 % 2**64:016x}:{n * 0xC2B2AE3D27D4EB4F % 2**64:016x}"
    save_scene(tmp_path / "one.png", 0)
    picture = load_image(tmp_path / "one.png")
    for row in rows[:997]:
        save_thumbnail(tmp_path / "report", row["sha256"], picture)
    write_page(tmp_path / "report", rows, HEADING)
    page = opened_page(tmp_path / "report" / "index.html")
    first = float(page.evaluate("document.documentElement.dataset.firstList"))
    print(f"first list after {first:.0f} ms")
    assert first < 20_000  # under a second on a quiet machine
    assert page.locator("#list .card").count() < 120
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    until(page, "Number([...document.querySelectorAll('.cell')].at(-1).ariaPosInSet) === 100000")
    page.fill("#search", "picture-054321")
    until(page, "document.querySelectorAll('#list .card').length === 1")
    page.locator("#list .card").click()
    until(page, "document.querySelector('dialog').innerText.includes('is what it is')")


def test_the_histogram_counts_everything_once() -> None:
    scored = [{"mos": mos} for mos in (1.0, 1.19, 1.2, 3.0, 5.0)]
    bars = histogram(scored)
    assert [bar["count"] for bar in bars][:2] == [2, 1]
    assert bars[10]["count"] == 1 and bars[-1]["count"] == 1
    assert sum(bar["count"] for bar in bars) == 5


def test_thumbnails_lie_by_content(tmp_path: Path) -> None:
    assert thumbnail_path(tmp_path, "ab" * 32) == tmp_path / "thumbnails" / "ab" / f"{'ab' * 10}.webp"
