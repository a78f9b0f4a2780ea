"""Which parts of a model learn: parts named by what they do, found in any architecture by its module names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from torch import nn

from mllm_iqa.errors import ConfigError

Part: TypeAlias = Literal["language", "projector", "vision"]
Target: TypeAlias = Literal["language attention", "language mlp", "projector", "vision"]

_PROJECTOR = ("merger", "deepstack_merger_list", "multi_modal_projector", "connector")
_VISION = ("visual", "vision_tower", "vision_model")
_LANGUAGE = ("language_model", "text_model")
_ATTENTION = ("self_attn", "attn", "attention")
_MLP = ("mlp", "feed_forward")


def part_of(name: str) -> Part | None:
    """The part that a parameter or module of this dotted name belongs to; None for the output layer and the like.

    A projector may lie within the vision tower (Qwen's merger): it is a projector all the same.
    """
    segments = name.split(".")
    if any(s in _PROJECTOR for s in segments):
        return "projector"
    if any(s in _VISION for s in segments):
        return "vision"
    return "language" if any(s in _LANGUAGE for s in segments) else None


def target_of(name: str) -> Target | None:
    """What a linear layer of this dotted name is for LoRA; None for one that is not to be adapted."""
    part, segments = part_of(name), name.split(".")
    if part != "language":
        return part
    if any(s in _ATTENTION for s in segments):
        return "language attention"
    return "language mlp" if any(s in _MLP for s in segments) else None


def target_modules(model: nn.Module, targets: Sequence[Target]) -> list[str]:
    """Dotted names of the linear layers that LoRA adapts.

    Args:
        model: any image-text model of transformers, quantized or not.
        targets: what to adapt.

    Raises:
        ConfigError: a target that this architecture has no linear layer for; the message lists what it has.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    found = {name: target for name in linear if (target := target_of(name)) in targets}
    for target in targets:
        if target not in found.values():
            kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
            known = sorted({t for name in linear if (t := target_of(name)) is not None})
            raise ConfigError(f"a model of type {kind} has no layers for {target!r}; it has: {', '.join(known)}")
    return list(found)


def train_only(model: nn.Module, parts: Sequence[Part]) -> None:
    """Let exactly these parts learn and freeze everything else.

    An output layer that is not tied to the language model's words learns with it.

    Raises:
        ConfigError: a part that this architecture does not have.
    """
    seen: set[Part] = set()
    for name, parameter in model.named_parameters():
        part = part_of(name) or ("language" if "lm_head" in name.split(".") else None)
        parameter.requires_grad_(part in parts)
        if part is not None:
            seen.add(part)
    for part in parts:
        if part not in seen:
            kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
            raise ConfigError(f"a model of type {kind} has no {part}; it has: {', '.join(sorted(seen))}")


def with_lora(model: Any, targets: Sequence[Target], *, rank: int, alpha: int, dropout: float) -> Any:
    """The model wrapped by peft, its own weights frozen.

    Args:
        model: to be adapted; changed in place.
        targets: what to adapt.
        rank: of LoRA.
        alpha: its changes are scaled by alpha / rank.
        dropout: share of what enters its layers.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=target_modules(model, targets),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)
