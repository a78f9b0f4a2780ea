"""Dynamic batching: calls of many request threads become few calls of the engine, whatever the feature.

`BatchingBackend` is itself a `Backend`, so everything built on the two primitives is batched. One thread calls the
engine; calls that ask alike (the same candidates, or the same token limit) and wait at the same time go together. An
engine's results never depend on what else is in a call, so answers equal those of single calls.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Condition, Thread, local
from typing import Any

import numpy as np

from mllm_iqa.backends.base import Backend, Conversation
from mllm_iqa.backends.features import GivesFeatures, features_of
from mllm_iqa.checkpoints import Card
from mllm_iqa.errors import BackendError
from mllm_iqa.images import Picture

_LINGER_SECONDS = 0.01  # for threads that were just answered to come back with their next call
_PATIENCE_SECONDS = 1.0  # after which a call goes first, however few go with it
_STREAM_SECONDS = 0.2  # for streamed answers between two batches

_log = logging.getLogger(__name__)


class DeadlineError(BackendError):
    """The time that a request had is over."""


@dataclass(slots=True, eq=False)
class _Call:
    """One call of a primitive, waiting for its turn. Equal keys can share a call of the engine."""

    key: tuple[Any, ...]
    conversations: tuple[Conversation, ...]
    created: float = field(default_factory=time.monotonic)
    answer: Future[Sequence[Any]] = field(default_factory=Future)


@dataclass(slots=True, eq=False)
class _Stream:
    """One streamed answer: pieces go into a queue that the reader empties at its own speed."""

    conversation: Conversation
    max_new_tokens: int
    deadline: float
    pieces: SimpleQueue[str | BaseException | None] = field(default_factory=SimpleQueue)
    iterator: Iterator[str] | None = None
    abandoned: bool = False


class BatchingBackend:
    """A backend over another one; safe to call from any number of threads."""

    def __init__(
        self,
        inner: Backend,
        *,
        batch_rows: int = 32,
        timeout_seconds: float = 120.0,
        on_batch: Callable[[int, float], None] | None = None,
    ) -> None:
        """Start the thread that calls `inner`.

        Args:
            inner: the engine; only that thread calls it from now on.
            batch_rows: conversations in one call of the engine; a single call with more goes alone.
            timeout_seconds: after which a call outside any session fails.
            on_batch: told the conversations and the seconds of every call of the engine.
        """
        self.inner = inner
        self._batch_rows = batch_rows
        self._timeout = timeout_seconds
        self._on_batch = on_batch
        self._changed = Condition()
        self._calls: deque[_Call] = deque()
        self._streams: deque[_Stream] = deque()
        self._active = 0  # sessions, and calls outside of them: no more calls than these can come
        self._closing = False
        self._mine = local()
        self._thread = Thread(target=self._work, name="mllm-iqa-batches", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """See `Backend`."""
        return self.inner.name

    @property
    def max_pixels(self) -> int | None:
        """See `Backend`."""
        return self.inner.max_pixels

    @property
    def languages(self) -> tuple[str, ...]:
        """See `Backend`."""
        return self.inner.languages

    @property
    def card(self) -> Card | None:
        """Of the engine's checkpoint; None without one."""
        card: Card | None = getattr(self.inner, "card", None)
        return card

    @property
    def alive(self) -> bool:
        """Whether the thread that calls the engine runs."""
        return self._thread.is_alive()

    @contextmanager
    def session(self, deadline: float) -> Iterator[None]:
        """Around the calls that one thread makes for one request.

        While fewer calls wait than there are sessions, a batch waits a moment for the rest.

        Args:
            deadline: on `time.monotonic`'s clock; calls that are not answered by then raise `DeadlineError`.
        """
        self._mine.deadline = deadline
        with self._changed:
            self._active += 1
        try:
            yield
        finally:
            del self._mine.deadline
            with self._changed:
                self._active -= 1
                self._changed.notify_all()

    def continuation_logprobs(self, conversations: Sequence[Conversation], candidates: Sequence[str]) -> np.ndarray:
        """See `Backend`."""
        if not conversations:
            return self.inner.continuation_logprobs([], candidates)
        return np.array(self._ask(("logprobs", *candidates), conversations))

    def picture_features(self, pictures: Sequence[Picture]) -> np.ndarray | None:
        """See `GivesFeatures`; None from an engine that gives none."""
        if not pictures or not isinstance(self.inner, GivesFeatures):
            return None
        rows = self._ask(("features",), [Conversation((picture,), ()) for picture in pictures])
        return None if rows[0] is None else np.array(rows)

    def generate(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> list[str]:
        """See `Backend`."""
        return list(self._ask(("generate", max_new_tokens), conversations)) if conversations else []

    def stream(self, conversation: Conversation, *, max_new_tokens: int) -> Iterator[str]:
        """See `Backend`. The engine gives each of several streams a piece in turn, between the batches."""
        stream = _Stream(conversation, max_new_tokens, self._deadline())
        with self._changed:
            self._refuse_when_closed()
            self._streams.append(stream)
            self._changed.notify_all()
        return _read(stream)

    def close(self) -> None:
        """Answer what waits, then stop. Later calls raise `BackendError`."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    # The callers' side.

    def _deadline(self) -> float:
        deadline: float | None = getattr(self._mine, "deadline", None)
        return time.monotonic() + self._timeout if deadline is None else deadline

    def _refuse_when_closed(self) -> None:
        if self._closing:
            raise BackendError(f"{self.name}: the service is stopping")

    def _ask(self, key: tuple[Any, ...], conversations: Sequence[Conversation]) -> Sequence[Any]:
        """The rows of the answer, one per conversation, once the engine has given it."""
        deadline = self._deadline()
        outside = not hasattr(self._mine, "deadline")
        call = _Call(key, tuple(conversations))
        with self._changed:
            self._refuse_when_closed()
            self._active += outside
            self._calls.append(call)
            self._changed.notify_all()
        try:
            return call.answer.result(timeout=max(0.0, deadline - time.monotonic()))
        except FutureTimeout as error:
            if call.answer.done():  # the engine itself timed out
                raise
            with self._changed:
                if call in self._calls:
                    self._calls.remove(call)
            raise DeadlineError(f"{self.name}: the request took longer than it may") from error
        finally:
            with self._changed:
                self._active -= outside

    # The engine's side: one thread.

    def _work(self) -> None:
        while True:
            batch = self._next_batch()
            if batch is None:
                return
            if batch:
                self._run(batch)
            self._serve_streams()

    def _next_batch(self) -> list[_Call] | None:
        """Calls to answer together; empty when only streams wait, None when all is done and the end has come."""
        with self._changed:
            while not self._calls and not self._streams:
                if self._closing:
                    return None
                self._changed.wait()
            if not self._calls:
                return []
            until = time.monotonic() + _LINGER_SECONDS
            while len(self._calls) < self._active and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            if not self._calls:  # its caller's time was over
                return []
            return self._take()

    def _take(self) -> list[_Call]:
        """The largest group of like calls, or that of a call which has waited too long; at least one call."""
        rows: dict[tuple[Any, ...], int] = {}
        for call in self._calls:
            rows[call.key] = rows.get(call.key, 0) + len(call.conversations)
        oldest = self._calls[0]
        waited = time.monotonic() - oldest.created
        key = oldest.key if waited > _PATIENCE_SECONDS else max(rows, key=lambda k: min(rows[k], self._batch_rows))
        taken: list[_Call] = []
        size = 0
        for call in self._calls:
            if call.key == key and (not taken or size + len(call.conversations) <= self._batch_rows):
                taken.append(call)
                size += len(call.conversations)
        for call in taken:
            self._calls.remove(call)
        return taken

    def _run(self, batch: list[_Call]) -> None:
        try:
            answers = self._called([c for call in batch for c in call.conversations], batch[0].key)
        except BaseException as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return
            _log.warning("a batch of %d calls failed (%s); each goes alone", len(batch), error)
            for call in batch:  # so that none fails for what another brought
                self._run([call])
            return
        start = 0
        for call in batch:
            call.answer.set_result(answers[start : start + len(call.conversations)])
            start += len(call.conversations)

    def _called(self, conversations: list[Conversation], key: tuple[Any, ...]) -> Sequence[Any]:
        start = time.monotonic()
        answers: Sequence[Any]
        if key[0] == "features":
            found = features_of(self.inner, [c.pictures[0] for c in conversations])
            answers = [None] * len(conversations) if found is None else found  # type: ignore[assignment]
        elif key[0] == "logprobs":
            answers = self.inner.continuation_logprobs(conversations, key[1:])  # type: ignore[assignment]
        else:
            answers = self.inner.generate(conversations, max_new_tokens=key[1])
        if self._on_batch is not None:
            self._on_batch(len(conversations), time.monotonic() - start)
        return answers

    def _serve_streams(self) -> None:
        """A piece for each stream in turn, until calls wait and the streams have had their time."""
        until = time.monotonic() + _STREAM_SECONDS
        while self._streams and not (self._calls and time.monotonic() > until):
            with self._changed:
                stream = self._streams.popleft()
            if not stream.abandoned and self._advanced(stream):
                with self._changed:
                    self._streams.append(stream)

    def _advanced(self, stream: _Stream) -> bool:
        """Put the next piece of a stream into its queue; False at its end."""
        try:
            if time.monotonic() > stream.deadline:
                raise DeadlineError(f"{self.name}: the answer took longer than it may")
            if stream.iterator is None:
                stream.iterator = self.inner.stream(stream.conversation, max_new_tokens=stream.max_new_tokens)
            piece = next(stream.iterator, None)
        except BaseException as error:
            stream.pieces.put(error)
            return False
        stream.pieces.put(piece)
        return piece is not None


def _read(stream: _Stream) -> Iterator[str]:
    """The pieces of a stream as they come; closing this early ends the stream."""
    try:
        while True:
            try:
                piece = stream.pieces.get(timeout=max(0.0, stream.deadline - time.monotonic()) + 1.0)
            except Empty:
                raise DeadlineError("the answer took longer than it may") from None
            if piece is None:
                return
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        stream.abandoned = True
