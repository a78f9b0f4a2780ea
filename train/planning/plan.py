"""What a recipe will take, from configurations alone: parameters, trainable share, GPU memory, tokens and steps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, TypeAlias

from mllm_iqa.registry import resolve

from ..nano.recipe import NanoRecipe
from ..parts import parts_named
from ..tuning.recipe import Lora, Method, RewardRecipe, TuneRecipe
from .memory import METHODS, Batch, Memory, Setup, memory, trainable
from .picture_tokens import patches_per_token, picture_tokens
from .shapes import Shape, read_config, shape_of

PlannedRecipe: TypeAlias = TuneRecipe | RewardRecipe
# What a recipe without LoRA is planned with for the methods that need it: the settings of qwen3-vl-8b-qlora.
_LORA = Lora(rank=64, alpha=128, targets=("language attention", "language mlp"))
DEFAULT_MAX_PIXELS = 1_048_576


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


def make_plan(
    recipe: PlannedRecipe, *, sizes: Sequence[tuple[int, int]], text_tokens: int, examples: int | None = None
) -> Plan:
    """Plan a recipe without loading a weight.

    Args:
        recipe: what is trained, and how.
        sizes: (height, width) of the pictures to plan for.
        text_tokens: question and answer of one example, in tokens; with rewards the question alone, since the recipe
            says how long answers may be.
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
        batch = _batch(recipe, tokens, text_tokens, tokens * patches_per_token(config))
        needed: dict[Method, Memory] = {m: memory(shape, setup, batch) for m, setup in setups.items()}
        pictures.append(PicturePlan(height, width, tokens, needed))
    per_step = recipe.optimization.batch_size * recipe.optimization.accumulation
    rows = recipe.answers if isinstance(recipe, RewardRecipe) else 1
    steps = None if examples is None else ceil(examples * rows / per_step)
    return Plan(recipe, shape, trainable(shape, setups[_method(recipe)]), tuple(pictures), steps)


def _batch(recipe: PlannedRecipe, picture: int, text: int, patches: int) -> Batch:
    """One pass over examples of one picture of so many tokens each; logits are taken where the text stands."""
    rows = recipe.optimization.batch_size
    answer = recipe.max_new_tokens if isinstance(recipe, RewardRecipe) else 0
    length = picture + text + answer
    return Batch(rows * length, length, rows * patches, answered=rows * (answer if answer else text))


def _method(recipe: PlannedRecipe) -> Method:
    return recipe.method if isinstance(recipe, TuneRecipe) else "lora"


def _setup(recipe: PlannedRecipe, method: Method) -> Setup:
    """The recipe's own setup, or what it would be with another method."""
    o = recipe.optimization
    common: dict[str, Any] = {"half": o.precision == "bf16", "optimizer": o.optimizer}
    common |= {"accumulation": o.accumulation, "checkpointing": o.gradient_checkpointing}
    if method == "full":
        own = recipe.parts if isinstance(recipe, TuneRecipe) else ()
        return Setup(method, parts_named(own if own else ("language", "projector")), rank=0, **common)
    lora = _LORA if recipe.lora is None else recipe.lora
    return Setup(method, parts_named(lora.targets), rank=lora.rank, whole=parts_named(lora.full), **common)


def as_text(plan: Plan) -> str:
    """The plan for people, one fact a line; GB are 10^9 bytes."""
    shape, recipe = plan.shape, plan.recipe
    lines = [f"model: {recipe.model} ({shape.config.model_type}), {_many(shape.total)} parameters"]
    lines += [f"  {part}: {_many(count)}" for part, count in shape.parameters.items()]
    share = plan.learning / shape.total
    lines.append(f"trainable with {_method(recipe)}: {_many(plan.learning)} ({share:.2%})")
    for picture in plan.pictures:
        lines.append(f"pictures of {picture.width}x{picture.height}: {picture.tokens} tokens each")
        for method, needed in picture.memory.items():
            marks = "*" if method == _method(recipe) else " "
            lines.append(f" {marks} {method}: {_giga(needed.peak)} GB = {_components(needed)}")
    lines.append("steps per epoch: " + ("unknown (give --examples)" if plan.steps is None else str(plan.steps)))
    lines.append("* the recipe's own method. Estimates; CUDA, the allocator and kernels' workspaces come on top.")
    if isinstance(recipe, RewardRecipe):
        lines.append("The passes that learn; keys and values of the answers while they are sampled come on top.")
    return "\n".join(lines)


def nano_as_text(recipe: NanoRecipe, *, sizes: Sequence[tuple[int, int]]) -> str:
    """What making `nano` takes, for people: it is of one shape, all of it learns, and a CPU holds it."""
    config = read_config("nano")
    total = _many(shape_of(config).total)
    lines = [f"model: {recipe.name} ({config.model_type}), {total} parameters, all of which learn, from scratch"]
    for height, width in sizes:
        tokens = picture_tokens(config, height, width, max_pixels=recipe.max_pixels)
        lines.append(f"pictures of {width}x{height}: {tokens} tokens each")
    stages = {"vision": recipe.vision, "instruct": recipe.instruct, "whole": recipe.whole}
    steps = [f"{name} {stage.steps}" for name, stage in stages.items() if stage is not None]
    return "\n".join([*lines, f"steps: {', '.join(steps)}"])


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
