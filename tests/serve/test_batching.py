"""Batches equal single calls, come together where calls wait at once, and never let one request harm another."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from mllm_iqa.serve.batching import BatchingBackend, DeadlineError

from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.base import Conversation, Turn
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.errors import BackendError
from mllm_iqa.images import load_image

from .conftest import HeldBackend, png, wait_until

WORDS = [" excellent", " good"]


def asks(seed: int, question: str = "?") -> Conversation:
    return Conversation.ask([load_image(png(seed))], question, "It is")


@pytest.fixture
def held() -> Iterator[HeldBackend]:
    backend = HeldBackend()
    yield backend
    backend.go.set()


def test_calls_that_wait_together_go_together(held: HeldBackend) -> None:
    held.go.clear()
    with closing(BatchingBackend(held, batch_rows=8)) as batching, ThreadPoolExecutor(10) as threads:
        first = threads.submit(batching.continuation_logprobs, [asks(0)], WORDS)
        wait_until(lambda: len(held.calls) == 1)
        others = [threads.submit(batching.continuation_logprobs, [asks(n), asks(n + 20)], WORDS) for n in range(1, 6)]
        single = threads.submit(batching.continuation_logprobs, [asks(7)], [" bad"])
        wait_until(lambda: len(batching._calls) == 6)
        held.go.set()
        got = [f.result() for f in (first, *others, single)]
    # Five calls of two rows: the four oldest fill a batch of eight.
    assert held.calls == [("logprobs", 1), ("logprobs", 8), ("logprobs", 2), ("logprobs", 1)]
    plain = FakeBackend()
    assert np.array_equal(got[0], plain.continuation_logprobs([asks(0)], WORDS))
    for n in range(1, 6):
        assert np.array_equal(got[n], plain.continuation_logprobs([asks(n), asks(n + 20)], WORDS))
    assert np.array_equal(got[6], plain.continuation_logprobs([asks(7)], [" bad"]))


def test_every_feature_gives_what_it_gives_without_batching(fake: Assistant) -> None:
    with closing(BatchingBackend(FakeBackend())) as batching, ThreadPoolExecutor(8) as threads:
        batched = Assistant(batching)

        def all_of(n: int) -> list[object]:
            with batching.session(time.monotonic() + 60):
                return features(batched, n)

        got = list(threads.map(all_of, range(16)))
    assert got == [features(fake, n) for n in range(16)]


def features(assistant: Assistant, n: int) -> list[object]:
    chat = assistant.chat([png(n)], [{"role": "user", "content": "?"}])
    return [
        assistant.score(png(n)),
        assistant.compare(png(n), png(n + 1)),
        assistant.rank([png(n), png(0)]),
        list(chat),
    ]


def test_a_real_model_gives_the_same_in_batches(tiny_checkpoint: Path) -> None:
    alone = Assistant.load(str(tiny_checkpoint), device="cpu")
    sizes: list[int] = []
    inner = Assistant.load(str(tiny_checkpoint), device="cpu")
    with closing(BatchingBackend(inner.backend, on_batch=lambda rows, _: sizes.append(rows))) as batching:
        batched = Assistant(batching, card=inner.card)

        def score(n: int) -> object:
            with batching.session(time.monotonic() + 300):
                return batched.score(png(n, 64, 64 + 32 * (n % 2)))

        with ThreadPoolExecutor(8) as threads:
            got = list(threads.map(score, range(8)))
    for n, score_ in enumerate(got):
        expected = alone.score(png(n, 64, 64 + 32 * (n % 2)))
        assert score_.mos == pytest.approx(expected.mos, abs=1e-5)  # type: ignore[attr-defined]
        assert score_.explanation == expected.explanation  # type: ignore[attr-defined]
    assert max(sizes) > 1


class Picky(FakeBackend):
    """Fails a whole call when one conversation in it asks for that."""

    def continuation_logprobs(self, conversations: Sequence[Conversation], candidates: Sequence[str]) -> np.ndarray:
        if any(c.turns[0].text == "fail" for c in conversations):
            raise BackendError("asked to fail")
        time.sleep(0.05)
        return super().continuation_logprobs(conversations, candidates)


def test_one_failure_in_a_batch_is_one_failure() -> None:
    with closing(BatchingBackend(Picky())) as batching, ThreadPoolExecutor(8) as threads:
        questions = ["?", "?", "fail", "?", "?"]
        futures = [threads.submit(batching.continuation_logprobs, [asks(n, q)], WORDS) for n, q in enumerate(questions)]
        failed = [f.exception() for f in futures]
    assert [type(e) for e in failed] == [type(None), type(None), BackendError, type(None), type(None)]
    for n in (0, 1, 3, 4):
        assert np.array_equal(futures[n].result(), FakeBackend().continuation_logprobs([asks(n)], WORDS))


def test_a_call_whose_time_is_over_is_taken_out(held: HeldBackend) -> None:
    held.go.clear()
    with closing(BatchingBackend(held)) as batching, ThreadPoolExecutor(2) as threads:
        first = threads.submit(batching.continuation_logprobs, [asks(0)], WORDS)
        wait_until(lambda: len(held.calls) == 1)
        with batching.session(time.monotonic() + 0.1), pytest.raises(DeadlineError, match="longer than it may"):
            batching.continuation_logprobs([asks(1)], WORDS)
        held.go.set()
        first.result()
        assert batching.continuation_logprobs([asks(2)], WORDS).shape == (1, 2)
    assert held.calls == [("logprobs", 1), ("logprobs", 1)]


def test_streams_go_on_beside_batches_and_end_when_nobody_reads(fake: Assistant) -> None:
    with closing(BatchingBackend(FakeBackend())) as batching:
        talk = Conversation((load_image(png(1)),), (Turn("user", "?"),))
        expected = list(FakeBackend().stream(talk, max_new_tokens=9))
        left = batching.stream(talk, max_new_tokens=9)
        assert next(left) == expected[0]
        left.close()  # type: ignore[attr-defined]
        with ThreadPoolExecutor(4) as threads:
            streams = [threads.submit(list, batching.stream(talk, max_new_tokens=9)) for _ in range(4)]
            rows = batching.continuation_logprobs([asks(0)], WORDS)
            assert [s.result() for s in streams] == [expected] * 4
        assert rows.shape == (1, 2)
        assert batching.continuation_logprobs([], WORDS).shape == (0, 2)
        assert batching.generate([], max_new_tokens=3) == []


def test_closing_answers_what_waits_and_refuses_what_comes(held: HeldBackend) -> None:
    held.go.clear()
    batching = BatchingBackend(held)
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(batching.continuation_logprobs, [asks(0)], WORDS)
        wait_until(lambda: len(held.calls) == 1)
        closer = threading.Thread(target=batching.close)
        closer.start()
        held.go.set()
        assert waiting.result().shape == (1, 2)
        closer.join(60)
    assert not batching.alive
    with pytest.raises(BackendError, match="stopping"):
        batching.continuation_logprobs([asks(0)], WORDS)
