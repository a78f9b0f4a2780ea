"""nano's tokenizer: what is read is one token, any text survives, two builds are one tokenizer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mllm_iqa.train.nano.checkpoint import PROMPTS
from mllm_iqa.train.nano.tokenizer import SPECIAL_TOKENS, build_tokenizer, corpus
from transformers import PreTrainedTokenizerFast

from mllm_iqa.errors import PromptError
from mllm_iqa.levels import LEVELS, SEVERITIES
from mllm_iqa.prompt_files import load_prompt
from mllm_iqa.taxonomy import KINDS


def ids_of(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_word_is_one_token_wherever_it_stands(nano_tokenizer: PreTrainedTokenizerFast, level: str) -> None:
    (token,) = ids_of(nano_tokenizer, f" {level}")
    prefix = load_prompt("rate.v1").answer_prefix
    before = ids_of(nano_tokenizer, prefix)
    assert ids_of(nano_tokenizer, f"{prefix} {level}") == [*before, token]
    assert ids_of(nano_tokenizer, f"{prefix} {level}.")[: len(before) + 1] == [*before, token]


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("The quality of the image is", [f" {w}" for w in LEVELS]),
        ("In a direct comparison, the", [" first", " second", " two"]),
        ("Compared with the reference, the", [" second", " third", " other"]),
    ],
)
def test_words_that_are_read_begin_with_tokens_of_their_own(
    nano_tokenizer: PreTrainedTokenizerFast, prefix: str, words: list[str]
) -> None:
    before = ids_of(nano_tokenizer, prefix)
    after = [ids_of(nano_tokenizer, prefix + word) for word in words]
    assert all(ids[: len(before)] == before for ids in after), "a word melts into the prefix"
    assert len({ids[len(before)] for ids in after}) == len(words)


def test_kinds_and_severities_can_be_told_apart_as_continuations(nano_tokenizer: PreTrainedTokenizerFast) -> None:
    for words in ([" no visible distortion", *(f" {k}" for k in KINDS)], list(SEVERITIES)):
        paths = [tuple(ids_of(nano_tokenizer, w)) for w in words]
        assert not [(a, b) for a in paths for b in paths if a is not b and b[: len(a)] == a]


@given(text=st.text())
@settings(max_examples=200, deadline=None)
def test_any_text_survives(nano_tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert nano_tokenizer.decode(ids_of(nano_tokenizer, text)) == text


@pytest.mark.parametrize(
    "text", ["", " ", "  two  spaces ", "a . b , c ! don't", "\n\t\r\n", "图像质量很好。", "🙂‍↔️ é", "\x00\ufffd"]
)
def test_awkward_text_survives(nano_tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    assert nano_tokenizer.decode(ids_of(nano_tokenizer, text)) == text


def test_two_builds_are_one_tokenizer(nano_tokenizer: PreTrainedTokenizerFast) -> None:
    again = build_tokenizer()
    assert again.backend_tokenizer.to_str() == nano_tokenizer.backend_tokenizer.to_str()
    assert again.chat_template == nano_tokenizer.chat_template


def test_the_vocabulary_is_small_and_the_special_tokens_come_first(nano_tokenizer: PreTrainedTokenizerFast) -> None:
    assert len(nano_tokenizer) <= 1024
    assert nano_tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == list(range(len(SPECIAL_TOKENS)))
    for token in SPECIAL_TOKENS:
        assert len(ids_of(nano_tokenizer, f"a{token}b")) == 3
    assert (nano_tokenizer.eos_token, nano_tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")


def test_prompts_take_few_tokens(nano_tokenizer: PreTrainedTokenizerFast) -> None:
    # About a token for a word; without training it would be one for a byte, five times as many.
    texts = [t for t in corpus() if len(t) > 20]
    assert sum(len(ids_of(nano_tokenizer, t)) for t in texts) < 0.35 * sum(map(len, texts))


def test_the_corpus_holds_every_prompt_of_nano_but_what_people_type() -> None:
    texts = set(corpus())
    for name in PROMPTS:
        prompt = load_prompt(name)
        questions = {q.replace("{", " ").replace("}", " ") for q in prompt.questions}
        if name == "typed.v3":
            asked = [q for key, typed in prompt.phrases.items() if key.count("/") < 2 for q in typed]
            assert not texts & {*questions, *asked}  # single words of a frame may stand there
        else:
            assert questions <= texts


def test_a_vocabulary_too_small_for_the_levels_is_refused() -> None:
    # 256 bytes and 7 special tokens leave nothing for words.
    with pytest.raises(PromptError, match="is not one token of nano's tokenizer"):
        build_tokenizer(263)


# The chat template


def test_a_conversation_in_the_chat_template(nano_tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How good?"}]},
        {"role": "assistant", "content": "Good."},
        {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
    ]
    text = nano_tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>How good?<|im_end|>\n"
        "<|im_start|>assistant\nGood.<|im_end|>\n"
        "<|im_start|>user\nWhy?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_an_answer_that_has_begun_is_left_open(nano_tokenizer: PreTrainedTokenizerFast) -> None:
    messages = [
        {"role": "user", "content": "How good?"},
        {"role": "assistant", "content": "The quality of the image is"},
    ]
    text = nano_tokenizer.apply_chat_template(messages, tokenize=False, continue_final_message=True)
    assert text == "<|im_start|>user\nHow good?<|im_end|>\n<|im_start|>assistant\nThe quality of the image is"
