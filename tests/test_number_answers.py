"""Models that write a number after their reasoning: read strictly, and honest about what they do not say."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mllm_iqa.answers import Rating, Unparsable, parse_rating
from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.base import Conversation
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.errors import AnswerError, BackendError
from mllm_iqa.prompt_files import load_prompt
from mllm_iqa.registry import MODELS
from mllm_iqa.tables import flat_row, nested_row
from mllm_iqa.terminal import console, show_results
from mllm_iqa.types import Failure, Score

TAGS, KEYED = load_prompt("rate_visualquality.v1"), load_prompt("rate_qinsight.v1")
PIXELS = np.zeros((40, 50, 3), dtype=np.uint8)


@pytest.mark.parametrize("prompt", [TAGS, KEYED], ids=lambda p: p.task)
def test_the_prompts_own_example_is_read(prompt: Any) -> None:
    rating = parse_rating(prompt.phrase("example"), prompt)
    assert isinstance(rating, Rating)
    assert rating.mos == {"rate_visualquality": 3.42, "rate_qinsight": 2.35}[prompt.task]
    assert rating.reasoning and "<" not in rating.reasoning


@pytest.mark.parametrize(
    ("text", "mos", "reasoning"),
    [
        ("<answer>4</answer>", 4.0, ""),
        ("\n<think>\nIt is 2 of 10 sharp.\n</think>\n\n<answer> 1.0 </answer>\n", 1.0, "It is 2 of 10 sharp."),
        ("Soft.<answer>5.00</answer>", 5.0, "Soft."),
    ],
)
def test_a_number_between_its_tags_is_read(text: str, mos: float, reasoning: str) -> None:
    assert parse_rating(text, TAGS) == Rating(mos, reasoning)


@pytest.mark.parametrize("inside", ['{"rating": 3}', ' {"rating": 3.0}\n', '```json\n{"rating": 3}\n```'])
def test_a_json_object_of_the_one_key_is_read(inside: str) -> None:
    assert parse_rating(f"<think>x</think><answer>{inside}</answer>", KEYED) == Rating(3.0, "x")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "does not end in </answer>"),
        ("3.5", "does not end in </answer>"),
        ("<think>It is 3.5 and then", "does not end in </answer>"),
        ("<answer>3.5</answer> I think.", "does not end in </answer>"),
        ("3.5</answer>", "exactly once"),
        ("<answer>3</answer><answer>4</answer>", "exactly once"),
        ("<answer>8/10</answer>", "'8/10' is not a number"),
        ("<answer>good</answer>", "not a number"),
        ("<answer>3,5</answer>", "not a number"),
        ("<answer>-3</answer>", "not a number"),
        ("<answer>1e0</answer>", "not a number"),
        ("<answer>nan</answer>", "not a number"),
        ("<answer>3 4</answer>", "not a number"),
        ("<answer></answer>", "not a number"),
        ("<answer>0.99</answer>", "not between 1 and 5"),
        ("<answer>85</answer>", "not between 1 and 5"),
    ],
)
def test_what_is_no_number_on_the_scale_is_not_read(text: str, reason: str) -> None:
    found = parse_rating(text, TAGS)
    assert isinstance(found, Unparsable) and reason in found.reason


@pytest.mark.parametrize(
    "inside",
    [
        '{"rating": "3"}',
        '{"rating": true}',
        '{"rating": 9}',
        '{"rating": 3, "why": 1}',
        '{"rating": 3, "rating": 4}',
        '{"score": 3}',
        "[3]",
        "3",
        "{rating: 3}",
        '{"rating": NaN}',
        "",
    ],
)
def test_what_is_no_object_of_that_key_is_not_read(inside: str) -> None:
    assert isinstance(parse_rating(f"<answer>{inside}</answer>", KEYED), Unparsable)


class Writer(FakeBackend):
    """FAKE: says the given answers in turn and keeps what it was asked."""

    def __init__(self, *answers: str) -> None:
        super().__init__()
        self.answers = list(answers)
        self.asked: list[tuple[Conversation, int]] = []

    def generate(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> list[str]:
        self.asked += [(c, max_new_tokens) for c in conversations]
        return [self.answers.pop(0) for _ in conversations]


def written(*answers: str, name: str = "visualquality-r1") -> Assistant:
    return Assistant(Writer(*answers), entry=MODELS[name])


def test_a_score_says_what_the_model_says_and_nothing_more() -> None:
    assistant = written("<think>Sharp enough.</think><answer>4.20</answer>")
    score = assistant.score(PIXELS, name="x.png")
    assert (score.mos, score.level, score.explanation) == (4.2, "good", "Sharp enough.")
    assert (score.std, score.interval, score.levels, score.outside_mass) == (None, None, None, None)
    assert (score.distortions, score.confidence, score.prompt) == (None, None, "rate_visualquality.v1")
    assert str(score) == "x.png: MOS 4.20 (good)\nSharp enough."
    assert json.loads(json.dumps(nested_row(score), allow_nan=False))["levels"] is None
    flat = flat_row(score)
    assert (flat["mos"], flat["level"], flat["p_good"], flat["interval_low"]) == (4.2, "good", None, None)
    backend = assistant.backend
    assert isinstance(backend, Writer)
    ((conversation, limit),) = backend.asked
    assert (conversation.turns[-1].text, limit) == (TAGS.question, 2048)


def test_the_system_message_of_a_prompt_is_said() -> None:
    assistant = written('<answer>{"rating": 2}</answer>', name="q-insight")
    assert assistant.score(PIXELS, explain=False).explanation is None
    assert isinstance(assistant.backend, Writer)
    turns = assistant.backend.asked[0][0].turns
    assert [turn.role for turn in turns] == ["system", "user"] and turns[0].text == KEYED.system


def test_an_answer_that_cannot_be_read_is_an_error_and_in_a_batch_a_row() -> None:
    with pytest.raises(AnswerError, match=r"x\.png: .* gave no rating \(its rating 7\.0 is not between 1 and 5\)"):
        written("<answer>7.0</answer>").score(PIXELS, name="x.png")
    good, bad = "<answer>3</answer>", "I would say 3."
    results = list(written(good, bad, good).score_many([PIXELS] * 3, batch_size=2))
    assert [type(result) for result in results] == [Score, Failure, Score]
    assert "does not end in </answer>" in str(results[1])


def test_people_see_a_number_without_bars(capsys: pytest.CaptureFixture[str]) -> None:
    score = written("<think>Soft.</think><answer>2</answer>").score(PIXELS, name="x.png")
    show_results([score], on=console())
    alone = capsys.readouterr().out
    assert "MOS 2.00 of 5 (poor)\nthe model wrote this number; it says nothing of how sure it is\n" in alone
    assert "Soft." in alone and "confidence" not in alone and "None" not in alone
    show_results([score, score], on=console())
    assert "2.00  -  " in (table := capsys.readouterr().out) and "None" not in table


def test_what_a_model_cannot_do_is_refused_or_left_out() -> None:
    assistant = written()
    with pytest.raises(BackendError, match="cannot compare pictures; score both instead"):
        assistant.compare(PIXELS, PIXELS)
    with pytest.raises(BackendError, match="judges a picture on its own; leave the reference out"):
        assistant.score(PIXELS, reference=PIXELS)
    score = Assistant(FakeBackend(), entry=MODELS["q-realign-mini"]).score(PIXELS)
    assert score.levels is not None and score.explanation is None and score.distortions is None


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    words: list[list[str]] = []
    true = FakeBackend.continuation_logprobs

    def kept(self: FakeBackend, conversations: Sequence[Conversation], candidates: Sequence[str]) -> np.ndarray:
        words.append(list(candidates))
        return true(self, conversations, candidates)

    monkeypatch.setattr(FakeBackend, "continuation_logprobs", kept)
    yield words


def test_q_sit_is_asked_in_its_own_words(seen: list[list[str]]) -> None:
    score = Assistant(FakeBackend(), entry=MODELS["q-sit"]).score(PIXELS)
    assert seen == [[" Excellent", " Good", " Fair", " Poor", " Bad"]]
    assert score.prompt == "rate_qsit.v1" and set(score.levels or ()) == {"excellent", "good", "fair", "poor", "bad"}


def test_a_tiny_model_of_the_true_class_that_never_learned_the_form_gives_no_number(tiny_checkpoint: Path) -> None:
    loaded = Assistant.load(str(tiny_checkpoint), device="cpu")
    entry = MODELS["visualquality-r1"]
    from dataclasses import replace

    assistant = Assistant(loaded.backend, entry=replace(entry, answer_tokens=8))
    with pytest.raises(AnswerError, match=r"tiny 0 gave no rating \(does not end in </answer>\)"):
        assistant.score(PIXELS)
