"""Intransitive triples: a better than b, b better than c, and c better than a. Pure functions; no model here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

WORST = 5
"""How many cycles are named."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """Three items, each judged better than the next and the last better than the first.

    Attributes:
        items: their numbers; the smallest first.
        names: what they are called.
        strength: in (0, 1], the least of the three margins (probability of the winner less that of the loser): the
            larger, the worse.
    """

    items: tuple[int, int, int]
    names: tuple[str, str, str]
    strength: float


@dataclass(frozen=True, slots=True)
class Cycles:
    """How far the comparisons contradict each other.

    Attributes:
        triples: of items all three pairs of which were compared.
        intransitive: those of them that run in a circle. A tie closes no circle.
        worst: the strongest few.
    """

    triples: int
    intransitive: int
    worst: tuple[Cycle, ...]


def find_cycles(margins: Mapping[tuple[int, int], float], names: Iterable[str], *, worst: int = WORST) -> Cycles:
    """Count the circles among compared pairs.

    Args:
        margins: for each compared pair (i, j), i < j: probability that i is better less that j is, averaged over
            however often it was compared; 0 where a tie was called.
        names: of all items.
        worst: how many to name.
    """
    called = list(names)
    known: list[set[int]] = [set() for _ in called]
    beats: dict[int, dict[int, float]] = {i: {} for i in range(len(called))}
    for (i, j), margin in margins.items():
        known[i].add(j)
        known[j].add(i)
        if margin > 0:
            beats[i][j] = margin
        elif margin < 0:
            beats[j][i] = -margin
    triples = sum(len(known[i] & known[j]) for i, j in margins) // 3
    found: list[tuple[float, tuple[int, int, int]]] = []
    for a, losers in beats.items():
        for b in losers:
            if b < a:
                continue
            for c in beats[b]:
                if c > a and a in beats[c]:
                    found.append((min(losers[b], beats[b][c], beats[c][a]), (a, b, c)))
    found.sort(key=lambda one: (-one[0], one[1]))
    top = tuple(Cycle(items, _named(items, called), strength) for strength, items in found[:worst])
    return Cycles(triples, len(found), top)


def _named(items: tuple[int, int, int], names: list[str]) -> tuple[str, str, str]:
    a, b, c = items
    return names[a], names[b], names[c]
