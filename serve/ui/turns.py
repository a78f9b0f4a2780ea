"""Several users, one model: they take turns, step by step, in the order in which they came."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from mllm_iqa.backends.base import Backend, Conversation
from mllm_iqa.backends.features import features_of
from mllm_iqa.images import Picture

_MOMENT = 0.3  # seconds; about what one turn of a comparison takes on two cores


class FairLock:
    """A lock that is handed to whoever has waited longest; a plain one may go back to its last holder for ever."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._held = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn; the block is it."""
        self._acquire()
        try:
            yield
        finally:
            self._release()

    @property
    def wanted(self) -> bool:
        """Whether someone waits for it."""
        return bool(self._waiting)

    def _acquire(self) -> None:
        with self._guard:
            if not self._held:
                self._held = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def _release(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().set()  # still held, by the one who is woken
            else:
                self._held = False


class TakingTurns:
    """A backend whose calls pass one at a time, and a streamed answer piece by piece.

    A ranking of many pictures and a long answer are many short turns, so that others wait for one of them and not
    for all. Results are those of the backend, which do not depend on what is asked in the same call.
    """

    def __init__(self, backend: Backend, *, conversations: int = 2) -> None:
        """Wrap a backend that must not be called by two threads at once, or gains nothing from it.

        Args:
            backend: whose calls take turns.
            conversations: how many are asked in one turn.
        """
        self._backend = backend
        self._size = conversations
        self._lock = FairLock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    @property
    def name(self) -> str:
        """See `Backend`."""
        return self._backend.name

    @property
    def max_pixels(self) -> int | None:
        """See `Backend`."""
        return self._backend.max_pixels

    @property
    def languages(self) -> tuple[str, ...]:
        """See `Backend`."""
        return self._backend.languages

    def continuation_logprobs(self, conversations: Sequence[Conversation], candidates: Sequence[str]) -> np.ndarray:
        """See `Backend`."""
        parts = [np.empty((0, len(candidates)))]
        for some in self._parts(conversations):
            with self._lock.turn():
                parts.append(self._backend.continuation_logprobs(some, candidates))
        return np.concatenate(parts)

    def picture_features(self, pictures: Sequence[Picture]) -> np.ndarray | None:
        """See `GivesFeatures`; None from a backend that gives none."""
        with self._lock.turn():
            return features_of(self._backend, pictures)

    def generate(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> list[str]:
        """See `Backend`."""
        texts: list[str] = []
        for some in self._parts(conversations):
            with self._lock.turn():
                texts += self._backend.generate(some, max_new_tokens=max_new_tokens)
        return texts

    def stream(self, conversation: Conversation, *, max_new_tokens: int) -> Iterator[str]:
        """See `Backend`. A turn is one piece, or those of a moment where others wait, given out after the turn."""
        with self._lock.turn():
            pieces = iter(self._backend.stream(conversation, max_new_tokens=max_new_tokens))
        said: str | None = ""
        while said is not None:
            with self._lock.turn():
                said = next(pieces, None)
                end = time.monotonic() + _MOMENT
                while said is not None and self._lock.wanted and time.monotonic() < end:
                    further = next(pieces, None)
                    if further is None:
                        break
                    said += further
            if said is not None:
                yield said

    def _parts(self, conversations: Sequence[Conversation]) -> Iterator[Sequence[Conversation]]:
        for start in range(0, len(conversations), self._size):
            yield conversations[start : start + self._size]
