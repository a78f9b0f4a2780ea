"""What of a model learns: LoRA layers, whole components beside them, or whole components alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from mllm_iqa.errors import ConfigError

from ..parts import LANGUAGE, Component, Part, Target, part_of, parts_named

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential)


def target_modules(model: nn.Module, targets: Sequence[Target]) -> list[str]:
    """Dotted names of the linear layers that LoRA adapts.

    Args:
        model: any image-text model of transformers, quantized or not.
        targets: what to adapt.

    Raises:
        ConfigError: a target that this architecture has no linear layer for; the message lists what it has.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    found = {name: part for name in linear if (part := part_of(name)) in targets}
    for target in targets:
        if target not in found.values():
            every: tuple[Target, ...] = ("language attention", "language mlp", "projector", "vision")
            known = [t for t in every if any(part_of(name) == t for name in linear)]
            raise ConfigError(
                f"a model of type {_kind(model)} has no layers for {target!r}; it has: {', '.join(known)}"
            )
    return list(found)


def whole_modules(model: nn.Module, components: Sequence[Component]) -> list[str]:
    """Dotted names of the largest modules that lie wholly within components, none within another.

    Lists of modules are never named themselves: peft cannot wrap them.

    Raises:
        ConfigError: a component that this architecture does not have.
    """
    if not components:
        return []
    wanted = parts_named(components)
    parameters = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    _check_there(model, components, parameters)
    found: list[str] = []
    for name, module in model.named_modules(remove_duplicate=False):
        if not name or isinstance(module, _CONTAINERS) or any(name.startswith(f"{f}.") for f in found):
            continue
        inside = {part_of(p) for p in parameters if p.startswith(f"{name}.")}
        if inside and inside <= wanted:
            found.append(name)
    return found


def train_only(model: nn.Module, components: Sequence[Component]) -> None:
    """Let exactly these components learn and freeze everything else.

    Raises:
        ConfigError: a component that this architecture does not have.
    """
    wanted = parts_named(components)
    parameters = dict(model.named_parameters())
    _check_there(model, components, list(parameters))
    for name, parameter in parameters.items():
        parameter.requires_grad_(part_of(name) in wanted)


def with_lora(
    model: Any, targets: Sequence[Target], *, whole: Sequence[Component], rank: int, alpha: int, dropout: float
) -> Any:
    """The model wrapped by peft, its own weights frozen.

    Args:
        model: to be adapted; changed in place.
        targets: what to adapt.
        whole: components that learn in full beside the adapter, and are saved with it.
        rank: of LoRA.
        alpha: its changes are scaled by alpha / rank.
        dropout: share of what enters its layers.
    """
    from peft import get_peft_model

    config = lora_config(model, targets, whole=whole, rank=rank, alpha=alpha, dropout=dropout)
    return learning_in_float32(get_peft_model(model, config))


def learning_in_float32(model: Any) -> Any:
    """Keep what learns in float32, as peft does for LoRA's own weights but not for components beside them."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return model


def lora_config(
    model: Any, targets: Sequence[Target], *, whole: Sequence[Component], rank: int, alpha: int, dropout: float
) -> Any:
    """The same as peft takes it."""
    from peft import LoraConfig

    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=target_modules(model, targets),
        modules_to_save=whole_modules(model, whole) or None,
        task_type="CAUSAL_LM",
    )


def _check_there(model: nn.Module, components: Sequence[Component], names: Sequence[str]) -> None:
    there = {_component(part_of(name)) for name in names} - {None}
    for component in components:
        if component not in there:
            known = ", ".join(sorted(map(str, there)))
            raise ConfigError(f"a model of type {_kind(model)} has no {component}; it has: {known}")


def _component(part: Part) -> str | None:
    if part in LANGUAGE:
        return "language"
    return None if part == "other" else part


def _kind(model: nn.Module) -> str:
    return str(getattr(getattr(model, "config", None), "model_type", type(model).__name__))
