"""Finding a labeled word in an answer's tokens: the maths of words of several tokens, and awkward tokenizers."""

import itertools
import math

import numpy as np
import pytest
import torch
from mllm_iqa.train.losses import kl_to_soft_label
from mllm_iqa.train.tuning.examples import Word
from mllm_iqa.train.tuning.words import Located, locate
from tokenizers import Tokenizer, models, pre_tokenizers

from mllm_iqa.errors import DataError
from mllm_iqa.levels import LEVELS

LETTERS = {letter: n for n, letter in enumerate("abcdefghijklmnopqrstuvwxyz .")}


def by_letter(text: str) -> tuple[int, ...]:
    return tuple(LETTERS[letter] for letter in text)


def by_word(text: str) -> tuple[int, ...]:
    """A token for each word with its leading space, full stops apart."""
    return tuple(hash(w) % 10**6 for w in text.replace(".", " .").split(" ") if w)


def with_full_stop(text: str) -> tuple[int, ...]:
    """A token for each word, a full stop belonging to the word before it."""
    return tuple(hash(w) % 10**6 for w in text.split(" ") if w)


def of(text: str, word: Word, tokens: object = by_letter) -> Located:
    return locate(text, text.index(" ", 4), word, tokens, name="record 7")  # type: ignore[arg-type]


GOOD_BAD = Word(0, (" good", " bad", " bat"), (0.5, 0.3, 0.2), "")


def test_a_word_of_one_token_carries_its_whole_label() -> None:
    found = of("it is good.", Word(0, (" good", " fair"), (0.7, 0.3), ""), by_word)
    assert (found.position, found.length) == (2, 1)
    (label,) = found.labels
    assert label.tokens == (by_word("good")[0], by_word("fair")[0]) == found.first
    assert label.probs == (0.7, 0.3)


def test_a_word_of_several_tokens_by_hand() -> None:
    # " bat": space for all three; then b for 0.3 + 0.2 and g for 0.5; given b: a for sure; given ba: t 0.2 / 0.5.
    found = of("it is bat.", GOOD_BAD)
    assert (found.position, found.length) == (5, 4)
    probs = [dict(zip(label.tokens, label.probs, strict=True)) for label in found.labels]
    a, b, d, g, t, space = by_letter("abdgt ")
    assert probs == [
        {space: 1.0},
        {g: 0.5, b: 0.5},
        {a: 1.0},
        {d: pytest.approx(0.6), t: pytest.approx(0.4)},
    ]
    assert [label.position for label in found.labels] == [5, 6, 7, 8]


def test_the_terms_along_the_words_average_to_the_kl_over_whole_words() -> None:
    # A model that gives each next letter a probability: the KL over whole words, from the product of the letters'
    # probabilities, is the mean over the word said, drawn from the label, of the sum of its tokens' KLs.
    torch.manual_seed(0)
    model: dict[tuple[int, ...], torch.Tensor] = {}

    def next_logprobs(before: tuple[int, ...]) -> torch.Tensor:
        return model.setdefault(before, torch.log_softmax(torch.randn(len(LETTERS), dtype=torch.float64), -1))

    def logprob(path: tuple[int, ...]) -> float:
        return sum(float(next_logprobs(path[:n])[token]) for n, token in enumerate(path))

    paths = [by_letter(c) for c in GOOD_BAD.candidates]
    whole = sum(q * (math.log(q) - logprob(path)) for q, path in zip(GOOD_BAD.probs, paths, strict=True))
    average = 0.0
    for q, candidate, path in zip(GOOD_BAD.probs, GOOD_BAD.candidates, paths, strict=True):
        for n, label in enumerate(of(f"it is{candidate}.", GOOD_BAD).labels):
            target = torch.zeros(1, len(LETTERS), dtype=torch.float64)
            target[0, list(label.tokens)] = torch.tensor(label.probs, dtype=torch.float64)
            average += q * float(kl_to_soft_label(next_logprobs(path[:n])[None], target))
    assert average == pytest.approx(whole, rel=1e-12)


def test_a_word_said_against_its_label_teaches_only_where_the_label_says_something() -> None:
    word = Word(0, (" good", " bad"), (1.0, 0.0), "")
    found = of("it is bad.", word)
    # The space, and that the next letter is g; given b the label says nothing.
    assert len(found.labels) == 2
    assert found.length == 4


def test_probabilities_of_every_token_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    words = tuple(f" {''.join(c)}" for c in itertools.product("ab", repeat=3))
    for _ in range(20):
        probs = rng.dirichlet(np.ones(len(words)))
        word = Word(0, words, tuple(probs), "")
        for label in of(f"it is{words[rng.integers(8)]}.", word).labels:
            assert sum(label.probs) == pytest.approx(1)


# Errors


def test_a_missing_word_names_the_record() -> None:
    with pytest.raises(
        DataError, match=r"^record 7: none of ' good', ' bad', ' bat' stands at the label's place; .* poor"
    ):
        of("it is poor.", GOOD_BAD)


def test_a_word_that_melts_with_what_follows_is_refused() -> None:
    with pytest.raises(DataError, match=r"^record 7: ' good' melts into the words around it"):
        of("it is good.", Word(0, (" good", " bad"), (0.5, 0.5), ""), with_full_stop)


def test_a_word_that_melts_with_what_comes_before_is_refused() -> None:
    def pairs(text: str) -> tuple[int, ...]:
        return tuple(hash(text[n : n + 2]) for n in range(0, len(text), 2))

    with pytest.raises(DataError, match=r"^record 7: ' good' melts into the words before it"):
        of("it is good.", GOOD_BAD, pairs)


def test_a_candidate_that_begins_another_is_refused() -> None:
    with pytest.raises(DataError, match=r"^record 7: ' good' is empty or begins ' goods'"):
        of("it is good.", Word(0, (" good", " goods"), (0.5, 0.5), ""))


def test_a_tokenizer_without_the_level_words_is_refused() -> None:
    vocabulary = {word: n for n, word in enumerate(["[UNK]", "it", "is", "."])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    levels = tuple(f" {level}" for level in LEVELS)
    message = r"^record 7: ' excellent' and ' good' are the same to this model's tokenizer, which does not know them$"
    with pytest.raises(DataError, match=message):
        of("it is fair.", Word(0, levels, (0.2,) * 5, "level"), lambda text: tuple(tokenizer.encode(text).ids))
