"""The transformers engine against stock transformers: same checkpoint, same pictures, same numbers and words.

Real classes at toy size with random weights. The references build their inputs by hand or with the stock processor and
run one full forward pass, without any of the engine's caches and groups.
"""

import copy
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers.processors import TemplateProcessing
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    CLIPImageProcessorPil,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
)
from transformers.cache_utils import DynamicLayer, LinearAttentionLayer, StaticLayer

from mllm_iqa.backends import passes, states, vision
from mllm_iqa.backends.base import Conversation, Turn
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.errors import BackendError, IqaError, PromptError
from mllm_iqa.images import Picture, load_image, pad_to_multiple
from mllm_iqa.levels import LEVELS

QUESTION, PREFIX = "How would you rate the quality of this image?", "The quality of the image is"
LEVEL_WORDS = [f" {level}" for level in LEVELS]
MIXED_WORDS = [" good", " no visible distortion", " gaussian blur", " gaussian noise", " (slight)"]

# Float32 in another order of summation; logits here are of size 5.
STOCK_TOLERANCE, OWN_TOLERANCE = 1e-4, 1e-5


def picture(height: int, width: int, seed: int) -> Picture:
    return load_image(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def asked(*sizes: tuple[int, int], seed: int = 0, question: str = QUESTION, prefix: str = PREFIX) -> Conversation:
    return Conversation.ask([picture(*size, seed + n) for n, size in enumerate(sizes)], question, prefix)


# One and two pictures, equal and different sizes, sides that are not multiples of 32, and none.
CONVERSATIONS = {
    "one": asked((64, 96)),
    "one-padded": asked((50, 70)),
    "two-equal": asked((64, 64), (64, 64)),
    "two-different": asked((32, 96), (70, 40)),
    "none": asked(),
}


@pytest.fixture(scope="session")
def load(tiny_checkpoint: Path) -> Callable[[], HuggingFaceBackend]:
    """Loads the tiny model with empty caches."""
    return lambda: HuggingFaceBackend.load(str(tiny_checkpoint), device="cpu")


@pytest.fixture(scope="session")
def backend(load: Callable[[], HuggingFaceBackend]) -> HuggingFaceBackend:
    return load()


@pytest.fixture(scope="session")
def stock(tiny_checkpoint: Path) -> Any:
    return AutoModelForImageTextToText.from_pretrained(tiny_checkpoint, attn_implementation="eager").eval()


def qwen_inputs(folder: Path, conversation: Conversation) -> dict[str, torch.Tensor]:
    """A conversation of one question, and how its answer begins, in the words of the Qwen chat format."""
    images = AutoImageProcessor.from_pretrained(folder, backend="pil")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    out: dict[str, torch.Tensor] = {}
    seen = ""
    if conversation.pictures:
        multiple = images.patch_size * images.merge_size
        pixels = [pad_to_multiple(p.pixels, multiple) for p in conversation.pictures]
        out = dict(images(pixels, do_resize=False, return_tensors="pt"))
        for grid in out["image_grid_thw"]:
            seen += "<|vision_start|>" + "<|image_pad|>" * int(grid.prod() // 4) + "<|vision_end|>"
    question, answer = (turn.text for turn in conversation.turns)
    text = f"<|im_start|>user\n{seen}{question}<|im_end|>\n<|im_start|>assistant\n{answer}"
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    pad = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    return {"input_ids": ids, "mm_token_type_ids": (ids == pad).long(), **out}


@torch.inference_mode()
def stock_logprobs(model: Any, tokenizer: Any, inputs: dict[str, torch.Tensor], words: Sequence[str]) -> np.ndarray:
    """Each candidate's log-probability from one full pass over the conversation and the candidate."""
    out = []
    start = inputs["input_ids"].shape[1]
    for word in words:
        word_ids = tokenizer(word, add_special_tokens=False, return_tensors="pt")["input_ids"]
        whole = {**inputs, "input_ids": torch.cat([inputs["input_ids"], word_ids], dim=1)}
        whole["attention_mask"] = torch.ones_like(whole["input_ids"])
        if "mm_token_type_ids" in inputs:
            whole["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(word_ids)], dim=1)
        logprobs = model(**whole).logits[0].log_softmax(dim=-1)
        out.append(sum(float(logprobs[start - 1 + n, token]) for n, token in enumerate(word_ids[0])))
    return np.array(out)


@torch.inference_mode()
def stock_text(model: Any, tokenizer: Any, inputs: dict[str, torch.Tensor], limit: int) -> str:
    mask = torch.ones_like(inputs["input_ids"])
    ids = model.generate(**inputs, attention_mask=mask, do_sample=False, max_new_tokens=limit)
    text: str = tokenizer.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return text


# Candidates


def test_the_candidates_here_have_one_token_and_several(backend: HuggingFaceBackend) -> None:
    lengths = [len(backend.tokenizer(word)["input_ids"]) for word in MIXED_WORDS]
    assert min(lengths) == 1 and max(lengths) >= 3
    # Two of them share their first token, whose distribution must be read in both.
    assert backend.tokenizer(" gaussian")["input_ids"] == backend.tokenizer(MIXED_WORDS[2])["input_ids"][:1]


@pytest.mark.parametrize("words", [LEVEL_WORDS, MIXED_WORDS], ids=["levels", "mixed"])
@pytest.mark.parametrize("name", CONVERSATIONS)
def test_candidates_are_as_probable_as_in_stock_transformers(
    backend: HuggingFaceBackend, stock: Any, tiny_checkpoint: Path, name: str, words: list[str]
) -> None:
    conversation = CONVERSATIONS[name]
    found = backend.continuation_logprobs([conversation], words)
    expected = stock_logprobs(stock, backend.tokenizer, qwen_inputs(tiny_checkpoint, conversation), words)
    assert found.shape == (1, len(words))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found[0], expected, atol=STOCK_TOLERANCE)


def test_a_transformers_that_takes_no_encoded_pictures_still_sees_them(
    load: Callable[[], HuggingFaceBackend], backend: HuggingFaceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "takes_encoded_pictures", lambda model: False)
    old = load()
    # Before 5.18 the argument was swallowed, so that handing it over would leave the pictures out.
    assert old._passes.pictures is None
    assert backend._passes.pictures is not None
    asked_of_both = list(CONVERSATIONS.values())
    np.testing.assert_allclose(
        old.continuation_logprobs(asked_of_both, MIXED_WORDS),
        backend.continuation_logprobs(asked_of_both, MIXED_WORDS),
        atol=STOCK_TOLERANCE,
    )


def key_layer(values: torch.Tensor) -> DynamicLayer:
    layer = DynamicLayer()
    layer.update(values, values + 100)
    return layer


def test_rows_of_a_pass_go_on_without_a_copy_and_others_in_their_order() -> None:
    def passed(rows: int, first: float) -> list[states.State]:
        values = torch.arange(rows * 6.0).reshape(rows, 1, 2, 3) + first
        layers = [key_layer(values), key_layer(values + 200)]
        return [states.State(layers, i, torch.zeros(1)) for i in range(rows)]

    one, two = passed(3, 0.0), passed(2, 50.0)
    assert all(layer.keys is kept.keys for layer, kept in zip(states.joined(one).layers, one[0].layers, strict=True))
    turned = states.joined(one[1:2] + one[:1]).layers[1]
    assert turned.keys.tolist() == one[0].layers[1].keys[[1, 0]].tolist()
    mixed = states.joined([two[1], one[2]])
    for n, layer in enumerate(mixed.layers):
        assert layer.keys.tolist() == [two[1].layers[n].keys[1].tolist(), one[2].layers[n].keys[2].tolist()]
        assert torch.equal(layer.values, layer.keys + 100)
    # A pass that goes on from states writes into its own cache.
    mixed.update(torch.zeros(2, 1, 1, 3), torch.zeros(2, 1, 1, 3), 0)
    assert mixed.layers[0].keys.shape[-2] == 3
    assert one[0].layers[0].keys.shape[-2] == two[0].layers[0].keys.shape[-2] == 2


def test_recurrent_states_are_copied_before_a_pass_overwrites_them() -> None:
    layer = LinearAttentionLayer()
    layer.update_conv_state(torch.ones(2, 3, 4))
    layer.update_recurrent_state(torch.ones(2, 1, 2, 2))
    layers = [layer]
    found = [states.State(layers, i, torch.zeros(1)) for i in range(2)]
    for order in (found, found[::-1], found[:1]):
        (copied,) = states.joined(order).layers
        copied.update_recurrent_state(torch.full((len(order), 1, 2, 2), 7.0))
        copied.conv_states[0].fill_(7.0)
        copied.has_previous_state[0] = False
        assert layer.recurrent_states[0].eq(1).all() and layer.conv_states[0].eq(1).all()
        assert layer.has_previous_state[0]
    assert found[0].nbytes == 4 * (3 * 4 + 2 * 2)
    assert states.held_bytes(found) == 2 * found[0].nbytes


def test_pictures_their_order_and_the_words_matter(backend: HuggingFaceBackend) -> None:
    one, two = picture(64, 64, 1), picture(64, 64, 2)
    others = [
        Conversation.ask([one, two], QUESTION, PREFIX),
        Conversation.ask([two, one], QUESTION, PREFIX),
        Conversation.ask([one, one], QUESTION, PREFIX),
        Conversation.ask([one], QUESTION, PREFIX),
        Conversation.ask([one, two], QUESTION, "It is"),
        Conversation.ask([one, two], "Which one looks better?", PREFIX),
    ]
    found = backend.continuation_logprobs(others, LEVEL_WORDS)
    for i, row in enumerate(found):
        assert all(np.abs(row - other).max() > 0.01 for other in found[i + 1 :])


def test_no_conversations_give_no_rows(backend: HuggingFaceBackend) -> None:
    assert backend.continuation_logprobs([], LEVEL_WORDS).shape == (0, 5)
    assert backend.generate([], max_new_tokens=3) == []


@pytest.mark.parametrize(
    "words", [[" good", " good."], [" gaussian blur", " gaussian"], [" good", " good"], [" good", ""]]
)
def test_a_candidate_that_begins_another_is_refused(backend: HuggingFaceBackend, words: list[str]) -> None:
    with pytest.raises(PromptError, match="is empty or begins"):
        backend.continuation_logprobs([CONVERSATIONS["one"]], words)


def test_a_candidate_that_melts_into_the_words_before_it_is_refused(backend: HuggingFaceBackend) -> None:
    # "qualit" + "y" is another token sequence than "quality".
    assert len(backend.tokenizer(" quality")["input_ids"]) == 1
    with pytest.raises(PromptError, match="'y' melts into the words before it"):
        backend.continuation_logprobs([asked((32, 32), prefix="The qualit")], ["y", " good"])


def test_candidates_are_read_after_each_conversations_own_words(backend: HuggingFaceBackend) -> None:
    # "y" follows " good" well and " qualit" not: the second conversation must be looked at too.
    with pytest.raises(PromptError, match="melts"):
        backend.continuation_logprobs([asked((32, 32)), asked((32, 32), prefix="The qualit")], ["y", " good"])


# Neighbours and caches


def many() -> list[Conversation]:
    """Conversations of several sizes and lengths, some equal in both."""
    sizes = [(64, 64), (32, 96), (64, 64), (50, 70), (96, 32), (64, 64)]
    out = [asked(size, seed=n) for n, size in enumerate(sizes)]
    out += [asked(size, (32, 32), seed=n, prefix="It is") for n, size in enumerate(sizes)]
    return [*out, asked(), asked((64, 64), question="Why?")]


def test_numbers_and_words_do_not_depend_on_the_neighbours(load: Callable[[], HuggingFaceBackend]) -> None:
    alone, together = load(), load()
    conversations = many()
    rows = together.continuation_logprobs(conversations, MIXED_WORDS)
    texts = together.generate(conversations, max_new_tokens=8)
    for conversation, row, text in zip(conversations, rows, texts, strict=True):
        expected = alone.continuation_logprobs([conversation], MIXED_WORDS)[0]
        np.testing.assert_allclose(row, expected, atol=OWN_TOLERANCE)
        assert alone.generate([conversation], max_new_tokens=8) == [text]
    backwards = load().continuation_logprobs(conversations[::-1], MIXED_WORDS)[::-1]
    np.testing.assert_allclose(backwards, rows, atol=OWN_TOLERANCE)


def test_the_same_twice_in_one_call_is_the_same(load: Callable[[], HuggingFaceBackend]) -> None:
    backend = load()
    twice = [asked((64, 64)), asked((64, 64))]
    rows = backend.continuation_logprobs(twice, MIXED_WORDS)
    np.testing.assert_array_equal(rows[0], rows[1])
    first, second = backend.generate(twice, max_new_tokens=6)
    assert first == second
    assert backend.generate(twice[:1], max_new_tokens=6) == [first]


def test_what_was_asked_before_changes_nothing(load: Callable[[], HuggingFaceBackend]) -> None:
    start, more = asked((64, 64)), asked((64, 64)).continued(" good. It shows")
    calls: dict[str, Callable[[HuggingFaceBackend], Any]] = {
        "score": lambda b: b.continuation_logprobs([start], LEVEL_WORDS),
        "several tokens": lambda b: b.continuation_logprobs([start], MIXED_WORDS),
        "go on": lambda b: b.continuation_logprobs([more], MIXED_WORDS),
        "say": lambda b: b.generate([start, more], max_new_tokens=6),
    }
    expected = {name: call(load()) for name, call in calls.items()}
    for order in permutations(calls):
        backend = load()
        for name in [*order, order[0]]:
            found = calls[name](backend)
            if name == "say":
                assert found == expected[name]
            else:
                np.testing.assert_allclose(found, expected[name], atol=OWN_TOLERANCE)


def test_a_picture_and_a_beginning_are_gone_through_once(
    load: Callable[[], HuggingFaceBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = load()
    lengths: list[int] = []
    forward = backend.model.forward
    monkeypatch.setattr(
        backend.model, "forward", lambda **inputs: lengths.append(inputs["input_ids"].shape[1]) or forward(**inputs)
    )
    encode = backend.model.model.get_image_features
    encoded: list[int] = []
    monkeypatch.setattr(
        backend.model.model,
        "get_image_features",
        lambda pixels, grid, **kwargs: encoded.append(len(grid)) or encode(pixels, grid, **kwargs),
    )
    start = asked((64, 64))
    backend.continuation_logprobs([start], LEVEL_WORDS)
    (prefill,) = lengths
    backend.continuation_logprobs([start], LEVEL_WORDS)
    assert lengths == [prefill]
    # Score, then explain: the level and what it says are all that is new.
    spoken = " good. It shows"
    backend.generate([start.continued(spoken)], max_new_tokens=3)
    assert lengths[1] == len(backend.tokenizer(spoken)["input_ids"])
    assert all(length == 1 for length in lengths[2:])
    backend.generate([start.continued(spoken)], max_new_tokens=3)
    assert max(lengths[1:]) == lengths[1]
    backend.continuation_logprobs([asked((64, 64), question="Why?")], LEVEL_WORDS)
    assert encoded == [1]


def test_a_call_larger_than_the_caches_is_right_and_leaves_them_bounded(
    load: Callable[[], HuggingFaceBackend],
) -> None:
    backend = load()
    count = states.CACHED_ROWS + 6
    start = [asked((32, 32), seed=n) for n in range(count)]
    backend.continuation_logprobs(start, LEVEL_WORDS)
    # Some of these go on from a cached beginning, which the others, computed first, push out.
    go_on = [c.continued(" good.") for c in start]
    rows = backend.continuation_logprobs(go_on, MIXED_WORDS)
    backend.generate(go_on, max_new_tokens=2)
    assert len(backend._rows) <= states.CACHED_ROWS
    assert len(backend._passes.pictures or ()) <= vision.CACHED_PICTURES
    fresh = load()
    for n in (0, 5, 6, 11, 12, count - 1):
        expected = fresh.continuation_logprobs([go_on[n]], MIXED_WORDS)[0]
        np.testing.assert_allclose(rows[n], expected, atol=OWN_TOLERANCE)


# Text


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_generated_text_is_that_of_stock_transformers(
    backend: HuggingFaceBackend, stock: Any, tiny_checkpoint: Path, name: str
) -> None:
    conversation = CONVERSATIONS[name]
    expected = stock_text(stock, backend.tokenizer, qwen_inputs(tiny_checkpoint, conversation), 12)
    assert expected
    assert backend.generate([conversation], max_new_tokens=12) == [expected]


def test_a_stream_is_the_generated_text_in_pieces(backend: HuggingFaceBackend) -> None:
    for conversation in many():
        pieces = list(backend.stream(conversation, max_new_tokens=10))
        assert "".join(pieces) == backend.generate([conversation], max_new_tokens=10)[0]


def always(backend: HuggingFaceBackend, *tokens: int, **generation: Any) -> HuggingFaceBackend:
    """The same model, only that each of its tokens says which comes next: the given ones in turn, then round again."""
    model = copy.deepcopy(backend.model)
    for key, value in generation.items():
        setattr(model.generation_config, key, value)
    made = HuggingFaceBackend(model, backend.tokenizer, backend.image_processor, name="always", card=None)
    said: list[int] = []

    def forward(**inputs: Any) -> Any:
        out = backend.model(**inputs)
        said.append(tokens[len(said) % len(tokens)])
        out.logits = torch.full_like(out.logits, -10.0).index_fill(-1, torch.tensor([said[-1]]), 10.0)
        return out

    model.forward = forward
    return made


def test_the_end_of_turn_ends_the_text(backend: HuggingFaceBackend) -> None:
    word, end = backend.tokenizer.convert_tokens_to_ids(["Ġgood", "<|im_end|>"])
    conversation = asked((32, 32))
    assert always(backend, end).generate([conversation], max_new_tokens=5) == [""]
    assert list(always(backend, end).stream(conversation, max_new_tokens=5)) == []
    assert always(backend, word, word, end).generate([conversation], max_new_tokens=5) == [" good good"]
    assert always(backend, word).generate([conversation], max_new_tokens=3) == [" good good good"]


def test_every_end_token_of_the_checkpoint_counts(backend: HuggingFaceBackend) -> None:
    word, other, end = backend.tokenizer.convert_tokens_to_ids(["Ġgood", "Ġbad", "<|im_end|>"])
    made = always(backend, word, other, word, eos_token_id=[other, end])
    assert made.generate([asked((32, 32))], max_new_tokens=5) == [" good"]


def test_a_row_that_ends_early_does_not_stop_the_others(backend: HuggingFaceBackend, stock: Any) -> None:
    # Each row ends at its own third token, which is made an end token for all.
    conversations = [asked((32, 32), seed=n) for n in range(6)]
    tokens = [[t for _, t in backend._greedy([backend._row(c)], 3)] for c in conversations]
    model = copy.deepcopy(backend.model)
    model.generation_config.eos_token_id = [tokens[0][2]]
    made = HuggingFaceBackend(model, backend.tokenizer, backend.image_processor, name="ends", card=None)
    expected = [made.generate([c], max_new_tokens=8)[0] for c in conversations]
    assert made.generate(conversations, max_new_tokens=8) == expected
    assert len({len(text) for text in expected}) > 1


def test_a_text_that_ends_within_a_character_is_streamed_to_its_end(backend: HuggingFaceBackend) -> None:
    # "é" is two bytes, C3 A9; byte-level BPE writes them Ã and ©.
    first, second, word = backend.tokenizer.convert_tokens_to_ids(["Ã", "©", "Ġgood"])
    conversation = asked((32, 32))
    assert list(always(backend, word, first, second).stream(conversation, max_new_tokens=3)) == [" good", "é"]
    assert list(always(backend, word, first).stream(conversation, max_new_tokens=2)) == [" good", "\ufffd"]


def test_a_generated_token_of_a_picture_is_a_word_like_any_other(backend: HuggingFaceBackend) -> None:
    pad, word = backend.tokenizer.convert_tokens_to_ids(["<|image_pad|>", "Ġgood"])
    for conversation in (asked((32, 32)), asked()):
        assert always(backend, pad, word).generate([conversation], max_new_tokens=4) == [" good good"]


def test_a_chat_of_several_turns(backend: HuggingFaceBackend) -> None:
    shown = picture(64, 64, 0)
    turns = (Turn("user", "Rate it."), Turn("assistant", "It is good."), Turn("user", "Why?"))
    row = backend._row(Conversation((shown,), turns))
    text = backend.tokenizer.decode(row.ids)
    # The picture stands once, before the first words, as 4 merged tokens.
    assert text == (
        "<|im_start|>user\n<|vision_start|>" + "<|image_pad|>" * 4 + "<|vision_end|>Rate it.<|im_end|>\n"
        "<|im_start|>assistant\nIt is good.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_words_that_look_like_a_picture_are_refused(backend: HuggingFaceBackend) -> None:
    with pytest.raises(BackendError, match="one image per picture"):
        backend.generate([asked((32, 32), question="<|image_pad|>?")], max_new_tokens=2)


# Loading


def test_the_card_names_the_model_and_bounds_its_pictures(backend: HuggingFaceBackend) -> None:
    assert (backend.name, backend.max_pixels, backend.languages) == ("tiny 0", 128 * 128, ("en",))
    assert next(backend.model.parameters()).dtype == torch.float32


@pytest.fixture
def copied(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint to spoil, without its card."""
    folder = tmp_path / "copied"
    shutil.copytree(tiny_checkpoint, folder, ignore=shutil.ignore_patterns("card.json"))
    return folder


def test_a_checkpoint_without_a_card_goes_by_its_folder(copied: Path) -> None:
    backend = HuggingFaceBackend.load(str(copied), device="cpu")
    assert (backend.name, backend.card, backend.languages) == (str(copied), None, ("en",))
    assert backend.max_pixels == 1024 * 1024


def refused(source: Path | str, **options: str) -> str:
    """The one-line message of the error that loading gives."""
    with pytest.raises(IqaError) as caught:
        HuggingFaceBackend.load(str(source), **{"device": "cpu", **options})
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path).startswith(f"{tmp_path}: not a checkpoint transformers can load: ")


def test_a_hub_id_is_refused_while_offline() -> None:
    message = refused("nobody/no-such-model")
    assert message.startswith("nobody/no-such-model: could not be fetched; the hub is switched off (HF_HUB_OFFLINE)")


def test_weights_other_than_the_cards_are_refused(tiny_checkpoint: Path, copied: Path) -> None:
    shutil.copy(tiny_checkpoint / "card.json", copied)
    weights = copied / "model.safetensors"
    whole = bytearray(weights.read_bytes())
    whole[-1] ^= 1
    weights.write_bytes(whole)
    assert "differs from the card's" in refused(copied)


def test_broken_weights_are_refused(copied: Path) -> None:
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "not a checkpoint transformers can load" in refused(copied)


def test_weights_that_are_not_all_there_are_refused(copied: Path) -> None:
    # Else they would be random numbers, others in every process.
    weights = load_file(copied / "model.safetensors")
    lacking = {name: w for name, w in weights.items() if "language_model.layers.1." not in name}
    assert 0 < len(lacking) < len(weights)
    save_file(lacking, copied / "model.safetensors", metadata={"format": "pt"})
    message = refused(copied)
    assert "not a whole checkpoint: no weights for model.language_model.layers.1." in message
    assert message.endswith(f" and {len(weights) - len(lacking) - 1} more")


def test_weights_of_another_shape_are_refused(copied: Path) -> None:
    weights = load_file(copied / "model.safetensors")
    name = "model.language_model.norm.weight"
    save_file({**weights, name: weights[name][:-1].clone()}, copied / "model.safetensors", metadata={"format": "pt"})
    assert str(copied) in refused(copied)


def test_a_checkpoint_without_a_chat_template_is_refused(copied: Path) -> None:
    (copied / "chat_template.jinja").unlink()
    assert "has no chat template" in refused(copied)


def test_numbers_that_are_none_are_an_error_and_no_level(load: Callable[[], HuggingFaceBackend]) -> None:
    broken = load()
    with torch.no_grad():
        broken.model.model.language_model.norm.weight[0] = float("nan")
    with pytest.raises(BackendError, match=r"its probabilities are not numbers; does torch\.float32 suit it"):
        broken.continuation_logprobs([CONVERSATIONS["one"]], LEVEL_WORDS)


def test_threads_may_share_a_model(
    load: Callable[[], HuggingFaceBackend], backend: HuggingFaceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = load()
    monkeypatch.setattr(states, "CACHED_ROWS", 3)  # so that threads push each other's rows out
    monkeypatch.setattr(vision, "CACHED_PICTURES", 2)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        questions = [asked((32 + 32 * (n % 2), 64), seed=n) for n in range(24)]
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(lambda c: shared.continuation_logprobs([c], LEVEL_WORDS)[0], questions))
    finally:
        sys.setswitchinterval(before)
    np.testing.assert_allclose(found, backend.continuation_logprobs(questions, LEVEL_WORDS), atol=STOCK_TOLERANCE)


def test_the_cache_is_bounded_in_bytes(load: Callable[[], HuggingFaceBackend], monkeypatch: pytest.MonkeyPatch) -> None:
    small = load()
    small.continuation_logprobs([asked((64, 64), seed=0)], LEVEL_WORDS)
    (state,) = small._rows.states()
    assert state.nbytes == sum(layer.keys[0].nbytes + layer.values[0].nbytes for layer in state.layers) > 1000
    monkeypatch.setattr(states, "MAX_BYTES", 3 * state.nbytes)
    for n in range(1, 8):
        small.continuation_logprobs([asked((64, 64), seed=n)], LEVEL_WORDS)
    assert len(small._rows) == 3
    # A row of a pass of three keeps all three alive, so one of them leaves no room for a row of another pass.
    small.continuation_logprobs([asked((64, 64), seed=10 + n) for n in range(3)], LEVEL_WORDS)
    assert len(small._rows) == 3
    small.continuation_logprobs([asked((64, 64), seed=20)], LEVEL_WORDS)
    assert len(small._rows) == 1


def test_candidates_go_on_from_rows_that_no_longer_fit_the_cache(
    load: Callable[[], HuggingFaceBackend], backend: HuggingFaceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = load()
    monkeypatch.setattr(states, "MAX_BYTES", 1)
    prefilled = []
    true_pass = small._pass
    monkeypatch.setattr(
        small, "_pass", lambda rows, known, past: prefilled.append(known) or true_pass(rows, known, past)
    )
    questions = [asked((64, 64), seed=n) for n in range(3)]
    found = small.continuation_logprobs(questions, MIXED_WORDS)
    assert prefilled.count(0) == 1, "a question was read again for each of its candidates"
    np.testing.assert_allclose(found, backend.continuation_logprobs(questions, MIXED_WORDS), atol=STOCK_TOLERANCE)


def test_a_broken_configuration_is_refused(copied: Path) -> None:
    (copied / "config.json").write_text("{")
    assert "not a checkpoint transformers can load" in refused(copied)


def test_a_model_that_sees_nothing_is_refused(copied: Path) -> None:
    (copied / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert "not a checkpoint transformers can load" in refused(copied)


def test_pickled_weights_are_refused(copied: Path, stock: Any) -> None:
    (copied / "model.safetensors").unlink()
    torch.save(stock.state_dict(), copied / "pytorch_model.bin")
    assert "model.safetensors" in refused(copied)


def test_code_in_a_checkpoint_is_not_run(copied: Path) -> None:
    (copied / "theirs.py").write_text("raise SystemExit('ran')")
    config = {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.Config"}}
    (copied / "config.json").write_text(json.dumps(config))
    assert "not a checkpoint transformers can load" in refused(copied)


def test_an_unknown_type_of_number_is_refused(tiny_checkpoint: Path) -> None:
    assert refused(tiny_checkpoint, dtype="float17") == "'float17' is not a torch dtype"


@pytest.mark.parametrize("device", ["gpu", "cuda:99", ""])
def test_a_device_that_is_not_here_is_refused(tiny_checkpoint: Path, device: str) -> None:
    assert refused(tiny_checkpoint, device=device).startswith(f"no device {device!r} here: ")


# Other architectures


def test_another_qwen_family(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """Qwen2.5-VL: patches of 14, window attention, no DeepStack."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]},
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.2,
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "out_hidden_size": 64,
        "window_size": 56,
        "fullatt_block_indexes": [1],
        "initializer_range": 0.1,
    }
    ids = {
        f"{name}_token_id": tokenizer.convert_tokens_to_ids(f"<|{token}|>")
        for name, token in [
            ("image", "image_pad"),
            ("video", "video_pad"),
            ("vision_start", "vision_start"),
            ("vision_end", "vision_end"),
        ]
    }
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    Qwen2VLImageProcessorPil().save_pretrained(tmp_path)
    made = HuggingFaceBackend.load(str(tmp_path), device="cpu")
    model = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    conversations = [asked((56, 84)), asked((60, 60), (28 * 3, 40)), asked((56, 84), seed=5)]
    rows = made.continuation_logprobs(conversations, MIXED_WORDS)
    texts = made.generate(conversations, max_new_tokens=6)
    for conversation, row, text in zip(conversations, rows, texts, strict=True):
        inputs = qwen_inputs(tmp_path, conversation)
        np.testing.assert_allclose(row, stock_logprobs(model, tokenizer, inputs, MIXED_WORDS), atol=STOCK_TOLERANCE)
        assert text == stock_text(model, tokenizer, inputs, 6)


LLAVA_TEMPLATE = (
    "{% for message in messages %}{{ message.role.upper() }}: {% for part in message.content %}"
    "{% if part.type == 'image' %}<|image_pad|>\n{% else %}{{ part.text }}{% endif %}{% endfor %} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
"""Of the published LLaVA-1.5: no beginning-of-text token in it, and a space before what the assistant says."""


def save_llava(folder: Path, tokenizer_from: Path, text: dict[str, Any]) -> None:
    """A LLaVA of the true class at toy size; its template lies with the processor, and its tokenizer begins texts."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_from)
    tokenizer.chat_template = None
    tokenizer.bos_token = "<|endoftext|>"
    bos = ("<|endoftext|>", tokenizer.bos_token_id)
    tokenizer._tokenizer.post_processor = TemplateProcessing(single="<|endoftext|> $A", special_tokens=[bos])
    config = LlavaConfig(
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
            "projection_dim": 32,
            "initializer_range": 0.3,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "initializer_range": 0.2,
            **text,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<|image_pad|>",
        chat_template=LLAVA_TEMPLATE,
    ).save_pretrained(folder)


def llava_inputs(processor: Any, conversation: Conversation) -> dict[str, torch.Tensor]:
    """What the stock processor makes of a conversation whose answer has begun."""
    messages = [{"role": t.role, "content": [{"type": "text", "text": t.text}]} for t in conversation.turns]
    shown = [{"type": "image", "image": p.pixels} for p in conversation.pictures]
    messages[0]["content"] = [*shown, *messages[0]["content"]]  # type: ignore[list-item]
    out = processor.apply_chat_template(
        messages,
        tokenize=True,
        return_dict=True,
        continue_final_message=messages[-1]["role"] == "assistant",
        add_generation_prompt=messages[-1]["role"] == "user",
        processor_kwargs={"return_tensors": "pt"},
    )
    del out["attention_mask"]
    return dict(out)


def test_a_model_outside_the_qwen_families(tiny_checkpoint: Path, tmp_path: Path) -> None:
    save_llava(tmp_path, tiny_checkpoint, {"model_type": "llama"})
    made = HuggingFaceBackend.load(str(tmp_path), device="cpu")
    model = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    processor = AutoProcessor.from_pretrained(tmp_path, backend="pil")
    conversations = [asked((64, 96)), asked((50, 70), (40, 40)), asked((64, 96), seed=7), asked(), asked((64, 64))]
    rows = made.continuation_logprobs(conversations, MIXED_WORDS)
    go_on = [c.continued(" good.") for c in conversations]
    more = made.continuation_logprobs(go_on, LEVEL_WORDS)
    chats = [Conversation(c.pictures, c.turns[:1]) for c in conversations]
    texts = made.generate(go_on, max_new_tokens=6)
    answers = made.generate(chats, max_new_tokens=6)
    for i, conversation in enumerate(conversations):
        inputs = llava_inputs(processor, conversation)
        assert inputs["input_ids"][0, 0] == processor.tokenizer.bos_token_id
        # 28 px = 2 x 2 patches.
        assert (inputs["input_ids"] == model.config.image_token_id).sum() == 4 * len(conversation.pictures)
        tokenizer = processor.tokenizer
        np.testing.assert_allclose(rows[i], stock_logprobs(model, tokenizer, inputs, MIXED_WORDS), atol=STOCK_TOLERANCE)
        inputs = llava_inputs(processor, go_on[i])
        np.testing.assert_allclose(more[i], stock_logprobs(model, tokenizer, inputs, LEVEL_WORDS), atol=STOCK_TOLERANCE)
        assert texts[i] == stock_text(model, tokenizer, inputs, 6)
        assert answers[i] == stock_text(model, tokenizer, llava_inputs(processor, chats[i]), 6)
    assert np.abs(rows[0] - rows[2]).max() > 0.01


def test_layers_that_keep_a_window_go_on_like_stock_transformers(tiny_checkpoint: Path, tmp_path: Path) -> None:
    save_llava(tmp_path, tiny_checkpoint, {"model_type": "mistral", "sliding_window": 8, "head_dim": 32})
    made = HuggingFaceBackend.load(str(tmp_path), device="cpu")
    model = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    processor = AutoProcessor.from_pretrained(tmp_path, backend="pil")
    start = [asked((64, 64)), asked((64, 64), seed=3)]
    made.continuation_logprobs(start, LEVEL_WORDS)
    more = [c.continued(" good. It shows") for c in start]
    rows = made.continuation_logprobs(more, MIXED_WORDS)
    assert {layer.keys.shape[-2] for state in made._rows.states() for layer in state.layers} == {7}
    for conversation, row in zip(more, rows, strict=True):
        inputs = llava_inputs(processor, conversation)
        assert inputs["input_ids"].shape[1] > 20
        expected = stock_logprobs(model, processor.tokenizer, inputs, MIXED_WORDS)
        np.testing.assert_allclose(row, expected, atol=STOCK_TOLERANCE)


def test_layers_that_look_at_something_else_are_refused(
    load: Callable[[], HuggingFaceBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a layer that attends to the picture alone (Mllama) or of a kind that is not known here."""
    backend = load()
    forward = backend.model.forward

    def changed(layer: Any) -> None:
        def answer(**inputs: Any) -> Any:
            out = forward(**inputs)
            out.past_key_values.layers[1] = layer
            return out

        monkeypatch.setattr(backend.model, "forward", answer)

    changed(key_layer(torch.zeros(1, 1, 4, 32)))
    with pytest.raises(BackendError, match="it keeps DynamicLayer of other tokens between passes"):
        backend.continuation_logprobs([CONVERSATIONS["one"]], LEVEL_WORDS)
    changed(StaticLayer(max_cache_len=4))
    with pytest.raises(BackendError, match="it keeps StaticLayer between passes"):
        backend.continuation_logprobs([CONVERSATIONS["one"]], LEVEL_WORDS)


def test_lower_precision_is_used_throughout(tiny_checkpoint: Path, tmp_path: Path) -> None:
    save_llava(tmp_path, tiny_checkpoint, {"model_type": "llama"})
    for folder in (tiny_checkpoint, tmp_path):
        made = HuggingFaceBackend.load(str(folder), device="cpu", dtype="bfloat16")
        assert {p.dtype for p in made.model.parameters()} == {torch.bfloat16}
        exact = HuggingFaceBackend.load(str(folder), device="cpu").continuation_logprobs([asked((64, 64))], LEVEL_WORDS)
        found = made.continuation_logprobs([asked((64, 64))], LEVEL_WORDS)
        np.testing.assert_allclose(found, exact, atol=0.5)  # 8 bits of mantissa through random weights
