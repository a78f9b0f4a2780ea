"""Train `nano`: vision tower first, then the whole model on crops, then on whole pictures, then the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer, PreTrainedTokenizerBase

from mllm_iqa.checkpoints import read_card, verify
from mllm_iqa.errors import DataError

from .checkpoint import write_checkpoint
from .instruct import CROPS_FIRST, WHOLE_PICTURES, instruct
from .model import build_nano
from .pretrain_vision import load_tower, pretrain
from .recipe import NanoRecipe
from .tokenizer import build_tokenizer


def train_nano(recipe: NanoRecipe, recipe_name: str) -> Path:
    """Run the recipe's stages, resuming what is there, and write the checkpoint; returns its folder."""
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    model, tokenizer = _mean_of(recipe.start) if recipe.start else _trained_on_crops(recipe)
    instruct(
        model,
        recipe.bank,
        tokenizer,
        recipe.output / "whole",
        recipe.whole.loop_plan(),
        mix=WHOLE_PICTURES,
        vision_rate=0.6,
        seed=recipe.seed + 1,
        start=0.5,  # stage 2 began at the start of the bank
    )
    return write_checkpoint(
        model,
        tokenizer,
        recipe.output / "checkpoint",
        name=recipe.name,
        version=recipe.version,
        max_pixels=recipe.max_pixels,
        recipe=f"{recipe_name}: {described(recipe)}",
    )


def described(recipe: NanoRecipe) -> str:
    """The stages of a recipe and their steps, in a phrase for the card."""
    steps = {"vision": recipe.vision, "crop instruction": recipe.instruct, "whole-picture instruction": recipe.whole}
    stages = ", ".join(f"{plan.steps} {name} steps" for name, plan in steps.items() if plan is not None)
    if not recipe.start:
        return stages
    cards = [(folder, read_card(folder)) for folder in recipe.start]
    names = [folder.name if card is None else f"{card.name} {card.version}" for folder, card in cards]
    return f"{stages}, from {'the mean of ' if len(names) > 1 else ''}{', '.join(names)}"


def _trained_on_crops(recipe: NanoRecipe) -> tuple[Any, PreTrainedTokenizerBase]:
    """Stages 1 and 2."""
    assert recipe.vision is not None and recipe.instruct is not None
    tower = pretrain(
        recipe.bank,
        recipe.teacher,
        recipe.output / "vision",
        recipe.vision.loop_plan(),
        seed=recipe.seed,
        std=recipe.assumed_std,
    )
    tokenizer = build_tokenizer()
    torch.manual_seed(recipe.seed + 1)
    model = build_nano(tokenizer)
    model.model.visual.load_state_dict(load_tower(tower))
    instruct(
        model,
        recipe.bank,
        tokenizer,
        recipe.output / "instruct",
        recipe.instruct.loop_plan(),
        mix=CROPS_FIRST,
        vision_rate=0.3,
        seed=recipe.seed,
    )
    return model, tokenizer


def _mean_of(folders: Sequence[Path]) -> tuple[Any, PreTrainedTokenizerBase]:
    """A model of the mean weights of checkpoints, in float32, with the first one's tokenizer."""
    model, tokenizer = _loaded(folders[0])
    mean = {name: value.clone() for name, value in model.state_dict().items()}
    for folder in folders[1:]:
        other = _loaded(folder)[0].state_dict()
        if {name: value.shape for name, value in other.items()} != {name: value.shape for name, value in mean.items()}:
            raise DataError(f"{folder}: not a model of the same shape as {folders[0]}")
        for name, value in other.items():
            mean[name] += value
    model.load_state_dict({name: value / len(folders) for name, value in mean.items()})
    return model, tokenizer


def _loaded(folder: Path) -> tuple[Any, PreTrainedTokenizerBase]:
    """An earlier checkpoint in float32, with its own tokenizer."""
    card = read_card(folder)
    if card is not None:
        verify(folder, card)
    model = AutoModelForImageTextToText.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    for key in ("is_local", "local_files_only"):  # of this loading; they would be saved with it
        tokenizer.init_kwargs.pop(key, None)
    return model, tokenizer
