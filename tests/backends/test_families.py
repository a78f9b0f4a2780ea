"""Every family against plain transformers: one forward pass over what the stock processor or this file made by hand.

Real classes at toy size with random weights. The references know nothing of the engine's caches, groups or positions.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.base import Conversation, Turn
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.backends.processors import picture_processor
from mllm_iqa.backends.rows import GRID_FAMILIES
from mllm_iqa.backends.self_check import TESTED_FAMILIES, check_family
from mllm_iqa.errors import CheckpointError
from mllm_iqa.images import Picture, load_image, pad_to_multiple

FAMILIES = sorted(TESTED_FAMILIES)
WORDS = [" good", " no visible distortion", " gaussian blur", " (slight)"]
# Float32 in another order of summation; a recurrence in two pieces rounds more than attention does.
TOLERANCE = 3e-4

# Raised in GLM's own processor, by NumPy 2 about torch.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Tiny = Callable[[str], Path]


def picture(height: int, width: int, seed: int) -> Picture:
    return load_image(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def conversations() -> list[Conversation]:
    """One picture, two equal and two different ones, none; some rows of equal shape."""
    shown = [[picture(64, 96, 0)], [picture(64, 96, 1)], [picture(56, 56, 2), picture(56, 56, 3)]]
    shown += [[picture(50, 70, 4), picture(96, 40, 5)], []]
    return [Conversation.ask(pictures, "How good is it?", "It is") for pictures in shown]


def stock_inputs(model: Any, folder: Path, conversation: Conversation, words: str) -> dict[str, torch.Tensor]:
    """What transformers' own processor makes of a conversation and words at its end; by hand for the Qwen families."""
    texts = [turn.text for turn in conversation.turns]
    if model.config.model_type not in GRID_FAMILIES:
        processor = picture_processor(str(folder))
        shown = [{"type": "image"} for _ in conversation.pictures]
        messages = [
            {"role": "user", "content": [*shown, {"type": "text", "text": texts[0]}]},
            {"role": "assistant", "content": [{"type": "text", "text": texts[1]}]},
        ]
        text = processor.apply_chat_template(messages, continue_final_message=True, tokenize=False)
        pictures = [[p.pixels for p in conversation.pictures]] if conversation.pictures else None
        return dict(processor(text=[text + words], images=pictures, return_tensors="pt"))
    from transformers import AutoTokenizer, Qwen2VLImageProcessorPil

    images = Qwen2VLImageProcessorPil.from_pretrained(folder)
    seen, made = "", {}
    if conversation.pictures:
        pixels = [pad_to_multiple(p.pixels, images.patch_size * images.merge_size) for p in conversation.pictures]
        made = dict(images(pixels, do_resize=False, return_tensors="pt"))
        for grid in made["image_grid_thw"]:
            seen += "<|vision_start|>" + "<|image_pad|>" * int(grid.prod() // 4) + "<|vision_end|>"
    text = f"<|im_start|>user\n{seen}{texts[0]}<|im_end|>\n<|im_start|>assistant\n{texts[1]}{words}"
    tokenized = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    pictured = tokenized["input_ids"] == model.config.image_token_id
    return {**tokenized, "mm_token_type_ids": pictured.long(), **made}


@torch.inference_mode()
def stock_logprobs(model: Any, folder: Path, conversation: Conversation, tokenizer: Any) -> list[float]:
    out = []
    for word in WORDS:
        inputs = stock_inputs(model, folder, conversation, word)
        ids = inputs["input_ids"][0]
        count = len(tokenizer(word, add_special_tokens=False)["input_ids"])
        logprobs = model(**inputs).logits[0].log_softmax(-1)
        out.append(sum(float(logprobs[n - 1, ids[n]]) for n in range(len(ids) - count, len(ids))))
    return out


@pytest.mark.parametrize("kind", FAMILIES)
def test_scores_and_words_are_those_of_plain_transformers(kind: str, tiny: Tiny) -> None:
    folder = tiny(kind)
    backend = HuggingFaceBackend.load(str(folder), device="cpu")
    model = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager").eval()
    asked = conversations()
    rows = backend.continuation_logprobs(asked, WORDS)
    go_on = [c.continued(" good. It shows") for c in asked]
    more = backend.continuation_logprobs(go_on, WORDS)
    said = backend.generate(go_on, max_new_tokens=5)
    for i, (first, second) in enumerate(zip(asked, go_on, strict=True)):
        np.testing.assert_allclose(rows[i], stock_logprobs(model, folder, first, backend.tokenizer), atol=TOLERANCE)
        np.testing.assert_allclose(more[i], stock_logprobs(model, folder, second, backend.tokenizer), atol=TOLERANCE)
        inputs = stock_inputs(model, folder, second, "")
        ids = model.generate(**inputs, do_sample=False, max_new_tokens=5)[0, inputs["input_ids"].shape[1] :]
        assert said[i] == backend.tokenizer.decode(ids, skip_special_tokens=True)
    assert np.abs(rows[0] - rows[1]).max() > 0.01, "the picture does not matter"


@pytest.mark.parametrize("kind", FAMILIES)
def test_neighbours_and_caches_change_nothing(kind: str, tiny: Tiny) -> None:
    folder = str(tiny(kind))
    together, alone = (HuggingFaceBackend.load(folder, device="cpu") for _ in range(2))
    asked = conversations()
    rows = together.continuation_logprobs(asked, WORDS)
    for conversation, row in zip(asked, rows, strict=True):
        alone.forget()
        np.testing.assert_allclose(alone.continuation_logprobs([conversation], WORDS)[0], row, atol=1e-4)
    # Going on from a cached beginning must leave that beginning as it was.
    more = [c.continued(" good.") for c in asked]
    first = together.continuation_logprobs(more, WORDS)
    together.generate(more, max_new_tokens=3)
    np.testing.assert_array_equal(together.continuation_logprobs(asked, WORDS), rows)
    np.testing.assert_array_equal(together.continuation_logprobs(more, WORDS), first)
    pieces = list(alone.stream(more[0], max_new_tokens=6))
    assert "".join(pieces) == together.generate(more[:1], max_new_tokens=6)[0]


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_check_of_unknown_families_passes_those_that_are_tested(kind: str, tiny: Tiny) -> None:
    assert check_family(HuggingFaceBackend.load(str(tiny(kind)), device="cpu")) is None


def test_the_whole_assistant_runs_on_a_hybrid_of_attention_and_recurrence(tiny: Tiny) -> None:
    assistant = Assistant.load(str(tiny("qwen3_5")), device="cpu")
    score = assistant.score(picture(64, 96, 0).pixels)
    assert 1 <= score.mos <= 5 and score.explanation
    assert assistant.compare(picture(64, 96, 0).pixels, picture(64, 64, 1).pixels).winner in ("a", "b", "tie")


def test_a_family_whose_answers_would_differ_is_refused(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that computes something of its pictures in a first pass and needs it again in a later one."""
    from mllm_iqa.backends import huggingface, passes

    monkeypatch.setattr(huggingface, "TESTED_FAMILIES", frozenset())
    HuggingFaceBackend.load(str(tiny("glm4v")), device="cpu")
    true = passes.Passes._positions
    monkeypatch.setattr(passes.Passes, "_positions", lambda *inputs: true(*inputs).flip(-1))
    with pytest.raises(
        CheckpointError, match=r"models of type 'glm4v' are not supported: its answers differ .* of 1\)"
    ):
        HuggingFaceBackend.load(str(tiny("glm4v")), device="cpu")


def test_a_model_that_does_not_go_on_from_its_question_is_refused(tmp_path: Path, tiny: Tiny) -> None:
    backend = HuggingFaceBackend.load(str(tiny("llava")), device="cpu")
    backend.model.config.is_encoder_decoder = True
    with pytest.raises(CheckpointError, match="models of type 'llava' are not supported: its answer is not a cont"):
        backend._check("x")


def test_a_system_message_stands_before_the_pictures(tiny: Tiny) -> None:
    backend = HuggingFaceBackend.load(str(tiny("qwen2_5_vl")), device="cpu")
    turns = (Turn("system", "Be brief."), Turn("user", "How good?"))
    text = backend.text_of(Conversation((picture(56, 56, 0),), turns))
    assert text.index("Be brief.") < text.index("<|image_pad|>") < text.index("How good?")
