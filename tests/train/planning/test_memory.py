"""Memory of a training step: each component by hand, and what autograd keeps measured on true classes at toy size."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from mllm_iqa.train.parts import Part, part_of, parts_named
from mllm_iqa.train.planning.memory import (
    LOGIT_BYTES,
    Batch,
    Setup,
    activation_bytes,
    copy_bytes,
    language_layer_bytes,
    memory,
    trainable,
    vision_block_bytes,
    weight_bytes,
)
from mllm_iqa.train.planning.shapes import Linear, Shape
from mllm_iqa.train.tuning.recipe import Method
from transformers import AutoModelForImageTextToText, LlamaConfig, LlavaConfig, Qwen3VLConfig

LANGUAGE: frozenset[Part] = frozenset({"language attention", "language mlp"})
TOKENS, PATCHES, RANK = 40, 64, 8


def setup(method: Method, learning: frozenset[Part] = LANGUAGE, *, half: bool = True, **changes: Any) -> Setup:
    rank = 0 if method == "full" else RANK
    plain: dict[str, Any] = {"optimizer": "adamw", "accumulation": 1, "checkpointing": False}
    return Setup(method, learning, rank, half, **plain | changes)


def llava() -> Any:
    vision = {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlavaConfig(
        vision_config={"model_type": "clip_vision_model", "image_size": 64, "patch_size": 8, **vision},
        text_config={"model_type": "llama", "vocab_size": 512, "num_key_value_heads": 2, **text},
    )


def qwen3_vl() -> Any:
    text = {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 2, "num_attention_heads": 4}
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [6, 5, 5], "mrope_interleaved": True}
    vision = {"depth": 2, "hidden_size": 64, "intermediate_size": 160, "num_heads": 2, "out_hidden_size": 128}
    return Qwen3VLConfig(
        text_config={"vocab_size": 512, "num_key_value_heads": 2, "head_dim": 32, "rope_parameters": rope, **text},
        vision_config={"num_position_embeddings": 64, "deepstack_visual_indexes": [0], **vision},
    )


def prepared(config: Any, method: Method, learning: frozenset[Part], *, half: bool) -> Any:
    """The model with exactly these parts learning, as the formulas assume it."""
    model = AutoModelForImageTextToText.from_config(config)
    if method == "full":
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(part_of(name) in learning)
        return model.train()
    peft = pytest.importorskip("peft", reason="the extra train is not installed")
    linear = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and part_of(n) in learning]
    adapter = peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules=linear)
    wrapped = peft.get_peft_model(model.to(torch.bfloat16 if half else torch.float32), adapter)
    return wrapped.base_model.model.train()


def kept_by_last(layers: Sequence[Any], model: Any, forward: Callable[[], object]) -> int:
    """Bytes of tensors, parameters apart, that the last of the layers is the first to save for the backward pass."""
    seen = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    alive, inside, total = [], False, 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal total
        storage = tensor.untyped_storage()
        if storage._cdata not in seen:
            seen.add(storage._cdata)
            total += storage.nbytes() if inside else 0
        alive.append(tensor)  # else a later storage could have the same address
        return tensor

    def passing(through: bool) -> None:
        nonlocal inside
        inside = through

    layers[-1].register_forward_pre_hook(lambda *_: passing(True))
    layers[-1].register_forward_hook(lambda *_: passing(False))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return total


@pytest.mark.parametrize("config", [llava, qwen3_vl])
@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("learning", [LANGUAGE | {"other"}, frozenset({"language attention"})])
def test_a_decoder_layer_keeps_what_the_formula_says(
    config: Callable[[], Any], method: Method, half: bool, learning: frozenset[Part]
) -> None:
    shape, asked = config(), setup(method, learning, half=half)
    model = prepared(shape, method, learning, half=half)
    language = model.model.language_model
    layer = language.layers[-1]
    dtype = torch.bfloat16 if half and method == "lora" else torch.float32
    words = torch.randn(1, TOKENS, 128, dtype=dtype, requires_grad=True)
    padded = torch.ones(1, TOKENS, dtype=torch.long)
    padded[0, 0] = 0
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        kept = kept_by_last(
            language.layers, model, lambda: language(inputs_embeds=words, attention_mask=padded, use_cache=False)
        )
    matrices = [p for n, p in layer.named_parameters() if p.dtype == torch.float32 and p.dim() == 2]
    copies = 2 * sum(p.numel() for p in matrices) if half else 0
    assert kept == TOKENS * language_layer_bytes(shape, asked, TOKENS) + copies


@pytest.mark.parametrize("half", [False, True])
def test_a_vision_block_keeps_what_the_formula_says(half: bool) -> None:
    shape, asked = llava(), setup("full", frozenset({"vision"}), half=half)
    model = prepared(shape, "full", asked.learning, half=half)
    tower = model.model.vision_tower
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        kept = kept_by_last(tower.encoder.layers, model, lambda: tower(torch.randn(1, 3, 64, 64)))
    copies = 2 * (4 * 64 * 64 + 2 * 64 * 160) if half else 0
    assert kept == (PATCHES + 1) * vision_block_bytes(shape, asked) + copies  # and the class token


# A model of two linear layers, 10 x 20 in attention and 20 x 30 in the MLP, words 100 x 10 and an output layer like it.
TOY = Shape(
    LlavaConfig(
        vision_config=llava().vision_config,
        text_config=LlamaConfig(
            vocab_size=100,
            hidden_size=10,
            intermediate_size=30,
            num_hidden_layers=2,
            num_attention_heads=5,
            num_key_value_heads=5,
        ),
    ),
    {"language attention": 200, "language mlp": 600, "embeddings": 1000, "output layer": 1000},
    (Linear("language attention", 10, 20), Linear("language mlp", 20, 30)),
)


def test_what_learns() -> None:
    assert trainable(TOY, setup("full", parts_named(["language"]))) == 2800
    assert trainable(TOY, setup("full", parts_named(["projector"]))) == 0
    assert trainable(TOY, setup("lora")) == 8 * (10 + 20) + 8 * (20 + 30)
    assert trainable(TOY, setup("qlora", frozenset({"language mlp"}))) == 8 * (20 + 30)


def test_bytes_of_weights() -> None:
    lora = 4 * 640
    assert weight_bytes(TOY, setup("full")) == 4 * 2800
    assert weight_bytes(TOY, setup("lora")) == 2 * 2800 + lora
    assert weight_bytes(TOY, setup("lora", half=False)) == 4 * 2800 + lora
    # 800 weights in 4 bits: 400, a byte per 64 = 12.5, 4 bytes per 64 x 256 = 0.195; the other 2000 in float32.
    assert weight_bytes(TOY, setup("qlora")) == round(412.695) + 4 * 2000 + lora


def test_bytes_of_copies() -> None:
    assert copy_bytes(TOY, setup("full", half=False)) == 0
    assert copy_bytes(TOY, setup("lora")) == 2 * 640
    # The gradient crosses the language model (800) and its output layer (1000) also where only a projector learns.
    assert copy_bytes(TOY, setup("full", parts_named(["projector"]))) == 2 * 1800


def test_gradients_optimizer_and_logits() -> None:
    found = memory(TOY, setup("lora"), Batch(tokens=7, length=7, patches=0, answered=7))
    assert (found.gradients, found.optimizer) == (4 * 640, 8 * 640)
    assert found.logits == LOGIT_BYTES * 7 * 100
    eight = memory(TOY, setup("lora", optimizer="adamw-8bit"), Batch(tokens=7, length=7, patches=0, answered=7))
    assert eight.optimizer == 2 * 640 + 2 * 640 * 4 // 256  # a byte each and a float32 per 256


def test_the_peak_is_the_larger_end_or_with_accumulation_both() -> None:
    few, many = Batch(1, 1, 0, 1), Batch(1000, 100, 0, 1000)
    for batch in (few, many):
        for accumulation in (1, 2):
            m = memory(TOY, setup("full", accumulation=accumulation), batch)
            ends = (m.gradients, m.activations + m.logits)
            moving = sum(ends) if accumulation > 1 else max(ends)
            assert m.peak == m.weights + m.copies + m.optimizer + moving
    assert memory(TOY, setup("full"), few).gradients > 0


def test_checkpointing_keeps_inputs_and_one_layer() -> None:
    asked = setup("lora", checkpointing=True)
    per_token = language_layer_bytes(TOY.config, asked, 7)
    assert activation_bytes(TOY, asked, Batch(7, 7, 0, 7)) == 7 * (2 * 10 * 2 + per_token)  # 2 layers, 10 wide, bf16
    assert activation_bytes(TOY, setup("lora"), Batch(7, 7, 0, 7)) == 7 * 2 * per_token


def test_a_tower_keeps_something_only_where_it_learns() -> None:
    batch = Batch(tokens=7, length=7, patches=50, answered=7)
    frozen, learning = setup("lora"), setup("lora", LANGUAGE | {"vision"})
    more = activation_bytes(TOY, learning, batch) - activation_bytes(TOY, frozen, batch)
    assert more == 50 * 2 * vision_block_bytes(TOY.config, learning)  # two blocks
    assert activation_bytes(TOY, frozen, batch) == activation_bytes(TOY, frozen, Batch(7, 7, 0, 7))
