from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

pytest.importorskip("gradio")

from mllm_iqa.serve.ui import tasks
from mllm_iqa.serve.ui.entries import Answered, Compared, Ranked, Refused, Scored
from mllm_iqa.serve.ui.examples import EXAMPLES, example_pictures, renumbered
from mllm_iqa.serve.ui.handlers import TASKS, Handlers
from mllm_iqa.serve.ui.held import Held
from mllm_iqa.serve.ui.intake import Limits
from mllm_iqa.serve.ui.strings import CHINESE, ENGLISH

from mllm_iqa import Assistant, Failure, ImageError, Score
from mllm_iqa.backends.base import Conversation
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.errors import BackendError, CheckpointError

from .conftest import make_held


class Recording(FakeBackend):
    """Keeps the conversations it was asked to go on with."""

    def __init__(self) -> None:
        self.asked: list[Conversation] = []

    def stream(self, conversation: Conversation, *, max_new_tokens: int) -> Iterator[str]:
        self.asked.append(conversation)
        return super().stream(conversation, max_new_tokens=max_new_tokens)


@pytest.fixture(scope="module")
def fake() -> Assistant:
    return Assistant(FakeBackend())


@pytest.fixture(scope="module")
def nano() -> Assistant:
    return Assistant.load("nano", device="cpu")


def test_scores_come_picture_by_picture_number_first(fake: Assistant) -> None:
    held = (make_held(1), make_held(2))
    steps = list(tasks.score(held, assistant=fake, focus="wrong", strings=ENGLISH))
    seen = [[r.explanation is not None for r in s.entry.results] for s in steps]  # type: ignore[union-attr]
    assert seen == [[], [False], [True], [True, False], [True, True]]
    assert [bool(step.doing) for step in steps] == [True, True, True, True, False]
    last = steps[-1].entry
    assert isinstance(last, Scored) and last.focus == "wrong"
    assert last.results == tuple(fake.score(h.picture()) for h in held)


def test_a_picture_too_small_for_the_model_does_not_stop_the_others(fake: Assistant) -> None:
    tight = Assistant(FakeBackend(), max_pixels=100 * 40)
    narrow, usual = make_held(1, "narrow.jpg", width=400, height=32), make_held(2)
    entry = list(tasks.score((narrow, usual), assistant=tight, focus="score", strings=ENGLISH))[-1].entry
    assert isinstance(entry, Scored)
    failed, scored = entry.results
    assert isinstance(failed, Failure) and isinstance(scored, Score)
    assert failed.name == "narrow.jpg" and "pixel budget" in failed.error


def test_a_comparison_shows_its_scores_then_the_verdict_then_why(fake: Assistant) -> None:
    held = (make_held(1), make_held(2))
    entries = [step.entry for step in tasks.compare(held, assistant=fake, strings=ENGLISH)]
    assert all(isinstance(entry, Compared) for entry in entries)
    known = [(e.scores is not None, e.result is not None) for e in entries]  # type: ignore[union-attr]
    assert known == [(False, False), (True, False), (True, True), (True, True)]
    assert entries[-1].result == fake.compare(held[0].picture(), held[1].picture())  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("task", "count", "message"),
    [
        ("score", 0, ENGLISH.no_pictures),
        ("wrong", 0, ENGLISH.no_pictures),
        ("compare", 0, ENGLISH.no_pictures),
        ("compare", 1, ENGLISH.compare_needs_two),
        ("compare", 3, ENGLISH.compare_too_many.format(count=3)),
        ("rank", 0, ENGLISH.no_pictures),
        ("rank", 1, ENGLISH.rank_needs_two.format(count=1)),
        ("ask", 0, ENGLISH.no_pictures),
    ],
)
def test_what_is_missing_is_said(fake: Assistant, task: str, count: int, message: str) -> None:
    held = tuple(make_held(i + 1) for i in range(count))
    (step,) = TASKS[task](fake, held, (), "Why?", ENGLISH)
    assert isinstance(step.entry, Refused)
    assert step.entry.text(ENGLISH) == message
    assert step.entry.text(CHINESE) != message


def test_a_ranking_is_that_of_the_assistant(fake: Assistant) -> None:
    held = tuple(make_held(i) for i in (1, 2, 3))
    entry = list(tasks.rank(held, assistant=fake, strings=ENGLISH))[-1].entry
    assert isinstance(entry, Ranked)
    assert entry.result == fake.rank([h.picture() for h in held])


def test_an_answer_grows_piece_by_piece_and_the_talk_goes_on() -> None:
    backend = Recording()
    assistant, held, other = Assistant(backend), (make_held(1),), (make_held(2),)
    steps = list(tasks.ask(held, " What is wrong? ", earlier=(), assistant=assistant, strings=ENGLISH))
    texts = [step.entry.text for step in steps if isinstance(step.entry, Answered)]
    assert texts == sorted(texts, key=len) and len(set(texts)) > 3
    first = steps[-1].entry
    assert isinstance(first, Answered) and first.question == "What is wrong?" and steps[-1].doing == ""

    earlier = (first, Refused("error"))
    list(tasks.ask(held, "And why?", earlier=earlier, assistant=assistant, strings=ENGLISH))
    list(tasks.ask(other, "And here?", earlier=earlier, assistant=assistant, strings=ENGLISH))
    said = [[turn.text for turn in conversation.turns] for conversation in backend.asked]
    assert said == [["What is wrong?"], ["What is wrong?", first.text, "And why?"], ["And here?"]]


def test_a_blank_question_is_refused(fake: Assistant) -> None:
    (step,) = tasks.ask((make_held(),), "  ", earlier=(), assistant=fake, strings=ENGLISH)
    assert isinstance(step.entry, Refused) and step.entry.text(ENGLISH) == ENGLISH.no_question


def test_a_chinese_page_says_that_the_words_are_english(fake: Assistant) -> None:
    entry = list(tasks.score((make_held(),), assistant=fake, focus="score", strings=CHINESE))[-1].entry
    assert isinstance(entry, Scored)
    assert entry.note == CHINESE.model_language.format(model="FAKE")
    english = list(tasks.score((make_held(),), assistant=fake, focus="score", strings=ENGLISH))[-1].entry
    assert isinstance(english, Scored) and english.note == ""


@pytest.mark.parametrize(
    ("error", "heading"),
    [
        (ImageError("x.jpg: is broken"), "error_picture"),
        (CheckpointError("no model named 'x'"), "error_model"),
        (BackendError("the server does not answer"), "error_model"),
    ],
)
def test_errors_of_the_library_are_entries(error: Any, heading: str) -> None:
    assert tasks.refused(error) == Refused(heading, detail=str(error))


def handlers(assistant_of: Any, *, custom_models: bool = False) -> Handlers:
    return Handlers(assistant_of, ("nano", "other"), custom_models, Limits())


def last_entry(do: Handlers, task: str, pictures: Sequence[Held], *, model: str = "nano") -> Any:
    (*_, (_, live, entries)) = do.runner(task)(tuple(pictures), (), "en", model, "Why?")
    assert live == ""
    return entries[-1]


def test_only_offered_models_are_used_unless_users_are_trusted(fake: Assistant) -> None:
    asked: list[str] = []

    def assistant_of(model: str) -> Assistant:
        asked.append(model)
        return fake

    refused = last_entry(handlers(assistant_of), "score", [make_held()], model="/etc")
    assert refused.text(ENGLISH) == "This server offers nano, other, and not /etc."
    assert asked == []
    last_entry(handlers(assistant_of, custom_models=True), "score", [make_held()], model="owner/name")
    assert asked == ["owner/name"]


def test_a_model_that_cannot_be_loaded_is_a_readable_entry() -> None:
    do = handlers(lambda model: Assistant.load(model), custom_models=True)
    entry = last_entry(do, "score", [make_held()], model="nonesuch")
    assert entry.heading == "error_model" and "no model named 'nonesuch'" in entry.text(ENGLISH)


def test_a_bug_is_logged_and_said_without_its_insides(caplog: pytest.LogCaptureFixture) -> None:
    def broken(model: str) -> Assistant:
        raise ZeroDivisionError("secret detail")

    entry = last_entry(handlers(broken), "score", [make_held()])
    assert entry.text(ENGLISH) == ENGLISH.failed_inside
    assert "secret detail" in caplog.text


def test_no_model_is_loaded_for_no_picture() -> None:
    def never(model: str) -> Assistant:
        raise AssertionError

    assert last_entry(handlers(never), "score", []).text(ENGLISH) == ENGLISH.no_pictures


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.key)
def test_examples_ship(example: Any) -> None:
    assert [h.name for h in example_pictures(example.key)] == list(example.names)
    assert [h.number for h in renumbered(example_pictures(example.key), 5)] == list(range(5, 5 + len(example.names)))


def test_nano_prefers_the_sharp_cup(nano: Assistant) -> None:
    entry = list(tasks.compare(example_pictures("coffee"), assistant=nano, strings=ENGLISH))[-1].entry
    assert isinstance(entry, Compared) and entry.result is not None and entry.scores is not None
    assert entry.result.winner == "a"
    assert entry.scores[0].mos > entry.scores[1].mos
