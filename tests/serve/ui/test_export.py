from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime

import pytest

pytest.importorskip("gradio")

from mllm_iqa.serve.ui.entries import Answered, Compared, Ranked, Refused, Scored
from mllm_iqa.serve.ui.export import as_gallery, as_html, as_json
from mllm_iqa.serve.ui.strings import CHINESE, ENGLISH, Strings

import mllm_iqa

from .conftest import EVIL, checked, make_comparison, make_held, make_ranking, make_score

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
A, B = make_held(1, "a.jpg"), make_held(2, EVIL)
SCORES = (make_score("a.jpg"), make_score(EVIL))
ENTRIES = [
    Scored("score", (A, B), SCORES),
    Compared(A, B, (A.thumb, B.thumb), SCORES, make_comparison()),
    Ranked((A, B), make_ranking()),
    Answered("What is wrong?", (B,), "It is <b>blurred</b>.", "some model 1"),
    Refused("error_other", "no_pictures"),
]


def test_json_holds_everything_in_plain_values() -> None:
    document = json.loads(as_json(ENTRIES, now=NOW))
    assert document["program"] == "mllm-iqa" and document["version"] == mllm_iqa.__version__
    assert document["exported"] == "2026-01-02T03:04:05+00:00"
    assert document["pictures"][0] == {
        "number": 1,
        "name": "a.jpg",
        "width": 64,
        "height": 48,
        "sha256": hashlib.sha256(A.data).hexdigest(),
    }
    kinds = [(entry["kind"], entry["picture_numbers"]) for entry in document["entries"]]
    assert kinds == [("score", [1, 2]), ("compare", [1, 2]), ("rank", [1, 2]), ("chat", [2]), ("error", [])]
    assert document["entries"][0]["results"] == json.loads(json.dumps([s.to_dict() for s in SCORES]))
    assert document["entries"][1]["result"]["winner"] == "a"
    assert document["entries"][2]["result"]["images"][0]["strength"] == 1.25
    assert document["entries"][3]["answer"] == "It is <b>blurred</b>."
    assert document["entries"][4]["error"] == ENGLISH.no_pictures


@pytest.mark.parametrize("strings", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_html_needs_nothing_else_and_runs_nothing(strings: Strings) -> None:
    html = as_html(ENTRIES, strings, now=NOW)
    assert html.startswith("<!doctype html>")
    assert not re.search(r"<(script|link|iframe)|@import|url\(|https?://", html)
    assert set(re.findall(r'src="([^,"]{0,40})', html)) == {"data:image/jpeg;base64"}
    assert "<img src=x" not in html and "<b>blurred" not in html
    checked(html)
    assert len(html) < 200_000


def test_html_speaks_the_page_s_language() -> None:
    assert ENGLISH.ranked in as_html(ENTRIES, ENGLISH, now=NOW)
    assert CHINESE.ranked in as_html(ENTRIES, CHINESE, now=NOW)


def test_the_gallery_shows_each_scored_picture_once() -> None:
    again = Scored("wrong", (A,), (make_score("a.jpg", mos=1.25),))
    html = as_gallery([*ENTRIES, again], now=NOW)
    assert html is not None
    assert "2 of 2 pictures scored" in html
    assert "1.25" in html and html.count("data:image/webp;base64,") == 4  # among the worst, and in the list
    assert "<img src=x" not in html
    assert as_gallery(ENTRIES[1:], now=NOW) is None
