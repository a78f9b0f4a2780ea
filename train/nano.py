"""Train `nano` from nothing: vision tower first, then the whole model on conversations, then the checkpoint."""

from __future__ import annotations

from pathlib import Path

import cv2
import torch

from .checkpoint import write_checkpoint
from .instruct import instruct
from .nano_tokenizer import build_tokenizer
from .pretrain_vision import pretrain
from .recipe import Recipe


def train_nano(recipe: Recipe, recipe_name: str) -> Path:
    """Run both stages, resuming what is there, and write the checkpoint; returns its folder."""
    cv2.setNumThreads(1)
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    tower = pretrain(
        recipe.bank,
        recipe.teacher,
        recipe.output / "vision",
        recipe.vision.loop_plan(),
        seed=recipe.seed,
        std=recipe.assumed_std,
    )
    tokenizer = build_tokenizer()
    model = instruct(
        recipe.bank, tower, tokenizer, recipe.output / "instruct", recipe.instruct.loop_plan(), seed=recipe.seed
    )
    return write_checkpoint(
        model,
        tokenizer,
        recipe.output / "checkpoint",
        name=recipe.name,
        version=recipe.version,
        max_pixels=recipe.max_pixels,
        recipe=f"{recipe_name}: {recipe.vision.steps} vision steps, {recipe.instruct.steps} instruction steps",
    )
