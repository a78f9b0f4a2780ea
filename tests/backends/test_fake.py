"""The engine without a model: it keeps the contract of every backend, and says that it is fake."""

import numpy as np
import pytest

from mllm_iqa.backends.base import Backend, Conversation, Turn
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.images import Picture, load_image

WORDS = [" good", " bad", " lens blur"]


def picture(seed: int) -> Picture:
    return load_image(np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8))


def asked(*seeds: int, question: str = "How good is it?", prefix: str = "It is") -> Conversation:
    return Conversation.ask([picture(seed) for seed in seeds], question, prefix)


@pytest.fixture
def fake() -> Backend:
    return FakeBackend()


def test_everything_it_says_is_marked(fake: Backend) -> None:
    assert fake.name == "FAKE"
    assert "FAKE" in fake.generate([asked(0)], max_new_tokens=20)[0]


def test_shape_type_and_mass(fake: Backend) -> None:
    logprobs = fake.continuation_logprobs([asked(0), asked(1)], WORDS)
    assert (logprobs.shape, logprobs.dtype) == ((2, 3), np.float64)
    np.testing.assert_allclose(np.exp(logprobs).sum(axis=1), 0.99)


def test_no_conversations_give_no_rows(fake: Backend) -> None:
    assert fake.continuation_logprobs([], WORDS).shape == (0, 3)
    assert fake.generate([], max_new_tokens=5) == []


def test_the_same_input_gives_the_same_numbers_alone_and_among_others(fake: Backend) -> None:
    together = fake.continuation_logprobs([asked(0), asked(1), asked(0)], WORDS)
    alone = FakeBackend().continuation_logprobs([asked(1)], WORDS)
    np.testing.assert_array_equal(together[1], alone[0])
    np.testing.assert_array_equal(together[0], together[2])


@pytest.mark.parametrize(
    "other",
    [asked(1), asked(0, 1), asked(0, question="?"), asked(0, prefix="This is"), asked()],
    ids=["picture", "pictures", "question", "prefix", "none"],
)
def test_every_input_matters(fake: Backend, other: Conversation) -> None:
    logprobs = fake.continuation_logprobs([asked(0), other], WORDS)
    assert not np.allclose(logprobs[0], logprobs[1])


def test_one_pixel_matters(fake: Backend) -> None:
    first = picture(0)
    pixels = first.pixels.copy()
    pixels[7, 7, 1] ^= 1
    pair = [Conversation.ask([Picture(p, first.info)], "?", "It is") for p in (first.pixels, pixels)]
    logprobs = fake.continuation_logprobs(pair, WORDS)
    assert not np.allclose(logprobs[0], logprobs[1])


def test_a_stream_is_the_generated_text_in_pieces(fake: Backend) -> None:
    pieces = list(fake.stream(asked(0, 1), max_new_tokens=20))
    assert len(pieces) > 1
    assert "".join(pieces) == fake.generate([asked(0, 1)], max_new_tokens=20)[0]
    assert pieces[-2:] == [" 2", " pictures."]


def test_the_limit_holds(fake: Backend) -> None:
    assert len(list(fake.stream(asked(0), max_new_tokens=2))) == 2
    assert fake.generate([asked(0)], max_new_tokens=0) == [""]


# Conversations


def test_asking_with_and_without_a_beginning() -> None:
    assert Conversation.ask([], "Q").turns == (Turn("user", "Q"),)
    assert Conversation.ask([], "Q", "A").turns == (Turn("user", "Q"), Turn("assistant", "A"))


def test_going_on_puts_words_into_the_assistants_mouth() -> None:
    begun = Conversation.ask([picture(0)], "Q", "A")
    assert begun.continued(" b").turns == (Turn("user", "Q"), Turn("assistant", "A b"))
    assert begun.continued(" b").pictures == begun.pictures
    assert Conversation.ask([], "Q").continued("A").turns == begun.turns
    assert begun.turns[-1].text == "A"
