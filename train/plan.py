"""What a recipe will take, from configurations alone: parameters, trainable share, GPU memory, tokens and steps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mllm_iqa.errors import ConfigError
from mllm_iqa.registry import resolve

from .memory import METHODS, Batch, Memory, Method, Optimizer, Setup, memory, parts_that_learn, trainable
from .picture_tokens import patches_per_token, picture_tokens
from .shapes import Shape, read_config, shape_of

_READ = ConfigDict(extra="ignore", frozen=True)
# What a recipe without LoRA is planned with for the methods that need it: the settings of qwen3-vl-8b-qlora.
_RANK, _TARGETS = 64, ("language attention", "language mlp")
DEFAULT_MAX_PIXELS = 1_048_576


class _Lora(BaseModel):
    model_config = _READ

    rank: int = Field(gt=0)
    targets: tuple[str, ...]


class _Optimization(BaseModel):
    model_config = _READ

    batch_size: int = Field(gt=0)
    accumulation: int = Field(gt=0, default=1)
    precision: Literal["bf16", "fp32"] = "bf16"
    optimizer: Optimizer = "adamw"
    gradient_checkpointing: bool = False


class PlannedRecipe(BaseModel):
    """The keys of a tuning recipe that a plan depends on; the others are left to whoever trains.

    Attributes:
        model: name, folder or hub id.
        method: of tuning. lora: for the methods lora and qlora. parts: what learns with the method full.
        optimization: batch size of a pass, accumulation, precision, optimizer, checkpointing.
        max_pixels: budget of one picture.
    """

    model_config = _READ

    model: str
    method: Method
    lora: _Lora | None = None
    parts: tuple[str, ...] = ()
    optimization: _Optimization
    max_pixels: int | None = None


@dataclass(frozen=True, slots=True)
class PicturePlan:
    """For pictures of one size: tokens each takes, and memory of a step with each method, by its name."""

    height: int
    width: int
    tokens: int
    memory: dict[Method, Memory]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a recipe will take; `steps` per epoch where the number of examples is known."""

    recipe: PlannedRecipe
    shape: Shape
    learning: int
    pictures: tuple[PicturePlan, ...]
    steps: int | None


def read_planned(path: Path) -> PlannedRecipe:
    """Read what a plan needs of a recipe.

    Raises:
        ConfigError: no such file, no YAML, or a recipe that tunes no model (that of `nano` makes one from scratch).
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such recipe")
    try:
        return PlannedRecipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'recipe'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: cannot be planned: {wrong}") from error


def make_plan(
    recipe: PlannedRecipe, *, sizes: Sequence[tuple[int, int]], text_tokens: int, examples: int | None = None
) -> Plan:
    """Plan a recipe without loading a weight.

    Args:
        recipe: what is trained, and how.
        sizes: (height, width) of the pictures to plan for.
        text_tokens: question and answer of one example, in tokens.
        examples: to learn from; None = unknown.

    Raises:
        CheckpointError: a model whose configuration is not here or not known.
    """
    config = read_config(recipe.model)
    shape = shape_of(config)
    setups = {method: _setup(recipe, method) for method in METHODS}
    source = resolve(recipe.model)
    folder = source if os.path.isdir(source) else None
    pictures = []
    for height, width in sizes:
        budget = DEFAULT_MAX_PIXELS if recipe.max_pixels is None else recipe.max_pixels
        tokens = picture_tokens(config, height, width, max_pixels=budget, source=folder)
        count = recipe.optimization.batch_size
        length = tokens + text_tokens
        batch = Batch(count * length, length, count * tokens * patches_per_token(config))
        needed: dict[Method, Memory] = {m: memory(shape, setup, batch) for m, setup in setups.items()}
        pictures.append(PicturePlan(height, width, tokens, needed))
    per_step = recipe.optimization.batch_size * recipe.optimization.accumulation
    steps = None if examples is None else ceil(examples / per_step)
    return Plan(recipe, shape, trainable(shape, setups[recipe.method]), tuple(pictures), steps)


def _setup(recipe: PlannedRecipe, method: Method) -> Setup:
    """The recipe's own setup, or what it would be with another method."""
    o = recipe.optimization
    if method == "full":
        learning, rank = parts_that_learn(recipe.parts if recipe.parts else ("language", "projector")), 0
    else:
        lora = _Lora(rank=_RANK, targets=_TARGETS) if recipe.lora is None else recipe.lora
        learning, rank = parts_that_learn(lora.targets), lora.rank
    half, kept = o.precision == "bf16", o.gradient_checkpointing
    return Setup(method, learning, rank, half, o.optimizer, o.accumulation, kept)


def as_text(plan: Plan) -> str:
    """The plan for people, one fact a line; GB are 10^9 bytes."""
    shape, recipe = plan.shape, plan.recipe
    lines = [f"model: {recipe.model} ({shape.config.model_type}), {_many(shape.total)} parameters"]
    lines += [f"  {part}: {_many(count)}" for part, count in shape.parameters.items()]
    share = plan.learning / shape.total
    lines.append(f"trainable with {recipe.method}: {_many(plan.learning)} ({share:.2%})")
    for picture in plan.pictures:
        lines.append(f"pictures of {picture.width}x{picture.height}: {picture.tokens} tokens each")
        for method, needed in picture.memory.items():
            marks = "*" if method == recipe.method else " "
            lines.append(f" {marks} {method}: {_giga(needed.peak)} GB = {_components(needed)}")
    lines.append("steps per epoch: " + ("unknown (give --examples)" if plan.steps is None else str(plan.steps)))
    lines.append("* the recipe's own method. Estimates; CUDA, the allocator and kernels' workspaces come on top.")
    return "\n".join(lines)


def _components(m: Memory) -> str:
    named: dict[str, Any] = {
        "weights": m.weights,
        "bf16 copies": m.copies,
        "gradients": m.gradients,
        "optimizer": m.optimizer,
        "activations": m.activations,
        "logits": m.logits,
    }
    return ", ".join(f"{name} {_giga(size)}" for name, size in named.items()) + " (not all at once)"


def _giga(size: int) -> str:
    return f"{size / 1e9:.2f}"


def _many(count: int) -> str:
    return f"{count / 1e9:.3f} G" if count >= 1e9 else f"{count / 1e6:.2f} M"
