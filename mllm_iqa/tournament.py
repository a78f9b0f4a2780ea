"""A tournament: which comparisons are made within a budget, and what follows from them. No model here, only outcomes.

Contestants meet over contents. Of pictures there is one content, and a pair meets at most once; folders of pictures of
the same names meet over each name that both have. The caller numbers contestants and contents in an order that follows
from what they are and not from how they were given; every choice depends on these numbers and on outcomes alone.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .pairing import GUESS_PRECISION, gains, next_round
from .ranking import Strengths, fit_pairs
from .types import Winner

GUESS_SPREAD = 1.5
"""Standard deviation, in log strength, that first guesses are scaled to."""


@dataclass(frozen=True, slots=True)
class Match:
    """A comparison: two contestants by number, first < second, and the content over which they meet."""

    first: int
    second: int
    content: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a comparison ended.

    Attributes:
        first, second, tie: probabilities that the first is better, that the second is, and that they tie; sum 1.
        winner: "a" for the first, "b" for the second, or "tie".
        flip: whether the two orders of presentation named different winners.
    """

    first: float
    second: float
    tie: float
    winner: Winner
    flip: bool


@dataclass(frozen=True, slots=True)
class Played:
    """All comparisons that were made, in their order, and the strengths that follow."""

    matches: tuple[Match, ...]
    outcomes: tuple[Outcome, ...]
    strengths: Strengths

    @property
    def flips(self) -> int:
        """Comparisons whose two orders named different winners."""
        return sum(outcome.flip for outcome in self.outcomes)

    def margins(self) -> dict[tuple[int, int], float]:
        """For each pair that met: mean probability of the first less that of the second; 0 where ties prevail."""
        met: dict[tuple[int, int], list[Outcome]] = defaultdict(list)
        for match, outcome in zip(self.matches, self.outcomes, strict=True):
            met[match.first, match.second].append(outcome)
        out = {}
        for pair, outcomes in met.items():
            first, second, tie = (float(np.mean([getattr(o, k) for o in outcomes])) for k in ("first", "second", "tie"))
            out[pair] = 0.0 if tie >= max(first, second) else first - second
        return out


def default_budget(possible: int, count: int) -> int:
    """Comparisons without a budget of the user's: all up to those of 32 contestants, else count x log2(count)."""
    return possible if possible <= 496 else min(possible, max(496, math.ceil(count * math.log2(count))))


def possible_matches(present: np.ndarray) -> int:
    """How many different comparisons there are; present: shape (N, C), see `play`."""
    per_content = present.sum(axis=0).astype(int)
    return int((per_content * (per_content - 1) // 2).sum())


def play(
    present: np.ndarray,
    compare: Callable[[Sequence[Match]], Sequence[Outcome]],
    *,
    budget: int,
    guess: np.ndarray | None = None,
    advance: Callable[[int], None] = lambda done: None,
) -> Played:
    """Compare within a budget, round by round, always the pairs that are expected to tell most.

    Args:
        present: shape (N, C), boolean: which contestant has a picture of which content; N at least 2.
        compare: the judge; its outcomes must not depend on which other matches are in the same call.
        budget: comparisons at most; where it covers all there are, all are made.
        guess: shape (N,), cheap first scores of any scale, larger = better; they steer which pairs are compared and
            enter no result.
        advance: told the number of comparisons made.
    """
    count = len(present)
    left = present.astype(int) @ present.astype(int).T
    np.fill_diagonal(left, 0)
    open_contents = _OpenContents(present)
    matches: list[Match] = []
    outcomes: list[Outcome] = []
    believed: Strengths | None = None
    mean = None if guess is None else _scaled(guess)
    while len(matches) < budget:
        believed = fit_pairs(*_table(matches, outcomes), count, ridge=GUESS_PRECISION, prior_mean=mean, near=believed)
        chosen = next_round(gains(believed), left, at_most=budget - len(matches))
        if not chosen:
            break
        fresh = [Match(i, j, open_contents.take(i, j)) for i, j in chosen]
        for match in fresh:
            left[match.first, match.second] -= 1
            left[match.second, match.first] -= 1
        outcomes += compare(fresh)
        matches += fresh
        advance(len(matches))
    return Played(tuple(matches), tuple(outcomes), fit_pairs(*_table(matches, outcomes), count))


class _OpenContents:
    """Over which content a pair meets next: the one used least so far, the first of those."""

    def __init__(self, present: np.ndarray) -> None:
        self._present = present
        self._used = np.zeros(present.shape[1], dtype=int)
        self._met: dict[tuple[int, int], set[int]] = defaultdict(set)

    def take(self, first: int, second: int) -> int:
        met = self._met[first, second]
        both = np.flatnonzero(self._present[first] & self._present[second])
        content = int(min((c for c in both if int(c) not in met), key=lambda c: (self._used[c], c)))
        self._used[content] += 1
        met.add(content)
        return content


def _table(matches: Sequence[Match], outcomes: Sequence[Outcome]) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.array([(m.first, m.second) for m in matches], dtype=np.intp).reshape(-1, 2)
    return pairs, np.array([(o.first, o.second, o.tie) for o in outcomes]).reshape(-1, 3)


def _scaled(guess: np.ndarray) -> np.ndarray:
    spread = float(np.std(guess))
    return np.asarray((guess - np.mean(guess)) / spread * GUESS_SPREAD if spread > 0 else np.zeros(len(guess)))
