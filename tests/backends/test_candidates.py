"""Candidates as token paths: what is asked for and how it adds up, derived by hand."""

import pytest

from mllm_iqa.backends.candidates import candidate_ids, summed, wanted
from mllm_iqa.errors import PromptError


def test_every_proper_beginning_is_asked_for_once_shortest_first() -> None:
    paths = [(1,), (2, 3), (2, 4, 5), (2, 4, 6)]
    assert wanted(paths) == {(): (1, 2), (2,): (3, 4), (2, 4): (5, 6)}
    assert list(wanted(paths)) == [(), (2,), (2, 4)]
    assert wanted([]) == {}


def test_a_path_is_worth_the_sum_of_its_tokens() -> None:
    after = {(): {1: -1.0, 2: -2.0}, (2,): {3: -0.5, 4: -0.25}, (2, 4): {5: -4.0}}
    # (1,): -1; (2, 3): -2 - 0.5; (2, 4, 5): -2 - 0.25 - 4.
    assert summed([(1,), (2, 3), (2, 4, 5)], after) == [-1.0, -2.5, -6.25]


def letters(text: str) -> list[int]:
    """A tokenizer of letters, for which "th" is one token."""
    return [ord(c) for c in text.replace("th", "\0")]


def test_tokens_are_those_after_the_words_before() -> None:
    assert candidate_ids(letters, "ab", ["c", "de"]) == [(99,), (100, 101)]
    assert candidate_ids(letters, "", ["c"]) == [(99,)]


def test_what_cannot_be_told_apart_is_refused() -> None:
    with pytest.raises(PromptError, match="'h' melts into the words before it with this tokenizer: 'at'"):
        candidate_ids(letters, "at", ["h"])
    for words in (["a", "ab"], ["a", "a"], ["a", ""]):
        with pytest.raises(PromptError, match="is empty or begins"):
            candidate_ids(letters, "", words)
