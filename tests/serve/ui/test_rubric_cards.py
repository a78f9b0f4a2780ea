"""Advice and rubrics on the page: cards in both languages, tasks without a page, and a real browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("gradio")

from mllm_iqa.serve.ui.cards import entry_card
from mllm_iqa.serve.ui.entries import Compared, Judged, Refused, Scored
from mllm_iqa.serve.ui.export import as_html, as_json
from mllm_iqa.serve.ui.strings import STRINGS
from mllm_iqa.serve.ui.tasks import rubric, rubric_given

from mllm_iqa import Assistant, Failure
from mllm_iqa.advice import advised, advised_comparison
from mllm_iqa.rubric import load_rubric
from mllm_iqa.types import Advice

from .conftest import EVIL, checked, make_comparison, make_held, make_score
from .test_browser import PATIENCE, SHARP, drop, opened, press  # noqa: F401 (a fixture)

EN, ZH = STRINGS["en"], STRINGS["zh"]


def test_a_score_card_says_what_to_do_in_the_pages_language() -> None:
    entry = Scored("score", (make_held(),), (advised(make_score()),))
    english, chinese = (checked(entry_card(entry, s, name="e")) for s in (EN, ZH))
    assert "What to do" in english and "A light sharpening" in english
    assert "该怎么处理" in chinese and "轻度锐化" in chinese and "A light" not in chinese


def test_a_clean_picture_is_told_so_and_an_unexplained_one_nothing() -> None:
    clean = advised(make_score(distortions=()))
    assert "leave the picture as it is" in entry_card(Scored("score", (make_held(),), (clean,)), EN, name="e")
    assert "What to do" not in entry_card(Scored("score", (make_held(),), (make_score(),)), EN, name="e")


def test_the_loser_of_a_comparison_is_advised() -> None:
    held = (make_held(1), make_held(2, "b.jpg"))
    scores = (make_score(), make_score("b.jpg", mos=2.0))
    result = advised_comparison(make_comparison())
    card = checked(entry_card(Compared(*held, ("", ""), scores, result), EN, name="e", views=(held[0].thumb,) * 2))
    assert card.count("What to do") == 1 and "out of focus" in card
    assert card.index("out of focus") > card.index("2 · b.jpg")


def test_advice_of_other_rules_is_shown_as_it_is_and_harmless() -> None:
    score = replace(make_score(), advice=(Advice(("lens blur",), EVIL, "studio.v1/x"),))
    card = checked(entry_card(Scored("score", (make_held(),), (score,)), ZH, name="e"))
    assert "&lt;img src=x" in card


@pytest.fixture(scope="module")
def fake() -> Assistant:
    return Assistant.load("fake")


def last(steps: Iterator[Any]) -> Any:
    *_, step = steps
    return step.entry


def test_a_typed_rubric_is_judged_and_exported(fake: Assistant) -> None:
    held = (make_held(1), make_held(2, EVIL))
    given = rubric_given("", "Is it ready?", "ready / usable/no", "It is", "en")
    steps = list(rubric(held, given, assistant=fake, strings=EN))
    entry = steps[-1].entry
    assert [len(step.entry.results) for step in steps] == [0, 1, 2]
    (expected,) = fake.score_by(held[0].picture(), json_rubric(given))
    assert entry.results[0] == expected
    for strings in (EN, ZH):
        card = checked(entry_card(entry, strings, name="e"))
        assert all(word in card for word in ("ready", "usable", "MOS"))
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    assert json.loads(as_json([entry], now=now))["entries"][0]["results"][0]["rubric"] == "own.v1"
    assert "Is it ready?" in as_html([entry], EN, now=now)


def json_rubric(given: str) -> Any:
    from mllm_iqa.rubric import rubric_of

    return rubric_of(json.loads(given))


def test_a_shipped_rubric_and_what_is_none(fake: Assistant) -> None:
    given = rubric_given("sharpness.v1", "", "", "", "en")
    assert json_rubric(given) == load_rubric("sharpness")
    for question, levels in (("", "a/b"), ("Q?", "only one"), ("Q?", "a/a")):
        refused = last(rubric((make_held(),), rubric_given("", question, levels, "", "en"), assistant=fake, strings=EN))
        assert isinstance(refused, Refused) and "That is no rubric." in refused.text(EN)
    assert isinstance(last(rubric((), given, assistant=fake, strings=EN)), Refused)


def test_a_doubtful_answer_and_a_failure_are_marked(fake: Assistant) -> None:
    (score,) = fake.score_by(make_held().picture(), load_rubric("sharpness"))
    entry = Judged("Q?", (make_held(), make_held(2)), (replace(score, outside_mass=0.93), Failure("b", "broken")))
    card = checked(entry_card(entry, EN, name="e"))
    assert "93%" in card and "larger model" in card and "broken" in card


@pytest.mark.browser
@pytest.mark.filterwarnings("ignore:'future.no_silent_downcasting' is deprecated")
@pytest.mark.filterwarnings("ignore:The copy keyword is deprecated")
def test_a_rubric_is_chosen_and_one_is_typed(opened: Any) -> None:  # noqa: F811
    page = opened()
    drop(page, SHARP)
    assert "What to do" in press(page, "score")
    words = press(page, "rubric")
    assert "no MOS" in words and "quality_three.v1" in words
    page.click("#iqa-rubric-choice input")
    page.get_by_role("option", name="my own, below").click()
    page.wait_for_selector("#iqa-rubric-question textarea, #iqa-rubric-question input", timeout=PATIENCE)
    for name, text in (
        ("question", "How would you rate the quality of this image?"),
        ("levels", "excellent / fair / bad"),
        ("prefix", "The quality of the image is"),
    ):
        page.fill(f"#iqa-rubric-{name} textarea, #iqa-rubric-{name} input", text)
    words = press(page, "rubric")
    assert "own.v1" in words and "excellent" in words
    page.fill("#iqa-rubric-levels textarea, #iqa-rubric-levels input", "alone")
    assert "That is no rubric." in press(page, "rubric")
    page.click("#iqa-language")
    page.wait_for_function("document.body.innerText.includes('评判标准')")
    assert "该怎么处理" in page.locator("#iqa-feed").inner_text()
