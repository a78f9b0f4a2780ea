"""Candidates as token paths: which next-token log-probs an engine must be asked for, and how they add up.

For engines that answer "how likely is each of these tokens next" (vLLM, in process and behind HTTP). A candidate of
several tokens is a path; its log-prob is the sum over its tokens, each after the ones before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from ..errors import PromptError

Ids = tuple[int, ...]
Token = TypeVar("Token", int, str)


def candidate_ids(tokenize: Callable[[str], Sequence[int]], before: str, candidates: Sequence[str]) -> list[Ids]:
    """Tokens of each candidate as they come after the words before it.

    Args:
        tokenize: text to token ids, without the tokens that a tokenizer puts around a text.
        before: the beginning of the answer; may be empty.
        candidates: leading space included.

    Raises:
        PromptError: a candidate that is empty, begins another, or melts into the words before it.
    """
    start = tuple(tokenize(before)) if before else ()
    paths = []
    for word in candidates:
        joined = tuple(tokenize(before + word))
        if joined[: len(start)] != start:
            raise PromptError(f"{word!r} melts into the words before it with this tokenizer: {before[-20:]!r}")
        paths.append(joined[len(start) :])
    for i, path in enumerate(paths):
        for j, other in enumerate(paths):
            if not path or (i != j and other[: len(path)] == path):
                raise PromptError(f"{candidates[i]!r} is empty or begins {candidates[j]!r} with this tokenizer")
    return paths


def wanted(paths: Sequence[tuple[Token, ...]]) -> dict[tuple[Token, ...], tuple[Token, ...]]:
    """For every proper beginning of a path, shortest first and () included: the tokens whose log-prob is needed there.

    `wanted([(1,), (2, 3), (2, 4)])` is `{(): (1, 2), (2,): (3, 4)}`.
    """
    after: dict[tuple[Token, ...], dict[Token, None]] = {}
    for path in paths:
        for n, token in enumerate(path):
            after.setdefault(path[:n], {})[token] = None
    return {stem: tuple(after[stem]) for stem in sorted(after, key=lambda stem: (len(stem), stem))}


def summed(paths: Sequence[tuple[Token, ...]], after: Mapping[Any, Mapping[Token, float]]) -> list[float]:
    """Log-prob of each path: the sum over its tokens of the log-prob after the ones before it."""
    return [sum(after[path[:n]][token] for n, token in enumerate(path)) for path in paths]
