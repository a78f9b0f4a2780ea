from __future__ import annotations

import re
from typing import Any

import pytest

pytest.importorskip("gradio")

from mllm_iqa.serve.ui.cards import entry_card, status
from mllm_iqa.serve.ui.charts import level_bars, mos_scale, severity_meter, strength_mark
from mllm_iqa.serve.ui.entries import Answered, Compared, Entry, Ranked, Refused, Scored
from mllm_iqa.serve.ui.feed import feed, live
from mllm_iqa.serve.ui.intake import Limits
from mllm_iqa.serve.ui.strings import CHINESE, ENGLISH, Strings
from mllm_iqa.serve.ui.tasks import Step
from mllm_iqa.serve.ui.tray import tray

from mllm_iqa.types import Failure, Finding, Interval

from .conftest import EVIL, LEVELS, checked, make_comparison, make_held, make_info, make_ranking, make_score


def words(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def comparison(**changes: Any) -> Compared:
    a, b = make_held(1, "a.jpg"), make_held(2, "b.jpg", width=80)
    fields: dict[str, Any] = {
        "scores": (make_score("a.jpg", mos=4.0), make_score("b.jpg", mos=2.0)),
        "result": make_comparison(),
    }
    return Compared(a, b, (a.thumb, b.thumb), **(fields | changes))


def evil_entries() -> list[Entry]:
    held = make_held(1, EVIL)
    finding = Finding(EVIL, EVIL, 3, 0.5)
    interval = Interval(1, 5, 0.9, EVIL)
    score = make_score(EVIL, explanation=EVIL, model=EVIL, prompt=EVIL, distortions=(finding,), interval=interval)
    result = make_comparison(explanation=EVIL, model=EVIL, prompt=EVIL, distortions_a=(finding,), a=make_info(EVIL))
    return [
        Scored("score", (held, held), (score, Failure(EVIL, EVIL)), note=EVIL),
        Scored("wrong", (held,), (score,)),
        Compared(held, held, (held.thumb, held.thumb), (score, score), result, EVIL),
        Ranked((held, held), make_ranking()),
        Answered(EVIL, (held,), EVIL, EVIL, EVIL),
        Refused("error_picture", "too_large", (("name", EVIL), ("size", EVIL), ("limit", EVIL))),
        Refused("error", detail=EVIL),
    ]


@pytest.mark.parametrize("strings", [ENGLISH, CHINESE], ids=["en", "zh"])
@pytest.mark.parametrize("entry", evil_entries(), ids=lambda e: type(e).__name__)
def test_nothing_a_user_or_a_model_says_becomes_markup(entry: Entry, strings: Strings) -> None:
    for html in (entry_card(entry, strings, name="e"), live(Step(entry, EVIL), strings), feed([entry], strings)):
        checked(html)
        assert "<img src=x" not in html
        assert "${" not in html and "{{" not in html


def test_the_tray_escapes_names_and_refusals() -> None:
    refusals = [Refused("error_picture", detail=EVIL)]
    html = checked(tray([make_held(1, EVIL)], refusals, limits=Limits(), strings=ENGLISH))
    assert "<img src=x" not in html
    assert "onerror=alert(1)&gt;" in html  # shown as the characters it is


def test_a_number_that_a_model_wrote_stands_without_interval_and_levels() -> None:
    written = make_score(std=None, interval=None, levels=None, outside_mass=None, distortions=None, confidence=None)
    html = checked(entry_card(Scored("score", (make_held(1, "a.jpg"),), (written,)), ENGLISH, name="e"))
    assert "3.64" in words(html) and 'class="iqa-dot"' in html
    assert "interval" not in words(html) and 'class="iqa-band"' not in html and "excellent" not in words(html)


def test_a_score_shows_number_interval_levels_findings_and_why() -> None:
    html = words(entry_card(Scored("score", (make_held(),), (make_score(),)), ENGLISH, name="e"))
    for part in ("3.64", "of 5", "90% interval 2.60 to 4.70", "good 0.600", "bad 0.010", "no level word 0.002"):
        assert part in html
    for part in ("lens blur", "moderate", "0.61", "It shows lens blur (moderate).", "confidence of the text 0.55"):
        assert part in html
    assert "some model 1" in html and "rate.v1" in html and "64x48" in html


def test_a_score_in_chinese_names_levels_kinds_and_severities_in_chinese() -> None:
    html = words(entry_card(Scored("score", (make_held(),), (make_score(),)), CHINESE, name="e"))
    for part in ("良好", "失焦模糊", "中等", "发现的失真", "90% 区间 2.60 至 4.70"):
        assert part in html


def test_what_is_wrong_puts_the_findings_first() -> None:
    score = entry_card(Scored("score", (make_held(),), (make_score(),)), ENGLISH, name="e")
    wrong = entry_card(Scored("wrong", (make_held(),), (make_score(),)), ENGLISH, name="e")
    assert score.index("iqa-bars") < score.index("iqa-found")
    assert wrong.index("iqa-found") < wrong.index("iqa-bars")


def test_a_clean_picture_says_so_and_one_not_looked_at_says_nothing() -> None:
    def shown(found: Any) -> str:
        return entry_card(Scored("score", (make_held(),), (make_score(distortions=found),)), ENGLISH, name="e")

    assert "None found." in shown(())
    assert "None found." not in shown(None)


@pytest.mark.parametrize(("mass", "warned"), [(0.05, False), (0.4, True)])
def test_a_score_to_be_distrusted_says_so(mass: float, warned: bool) -> None:
    html = entry_card(Scored("score", (make_held(),), (make_score(outside_mass=mass),)), ENGLISH, name="e")
    assert ("distrust this score" in html) is warned


def test_a_picture_that_failed_stands_beside_the_others() -> None:
    entry = Scored("score", (make_held(1), make_held(2)), (make_score(), Failure("b.jpg", "is broken")))
    html = words(entry_card(entry, ENGLISH, name="e"))
    assert "3.64" in html and "b.jpg: is broken" in html


def test_a_comparison_names_the_winner() -> None:
    html = checked(entry_card(comparison(), ENGLISH, name="e"))
    assert "1 · a.jpg is better" in html
    assert "both orders agree" in html
    assert "iqa-warning" not in html
    assert "differ in size (64x48 and 80x48)" in words(html)


def test_a_tie_a_flip_and_scores_that_disagree_are_said() -> None:
    assert "About equal" in entry_card(comparison(result=make_comparison("tie")), ENGLISH, name="e")
    flipped = entry_card(comparison(result=make_comparison(order_flip=True)), ENGLISH, name="e")
    assert "distrust the verdict" in flipped
    other = entry_card(comparison(result=make_comparison("b")), ENGLISH, name="e")
    assert ENGLISH.scores_disagree in other


def test_a_growing_comparison_shows_what_there_is() -> None:
    html = checked(live(Step(comparison(scores=None, result=None), "Comparing"), ENGLISH))
    assert "iqa-compare" in html and "a.jpg is better" not in html and "Comparing" in html


def test_pictures_of_one_size_need_no_note() -> None:
    a, b = make_held(1), make_held(2)
    html = entry_card(Compared(a, b, (a.thumb, b.thumb)), ENGLISH, name="e")
    assert "differ in size" not in html


def test_a_ranking_is_an_ordered_list_best_first() -> None:
    html = checked(
        entry_card(Ranked((make_held(1, "a.jpg"), make_held(2, "b.jpg")), make_ranking()), ENGLISH, name="e")
    )
    assert html.index("2 · b.jpg") < html.index("1 · a.jpg")
    assert "+1.25 ± 0.40" in html and "<ol" in html


def test_several_comparisons_have_switches_of_their_own() -> None:
    html = feed([comparison(), comparison()], ENGLISH)
    names = re.findall(r'type="radio" class="iqa-by-slider" id="([^"]+)"', html)
    assert len(names) == len(set(names)) == 2


def test_only_the_last_comparisons_keep_their_large_views() -> None:
    held = make_held()
    entries = [Compared(held, held, (f"data:image/jpeg;base64,VIEW{i}", held.thumb)) for i in range(5)]
    html = feed(entries, ENGLISH)
    assert [f"VIEW{i}" in html for i in range(5)] == [False, False, True, True, True]


def test_an_empty_feed_says_what_can_be_done() -> None:
    assert ENGLISH.empty_title in feed([], ENGLISH)
    assert CHINESE.empty_title in feed([], CHINESE)


@pytest.mark.parametrize(("mos", "left"), [(1.0, "0.00"), (3.0, "50.00"), (5.0, "100.00")])
def test_the_dot_stands_where_the_mos_is(mos: float, left: str) -> None:
    # (mos - 1) / (5 - 1): 1 -> 0 %, 3 -> 50 %, 5 -> 100 %; the band 2..4 starts at 25 % and is 50 % wide.
    html = mos_scale(mos, Interval(2, 4, 0.9, "x"), ENGLISH)
    assert f'class="iqa-dot" style="left:{left}%"' in html
    assert 'style="left:25.00%;width:50.00%"' in html


def test_bars_are_as_long_as_the_probabilities_best_level_first() -> None:
    html = level_bars(LEVELS, 0.125, ENGLISH)
    assert re.findall(r"width:([\d.]+)%", html) == ["5.00", "60.00", "30.00", "4.00", "1.00", "12.50"]
    assert re.findall(r'iqa-name">([^<]+)', html)[:2] == ["excellent", "good"]


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_a_severity_has_as_many_marks(severity: int) -> None:
    assert severity_meter(severity, ENGLISH).count("class=on") == severity


@pytest.mark.parametrize("error", [0.0, 0.5, float("inf"), float("nan")])
def test_a_strength_is_drawn_within_its_scale(error: float) -> None:
    numbers = [float(n) for n in re.findall(r":([\d.]+)%", strength_mark(1.0, error, -1.0, 1.0))]
    assert len(numbers) == 3 and all(0 <= n <= 100 for n in numbers)


def test_a_status_is_announced() -> None:
    assert 'role="status"' in checked(status("Scoring <1>"))
