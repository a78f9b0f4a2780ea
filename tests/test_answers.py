"""Reading judgments: the prompt's own example, round trips, and everything that must not be read."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mllm_iqa.answers import Judgment, Unparsable, parse_judgment
from mllm_iqa.levels import SEVERITIES
from mllm_iqa.prompt_files import load_prompt
from mllm_iqa.taxonomy import KINDS


def written(rating: object = 3.5, distortion: object = "jitter", severity: object = "moderate", **more: object) -> str:
    return json.dumps({"rating": rating, "distortion": distortion, "severity": severity} | more)


def test_the_prompts_own_example_is_read() -> None:
    assert parse_judgment(load_prompt("judge.v1").phrase("example")) == Judgment(3.5, "gaussian blur", 2)


def test_the_prompt_names_every_word_that_is_read() -> None:
    question = load_prompt("judge.v1").question
    assert all(word in question for word in (*KINDS, *SEVERITIES, '"none"', "rating", "distortion", "severity"))


@settings(deadline=None)
@given(st.floats(1, 5), st.sampled_from(KINDS), st.integers(1, 5), st.text(max_size=40))
def test_what_is_written_is_read_after_any_reasoning(mos: float, kind: str, severity: int, thought: str) -> None:
    text = f"<think>{thought}</think>\n{written(mos, kind, SEVERITIES[severity - 1])}\n"
    assert parse_judgment(text) == Judgment(mos, kind, severity)


def test_a_clean_picture_has_neither_kind_nor_severity() -> None:
    assert parse_judgment(written(5, "none", "none")) == Judgment(5.0, None, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not end in a JSON object"),
        ("The rating is 4.", "does not end in a JSON object"),
        (written() + " That is all.", "does not end in a JSON object"),
        (written()[1:], "does not end in a JSON object"),
        ("{'rating': 3}", "cannot be read"),
        ('{"rating": 3, "rating": 4, "distortion": "none", "severity": "none"}', "a key stands twice"),
        ('{"rating": NaN, "distortion": "none", "severity": "none"}', "NaN is no number"),
        ('{"rating": 3}', "its keys are 'rating', not"),
        (written(note="x"), "its keys are"),
        (written("8/10"), "'8/10' is not a number"),
        (written("4"), "'4' is not a number"),
        (written(True), "True is not a number"),
        (written(8), "its rating 8 is not between 1 and 5"),
        (written(0.99), "not between 1 and 5"),
        (written(distortion="blur"), "its distortion 'blur' is not one of those asked for"),
        (written(distortion="none"), "its distortion 'none'"),
        (written(severity="none"), "its severity 'none' is none of"),
        (written(severity=3), "its severity 3 is none of"),
        (written(distortion=None), "its distortion None"),
        (written(distortion=["jitter"]), "its distortion"),
    ],
)
def test_what_is_not_in_the_form_is_not_read(text: str, reason: str) -> None:
    found = parse_judgment(text)
    assert isinstance(found, Unparsable)
    assert reason in found.reason
