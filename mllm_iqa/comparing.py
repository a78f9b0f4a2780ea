"""Pairs of pictures judged in both orders of presentation, and what was judged before remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from hashlib import sha256
from pathlib import Path

from .backends.base import Backend, Conversation
from .images import Picture
from .prompt_files import load_prompt
from .row_store import RowStore
from .scoring import normalised, winner_of
from .tournament import Outcome

PROMPT = "compare.v1"
PAIRS_AT_ONCE = 8
"""In one call of the engine, so that what it keeps of them does not grow with the ranking."""


def compare_pairs(backend: Backend, pairs: Sequence[tuple[Picture, Picture]]) -> list[Outcome]:
    """How each pair compares: both orders are asked in one call of the engine, and averaged."""
    if not pairs:
        return []
    prompt = load_prompt(PROMPT)
    words = [prompt.phrase(key) for key in ("first", "second", "equal")]
    orders = [
        Conversation.ask(order, prompt.question, prompt.answer_prefix) for pair in pairs for order in (pair, pair[::-1])
    ]
    probs = normalised(backend.continuation_logprobs(orders, words))
    outcomes = []
    for forward, backward in zip(probs[::2], probs[1::2], strict=True):
        winner, mean, flip = winner_of(forward, backward)
        outcomes.append(Outcome(mean["a"], mean["b"], mean["tie"], winner, flip))
    return outcomes


class OutcomeStore:
    """Outcomes by what was compared, on disk, surviving a kill; see `RowStore`."""

    def __init__(self, rows: RowStore) -> None:
        self._rows = rows

    def get(self, first: str, second: str) -> Outcome | None:
        """The outcome of two pictures by their digests; None when they were not compared."""
        row = self._rows.get(_key(first, second))
        return None if row is None else Outcome(**row)

    def add(self, first: str, second: str, outcome: Outcome) -> None:
        """Keep an outcome."""
        row = {name: getattr(outcome, name) for name in ("first", "second", "tie", "winner", "flip")}
        self._rows.add(_key(first, second), row)

    def close(self) -> None:
        """Put everything on the disk and let go of the file."""
        self._rows.close()


def outcome_store(path: Path | None) -> AbstractContextManager[OutcomeStore | None]:
    """A store in a file for the length of a block; None = none."""
    return nullcontext(None) if path is None else closing(OutcomeStore(RowStore(path)))


def remembered(
    judge: Callable[[Sequence[tuple[str, str]]], list[Outcome]], store: OutcomeStore | None
) -> Callable[[Sequence[tuple[str, str]]], list[Outcome]]:
    """A judge of pairs of digests that asks only about those that the store does not know."""
    if store is None:
        return judge

    def ask(pairs: Sequence[tuple[str, str]]) -> list[Outcome]:
        known = {pair: store.get(*pair) for pair in pairs}
        fresh = [pair for pair in dict.fromkeys(pairs) if known[pair] is None]
        for pair, outcome in zip(fresh, judge(fresh), strict=True):
            store.add(*pair, outcome)
            known[pair] = outcome
        return [found for pair in pairs if (found := known[pair]) is not None]

    return ask


def _key(first: str, second: str) -> str:
    return sha256(f"{PROMPT} {first} {second}".encode()).hexdigest()
