"""What an engine must offer: two primitives, on which every feature of the library stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..images import Picture


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: its role ("user", "assistant", or "system" for the first) and its words."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Pictures and the messages about them.

    Attributes:
        pictures: shown at the start of the first user message, in order.
        turns: messages in turn; where the last one is the assistant's, it is a beginning to be continued.
    """

    pictures: tuple[Picture, ...]
    turns: tuple[Turn, ...]

    @classmethod
    def ask(cls, pictures: Sequence[Picture], question: str, prefix: str = "", *, system: str = "") -> Conversation:
        """One question about the pictures, how the answer begins, and what is said before the conversation."""
        before = (Turn("system", system),) if system else ()
        after = (Turn("assistant", prefix),) if prefix else ()
        return cls(tuple(pictures), (*before, Turn("user", question), *after))

    def continued(self, text: str) -> Conversation:
        """The same conversation with more words put into the assistant's mouth."""
        if self.turns[-1].role == "assistant":
            return Conversation(self.pictures, (*self.turns[:-1], Turn("assistant", self.turns[-1].text + text)))
        return Conversation(self.pictures, (*self.turns, Turn("assistant", text)))


class Backend(Protocol):
    """An engine that runs one model. Results never depend on which other conversations are in the same call."""

    @property
    def name(self) -> str:
        """Name and version of the model, as it stands in results."""

    @property
    def max_pixels(self) -> int | None:
        """Pixel budget of one picture; None = native size whatever it is."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages the model answers in."""

    def continuation_logprobs(self, conversations: Sequence[Conversation], candidates: Sequence[str]) -> np.ndarray:
        """How likely the answer goes on with each candidate.

        Args:
            conversations: N of them, each ending in the beginning of an answer.
            candidates: C texts, leading space included; distinct, none a beginning of another.

        Returns:
            float64, shape (N, C): natural-log probabilities over everything the model could have said.
        """

    def generate(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> list[str]:
        """What the model says next, chosen greedily so that two runs agree, up to its end-of-turn token."""

    def stream(self, conversation: Conversation, *, max_new_tokens: int) -> Iterator[str]:
        """The same for one conversation, piece by piece."""
