"""Balance by counting: among what could be said next, what was said least often so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np

A = TypeVar("A", bound=Hashable)


class Tally:
    """Counts of answers per subject, such as "family" or "letter"; draws keep the counts of a subject level."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._counts: Counter[tuple[Hashable, Hashable]] = Counter()

    def note(self, subject: Hashable, answer: Hashable) -> None:
        """Count an answer that could not be chosen."""
        self._counts[subject, answer] += 1

    def rarest(self, subject: Hashable, answers: Sequence[A]) -> A:
        """One of the least frequent of the answers, not counted; ties are drawn."""
        fewest = min(self._counts[subject, answer] for answer in answers)
        rarest = [answer for answer in answers if self._counts[subject, answer] == fewest]
        return rarest[int(self._rng.integers(len(rarest)))]

    def least(self, subject: Hashable, answers: Sequence[A]) -> A:
        """One of the least frequent of the answers, counted; ties are drawn."""
        answer = self.rarest(subject, answers)
        self.note(subject, answer)
        return answer
