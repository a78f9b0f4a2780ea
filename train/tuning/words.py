"""Where in an answer's tokens a labeled word stands, with any tokenizer, and what each of its tokens should be.

A word c of the candidates has tokens c_1 .. c_k and the soft label a probability q(c). The KL of the label to the
model, over whole words, splits along the tokens:

    KL(q || p) = sum over beginnings b of q(b) * KL( q(. | b) || p(. | b) )

where b runs over the empty beginning and all proper beginnings of candidates, q(b) is the summed probability of the
candidates that begin with b, and q(. | b) the label of the next token given b. With one token per word only b = () is
left: the plain KL over the vocabulary. One pass sees the model's p(. | b) only along the word that is said; those terms
are taken, each once. Their sum is the whole KL on average when the word said is drawn from q, as both kinds of examples
do. All are over the full vocabulary, so that probability put on anything else is charged for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mllm_iqa.errors import DataError

from .examples import Word


@dataclass(frozen=True, slots=True)
class TokenLabel:
    """What one token should be: its position in the ids, and token ids with their probabilities, which sum to 1."""

    position: int
    tokens: tuple[int, ...]
    probs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Located:
    """A labeled word in an answer's tokens.

    Attributes:
        position: of its first token; length: how many tokens it takes.
        labels: of its tokens, for as long as the label gives the tokens said so far any probability.
        first: first token of every candidate, in their order.
    """

    position: int
    length: int
    labels: tuple[TokenLabel, ...]
    first: tuple[int, ...]


def locate(text: str, at: int, word: Word, token_ids: Callable[[str], tuple[int, ...]], *, name: str) -> Located:
    """Find a labeled word.

    Args:
        text: of the whole conversation.
        at: offset in it where the word stands.
        word: its candidates and their probabilities.
        token_ids: the tokenizer.
        name: of the record.

    Raises:
        DataError: naming the record: no candidate stands there, or the tokenizer melts the word into its neighbors,
            or two candidates are the same to it, or one begins another.
    """
    said = max((c for c in word.candidates if c and text.startswith(c, at)), key=len, default=None)
    if said is None:
        raise DataError(
            f"{name}: none of {', '.join(map(repr, word.candidates))} stands at the label's place; "
            f"there stands {text[at : at + 20]!r}"
        )
    before = token_ids(text[:at])
    paths = [_path(before, token_ids(text[:at] + c), c, name) for c in word.candidates]
    _check_distinct(paths, word.candidates, name)
    path = paths[word.candidates.index(said)]
    whole = token_ids(text)
    if whole[: len(before) + len(path)] != before + path:
        raise DataError(f"{name}: {said!r} melts into the words around it with this tokenizer")
    labels = tuple(_labels(path, paths, word.probs, len(before)))
    return Located(len(before), len(path), labels, tuple(p[0] for p in paths))


def _path(before: tuple[int, ...], joined: tuple[int, ...], candidate: str, name: str) -> tuple[int, ...]:
    if joined[: len(before)] != before:
        raise DataError(f"{name}: {candidate!r} melts into the words before it with this tokenizer")
    return joined[len(before) :]


def _check_distinct(paths: Sequence[tuple[int, ...]], candidates: Sequence[str], name: str) -> None:
    for i, path in enumerate(paths):
        for j, other in enumerate(paths):
            if i != j and path == other:
                pair = f"{candidates[i]!r} and {candidates[j]!r}"
                raise DataError(f"{name}: {pair} are the same to this model's tokenizer, which does not know them")
            if not path or (i != j and other[: len(path)] == path):
                raise DataError(f"{name}: {candidates[i]!r} is empty or begins {candidates[j]!r} with this tokenizer")


def _labels(
    said: tuple[int, ...], paths: Sequence[tuple[int, ...]], probs: Sequence[float], start: int
) -> list[TokenLabel]:
    found = []
    for n in range(len(said)):
        next_token: dict[int, float] = {}
        for path, p in zip(paths, probs, strict=True):
            if path[:n] == said[:n]:
                next_token[path[n]] = next_token.get(path[n], 0.0) + p
        mass = sum(next_token.values())
        if mass <= 0:
            break
        found.append(TokenLabel(start + n, tuple(next_token), tuple(p / mass for p in next_token.values())))
    return found
