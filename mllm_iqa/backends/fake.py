"""FAKE: an engine without a model, for testing the plumbing. Its numbers follow from the pixels and mean nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from .base import Conversation


class FakeBackend:
    """Deterministic log-probabilities and texts from a hash of pixels and words; every result is marked FAKE."""

    name = "FAKE"
    max_pixels: int | None = 262_144
    languages: tuple[str, ...] = ("en",)

    def continuation_logprobs(self, conversations: Sequence[Conversation], candidates: Sequence[str]) -> np.ndarray:
        """Softmax of numbers hashed from the conversation and each candidate, less 1 % outside mass."""
        rows = []
        for conversation in conversations:
            logits = np.array([_number(conversation, word) for word in candidates]) * 4.0
            rows.append(logits - np.log(np.exp(logits).sum()) + np.log(0.99))
        return np.array(rows).reshape(len(conversations), len(candidates))

    def generate(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> list[str]:
        """A sentence that says it is fake."""
        return ["".join(self.stream(c, max_new_tokens=max_new_tokens)) for c in conversations]

    def stream(self, conversation: Conversation, *, max_new_tokens: int) -> Iterator[str]:
        """The same, word by word."""
        number = _number(conversation, "") * 1000
        words = f" FAKE answer {number:.0f} about {len(conversation.pictures)} pictures.".split(" ")[1:]
        for word in words[:max_new_tokens]:
            yield " " + word


def _number(conversation: Conversation, word: str) -> float:
    """A number in [0, 1) that depends on every pixel and word."""
    digest = hashlib.sha256(word.encode())
    for picture in conversation.pictures:
        digest.update(picture.pixels.tobytes())
    for turn in conversation.turns:
        digest.update(turn.text.encode())
    return int.from_bytes(digest.digest()[:6], "big") / 2**48
