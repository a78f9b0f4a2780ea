"""GPU memory of a training step, by component, from the shape of a model: formulas, each with its reason.

All figures are bytes. Notation: T tokens in a batch, h the width of the language model, q and k the widths of its
queries and of its keys (or values), f the width inside its MLP, r the rank of LoRA. Sources: which tensors autograd
keeps is read from transformers' and peft's modules (Korthikanti et al., 2022, count the same way for a GPT block);
4-bit weights from Dettmers et al., 2023 (QLoRA), section 3; 8-bit optimizer states from Dettmers et al., 2022.
Attention is `scaled_dot_product_attention` without a matrix of T x T. What the allocator, CUDA and kernels' workspaces
take on top is not in the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..parts import Part
from ..tuning.recipe import Method, Optimizer
from .shapes import Shape

METHODS: tuple[Method, ...] = ("full", "lora", "qlora")

NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Of a weight in 4 bits: half a byte, an 8-bit constant per 64 weights, a float32 constant per 256 of those."""

LOGIT_BYTES = 12
"""Of a logit when the loss is taken, in bf16 and in fp32: the logit and its gradient as the model computes them (2 + 2,
or one buffer of 4 for both), log-probability (4) and the gradient it receives (4)."""

_STATE_BYTES: dict[Optimizer, float] = {
    "adamw": 8.0,  # two float32 moments
    "adamw-8bit": 2 * (1 + 4 / 256),  # two moments in a byte, with a float32 constant per 256
    "paged-adamw-8bit": 2 * (1 + 4 / 256),
}


@dataclass(frozen=True, slots=True)
class Setup:
    """How a model is trained.

    Attributes:
        method: "full"; "lora" (own weights frozen); "qlora" (and in 4 bits).
        learning: parts whose weights learn (full), or whose linear layers get LoRA.
        rank: of LoRA; 0 for full.
        half: matrix products in bf16 (autocast). Under LoRA the frozen weights are then bf16; others are float32.
        optimizer: of the weights that learn.
        accumulation: passes per optimizer step; checkpointing: recompute activations layer by layer.
        whole: parts all of whose weights learn beside LoRA, in float32 copies.
    """

    method: Method
    learning: frozenset[Part]
    rank: int
    half: bool
    optimizer: Optimizer
    accumulation: int
    checkpointing: bool
    whole: frozenset[Part] = frozenset()


@dataclass(frozen=True, slots=True)
class Batch:
    """One forward pass: tokens the language model reads, in sequences of `length`, and patches the tower reads.

    `answered` tokens get logits: training asks for those where a row of the batch has an answer.
    """

    tokens: int
    length: int
    patches: int
    answered: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes by component.

    `copies` are bf16 copies of float32 weights, kept until the backward pass is through; see `copy_bytes`.
    """

    weights: int
    copies: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    peak: int


def trainable(shape: Shape, setup: Setup) -> int:
    """Parameters that learn: those of the parts, or r x (inputs + outputs) for each adapted layer (Hu et al., 2022)."""
    whole = setup.learning if setup.method == "full" else setup.whole
    learned = sum(count for part, count in shape.parameters.items() if part in whole)
    if setup.method == "full":
        return learned
    adapted = (layer for layer in shape.linear if layer.part in setup.learning)
    return learned + sum(setup.rank * (layer.inputs + layer.outputs) for layer in adapted)


def weight_bytes(shape: Shape, setup: Setup) -> int:
    """Of all weights: 4 with full tuning, also where they are frozen; 2 or 4 under LoRA, which itself takes 4.

    With QLoRA `NF4_BYTES` in linear layers and 4 elsewhere: peft casts to float32 what stays unquantized, and the
    output layer does.
    """
    learned = trainable(shape, setup)
    if setup.method == "full":
        return 4 * shape.total
    if setup.method == "lora":
        return 4 * learned + (2 if setup.half else 4) * shape.total
    quantized = sum(layer.inputs * layer.outputs for layer in shape.linear)
    return 4 * learned + round(NF4_BYTES * quantized) + 4 * (shape.total - quantized)


def language_layer_bytes(config: Any, setup: Setup, length: int) -> int:
    """What one decoder layer keeps for the backward pass, per token of a sequence of this length.

    Norms (RMSNorm in float32), inputs of linear layers that learn or feed LoRA, the four tensors of attention, and
    three of the gated MLP. With autocast every linear layer has a bf16 copy of its input of its own, unless that was
    bf16 already; under LoRA it never is, since peft casts to float32 first. Keys and values count once for every head:
    so transformers repeats them for a batch with padding, whose mask every layer keeps as numbers.
    """
    text = config.text_config
    h, f = int(text.hidden_size), int(text.intermediate_size)
    heads_q, heads_k = int(text.num_attention_heads), int(text.num_key_value_heads)
    own_width = getattr(text, "head_dim", None)
    head = h // heads_q if own_width is None else int(own_width)
    q, k = head * heads_q, head * heads_k
    e = 2 if setup.half else 4
    attends, thinks = "language attention" in setup.learning, "language mlp" in setup.learning
    # Qwen3 norms queries and keys too, head by head.
    own, heads = (q + k, heads_q + heads_k) if _norms_queries(text) else (0, 0)
    kept = 4 * (2 * h + own) + 4 * (2 + heads)  # what every RMSNorm squares, and its float32 scale
    kept += e * 4 * q + 4 * heads_q  # queries, keys and values of every head, output; log-sum
    kept += e * length  # a row of the mask
    kept += e * 3 * f  # the gate before and after its activation, and what it multiplies
    if setup.method == "full":
        # The normed values before they meet a weight that learns, and the inputs of the layers that do.
        kept += 4 * 2 * h * ("language norms" in setup.learning) + e * own * attends
        inputs = (2 * 3 * h if setup.half else 4 * h) * attends + (2 * 2 * h if setup.half else 4 * h) * thinks
        return kept + inputs + e * f * thinks
    inputs = (2 * (3 * h + q) if setup.half else 4 * h) * attends
    inputs += (2 * (2 * h + f) if setup.half else 4 * (h + f)) * thinks
    return kept + inputs + e * setup.rank * (4 * attends + 3 * thinks)


def _norms_queries(text: Any) -> bool:
    return bool(text.model_type.startswith("qwen3"))


def vision_block_bytes(config: Any, setup: Setup) -> int:
    """What one block of a ViT keeps per patch where it learns: two LayerNorms, linear inputs, attention and activation.

    Exact for towers with three separate projections; one with a joint projection (Qwen) keeps less with autocast.
    """
    vision = config.vision_config
    d, f = int(vision.hidden_size), int(vision.intermediate_size)
    heads = int(vision.num_heads if hasattr(vision, "num_heads") else vision.num_attention_heads)
    e = 2 if setup.half else 4
    kept = 8 * d + 16 + e * 4 * d + 4 * heads
    kept += e * f * (2 if vision.hidden_act == "quick_gelu" else 1)  # x and sigmoid(1.702 x), or x alone
    if setup.method == "full":
        return kept + (2 * 4 * d if setup.half else 4 * 2 * d) + e * f
    return kept + (2 * 5 * d if setup.half else 4 * 2 * d) + e * f + e * setup.rank * 6


def activation_bytes(shape: Shape, setup: Setup, batch: Batch) -> int:
    """What autograd keeps between forward and backward.

    A tower that does not learn keeps nothing. With checkpointing each layer keeps its input, and one layer at a time
    all that the layer formulas say.
    """
    text, vision = shape.config.text_config, shape.config.vision_config
    layers = int(text.num_hidden_layers)
    per_layer = batch.tokens * language_layer_bytes(shape.config, setup, batch.length)
    stored = 2 if setup.half and setup.method == "lora" else 4
    inputs = batch.tokens * int(text.hidden_size) * stored
    total = layers * inputs + per_layer if setup.checkpointing else layers * per_layer
    if "vision" in setup.learning | setup.whole:
        blocks = int(vision.depth if hasattr(vision, "depth") else vision.num_hidden_layers)
        per_block = batch.patches * vision_block_bytes(shape.config, setup)
        inputs = batch.patches * int(vision.hidden_size) * stored
        total += blocks * inputs + per_block if setup.checkpointing else blocks * per_block
    return total


def copy_bytes(shape: Shape, setup: Setup) -> int:
    """Of the bf16 copies that autocast makes of float32 weights and the backward pass needs.

    With full tuning: all of the language model, through which gradients flow whether it learns or not, and what else
    learns. Under LoRA: what learns.
    """
    if not setup.half:
        return 0
    if setup.method != "full":
        return 2 * trainable(shape, setup)
    crossed = {"language attention", "language mlp", *setup.learning}
    text = shape.config.text_config
    matrices = sum(layer.inputs * layer.outputs for layer in shape.linear if layer.part in crossed)
    return 2 * (matrices + int(text.vocab_size) * int(text.hidden_size))


def memory(shape: Shape, setup: Setup, batch: Batch) -> Memory:
    """All components and their peak.

    Gradients grow while activations go, so the larger of the two ends counts: gradients alone, or activations and
    logits; with accumulation gradients of earlier passes are there all along and both count.
    """
    learned = trainable(shape, setup)
    weights, copies = weight_bytes(shape, setup), copy_bytes(shape, setup)
    gradients, states = 4 * learned, round(_STATE_BYTES[setup.optimizer] * learned)
    activations = activation_bytes(shape, setup, batch)
    logits = LOGIT_BYTES * batch.answered * shape.config.text_config.vocab_size
    passing = activations + logits
    moving = gradients + passing if setup.accumulation > 1 else max(gradients, passing)
    return Memory(weights, copies, gradients, states, activations, logits, weights + copies + states + moving)
