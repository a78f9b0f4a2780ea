"""A deeper model that begins as the same function: block expansion (LLaMA Pro, Wu et al., 2024)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from transformers.models.qwen3_vl import Qwen3VLForConditionalGeneration

from mllm_iqa.errors import ConfigError

BLOCKS = "model.visual.blocks."
LAYERS = "model.language_model.layers."
OUTPUTS = ("attn.proj", "mlp.linear_fc2", "self_attn.o_proj", "mlp.down_proj")
"""What a block adds to its residual stream comes out of these; at zero the block changes nothing."""


def grown(model: Any, vision: Sequence[int], language: Sequence[int]) -> tuple[Any, tuple[str, ...]]:
    """A copy of a model with copies of some blocks behind them, which add nothing until they are trained.

    A tap of DeepStack moves behind the copy of its block. Its features are added after the first layers of the
    language model, as many as there are taps, so of those only the last may be copied.

    Args:
        model: a `Qwen3VLForConditionalGeneration`; left as it is.
        vision: numbers, from 0, of the vision tower's blocks to copy.
        language: of the language model's layers.

    Returns:
        The larger model, which computes what the model computes, and the prefixes of its new parameters' names.

    Raises:
        ConfigError: there is no such block, one is named twice, or a layer stands before the last tap's.
    """
    config = copy.deepcopy(model.config)
    tower, text = config.vision_config, config.text_config
    blocks = _order("vision", tower.depth, vision)
    layers = _order("language", text.num_hidden_layers, language)
    first = len(tower.deepstack_visual_indexes) - 1
    if early := [number for number in language if number < first]:
        raise ConfigError(
            f"grow.language: {early[0]} is before layer {first}, the last that takes DeepStack's features"
        )
    last = {number: place for place, (number, _) in enumerate(blocks)}
    tower.deepstack_visual_indexes = [last[number] for number in tower.deepstack_visual_indexes]
    tower.depth, text.num_hidden_layers = len(blocks), len(layers)
    weights = model.state_dict()
    new: list[str] = []
    for prefix, order in ((BLOCKS, blocks), (LAYERS, layers)):
        old = {name: weights.pop(name) for name in list(weights) if name.startswith(prefix)}
        for place, (number, is_copy) in enumerate(order):
            if is_copy:
                new.append(f"{prefix}{place}.")
            for name, value in old.items():
                if name.startswith(f"{prefix}{number}."):
                    rest = name.removeprefix(f"{prefix}{number}.")
                    nothing = is_copy and rest.startswith(OUTPUTS)
                    weights[f"{prefix}{place}.{rest}"] = torch.zeros_like(value) if nothing else value
    larger = Qwen3VLForConditionalGeneration(config)  # type: ignore[no-untyped-call]
    larger.load_state_dict(weights)
    return larger.to(model.dtype), tuple(new)


def _order(what: str, count: int, copied: Sequence[int]) -> list[tuple[int, bool]]:
    """(number, whether it is the copy) of every block of the larger model."""
    for number in copied:
        if number not in range(count):
            raise ConfigError(f"grow.{what}: there is no block {number}; this model has 0 to {count - 1}")
        if copied.count(number) > 1:
            raise ConfigError(f"grow.{what}: block {number} is named twice")
    return [(number, is_copy) for number in range(count) for is_copy in (False, True)[: 1 + (number in copied)]]
