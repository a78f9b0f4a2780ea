from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gradio")

from mllm_iqa.serve.ui.models import Models
from mllm_iqa.serve.ui.turns import FairLock, TakingTurns

from mllm_iqa import Assistant
from mllm_iqa.backends.base import Conversation
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.errors import CheckpointError
from mllm_iqa.images import load_image

from .conftest import jpeg


def test_whoever_waits_longest_is_next() -> None:
    lock, order = FairLock(), list[int]()

    def wait(number: int) -> None:
        with lock.turn():
            order.append(number)

    threads = []
    with lock.turn():
        for number in range(8):
            thread = threading.Thread(target=wait, args=(number,))
            thread.start()
            threads.append(thread)
            while len(lock._waiting) <= number:
                time.sleep(0.001)
    for thread in threads:
        thread.join(timeout=10)
    assert order == list(range(8))


def test_a_lock_is_free_again_after_an_error() -> None:
    lock = FairLock()
    with pytest.raises(RuntimeError), lock.turn():
        raise RuntimeError
    with lock.turn():
        pass


class OneAtATime(FakeBackend):
    """Notes who is inside, and fails when two are."""

    def __init__(self) -> None:
        self.inside = threading.Lock()
        self.visits: list[str] = []

    def continuation_logprobs(self, conversations: Sequence[Conversation], candidates: Sequence[str]) -> np.ndarray:
        assert self.inside.acquire(blocking=False)
        self.visits.append(threading.current_thread().name)
        time.sleep(0.02)
        try:
            return super().continuation_logprobs(conversations, candidates)
        finally:
            self.inside.release()

    def stream(self, conversation: Conversation, *, max_new_tokens: int) -> Iterator[str]:
        for piece in super().stream(conversation, max_new_tokens=max_new_tokens):
            assert self.inside.acquire(blocking=False)
            self.visits.append(threading.current_thread().name)
            time.sleep(0.02)
            self.inside.release()
            yield piece


def test_a_short_request_passes_through_a_long_one() -> None:
    backend = OneAtATime()
    assistant = Assistant(TakingTurns(backend))
    pictures = [load_image(jpeg(seed=i)) for i in range(6)]
    long = threading.Thread(target=lambda: assistant.rank(pictures), name="long")  # 15 pairs, 2 orders: 15 turns
    long.start()
    while not backend.visits:
        time.sleep(0.001)
    short = threading.Thread(target=lambda: assistant.score(pictures[0], explain=False), name="short")
    short.start()
    for thread in (long, short):
        thread.join(timeout=60)
    assert backend.visits.count("short") == 1
    assert backend.visits.index("short") < len(backend.visits) - 2


def test_results_are_those_of_the_backend() -> None:
    plain, turning = Assistant(FakeBackend()), Assistant(TakingTurns(FakeBackend(), conversations=1))
    pictures = [load_image(jpeg(seed=i)) for i in range(3)]
    assert turning.rank(pictures) == plain.rank(pictures)
    assert list(turning.score_many(pictures)) == list(plain.score_many(pictures))
    question = [{"role": "user", "content": "Why?"}]
    assert list(turning.chat(pictures, question)) == list(plain.chat(pictures, question))
    assert "".join(_two_at_once(turning, pictures, question)) == 2 * "".join(plain.chat(pictures, question))
    assert TakingTurns(FakeBackend()).continuation_logprobs([], ["a", "b"]).shape == (0, 2)
    assert turning.backend.name == "FAKE"


def _two_at_once(assistant: Assistant, pictures: Sequence[Any], question: list[dict[str, str]]) -> list[str]:
    """The words of two answers given at the same time, one after the other."""
    said: list[list[str]] = [[], []]
    threads = [threading.Thread(target=lambda out=out: out.extend(assistant.chat(pictures, question))) for out in said]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return ["".join(pieces) for pieces in said]


def test_models_are_loaded_once_and_the_oldest_dropped() -> None:
    models = Models(device="cpu", loaded=1)
    fake = models("fake")
    assert models("fake") is fake
    nano = models("nano")
    assert models("nano") is nano
    assert models("fake") is not fake


def test_a_model_that_is_not_there_is_refused_each_time() -> None:
    models = Models(device="cpu")
    for _ in range(2):
        with pytest.raises(CheckpointError, match="no model named 'nonesuch'"):
            models("nonesuch")
