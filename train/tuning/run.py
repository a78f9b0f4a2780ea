"""Run a recipe of kind "tune": examples in, an adapter or a checkpoint with its card out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import EarlyStoppingCallback, TrainingArguments, set_seed

from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.errors import ConfigError, DataError

from ..run_folder import claim
from .collate import Collator
from .encode import encode
from .examples import Example
from .measure import measured
from .prepare import load_base, prepare, trainer_settings
from .progress import show_on_stderr
from .recipe import TuneRecipe
from .result import finish, validation_results
from .sources import read_all
from .trainer import TuningTrainer


def tune(recipe: TuneRecipe, recipe_name: str) -> Path:
    """Tune a model and return the folder of the result; an interrupted run goes on where its last whole state was.

    Raises:
        ConfigError: settings that do not fit the machine, the model or the run found in the output folder.
        DataError: examples that are missing or cannot be used, or a loss that is not finite.
    """
    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    found = read_all(recipe)
    train, valid, test = found.train, found.valid, found.test
    claim(recipe.output, recipe.model_dump(mode="json", exclude={"save_every", "threads"}))
    set_seed(recipe.seed)
    backend = load_base(recipe)
    max_pixels = backend.max_pixels if recipe.max_pixels is None else recipe.max_pixels
    check_readable(backend, [*train[:1], *valid[:1]], max_pixels, scored=bool(valid) or recipe.weights.fidelity > 0)
    before = measured(backend, test, max_pixels, seed=recipe.seed) if test else {}
    trainer = make_trainer(recipe, backend, train, valid, max_pixels=max_pixels)
    if test and (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        raise ConfigError("test is measured by one process, which sharded weights rule out; leave it out of the recipe")
    trainer.train(resume_from_checkpoint=last_state(recipe.output))
    folder = recipe.output / "result"
    trainer.save_model(str(folder))  # by all processes, for the sake of sharded weights
    if not trainer.is_world_process_zero():
        return folder
    results: dict[str, object] = {"validation": validation_results(trainer)}
    if test:
        backend.model.eval()
        backend.forget()
        mixed = recipe.lora is not None and recipe.lora.full and backend.model.dtype == torch.bfloat16
        # Components that learned beside the adapter are float32 amid bfloat16 until they are saved and loaded again.
        with torch.autocast(backend.model.device.type, torch.bfloat16, enabled=bool(mixed)):
            results |= {"test before": before, "test after": measured(backend, test, max_pixels, seed=recipe.seed)}
    finish(folder, recipe, recipe_name, backend.card, results=results, max_pixels=max_pixels, train=train)
    return folder


def check_readable(backend: HuggingFaceBackend, examples: list[Example], max_pixels: int, *, scored: bool) -> None:
    """Encode the first examples, so that a tokenizer or template that does not fit is found before training.

    Raises:
        DataError: see `encode`; or, where scores are read during training (`scored`), level words that begin alike.
    """
    for example in examples:
        word = encode(example, backend, max_pixels).word
        if scored and word is not None and example.mos is not None and len(set(word.first)) < len(word.first):
            raise DataError(
                f"{example.name}: two level words begin with the same token, so no score can be read during training; "
                "leave out valid and fidelity"
            )


def make_trainer(
    recipe: TuneRecipe, backend: HuggingFaceBackend, train: list[Example], valid: list[Example], *, max_pixels: int
) -> TuningTrainer:
    """The Trainer of a recipe."""
    checks: dict[str, Any] = {}
    callbacks: list[Any] = []
    if recipe.validation is not None:
        every = recipe.validation.every
        checks = {"eval_strategy": "steps", "eval_steps": every, "load_best_model_at_end": True}
        checks |= {"metric_for_best_model": "srcc", "greater_is_better": True, "save_steps": every}
        if recipe.validation.patience is not None:
            callbacks.append(EarlyStoppingCallback(recipe.validation.patience))
    arguments = TrainingArguments(
        **{
            "output_dir": str(recipe.output),
            "seed": recipe.seed,
            "save_steps": recipe.save_every,
            "save_total_limit": 2,
            "logging_steps": 1,
            "logging_nan_inf_filter": False,
            "per_device_eval_batch_size": recipe.optimization.batch_size,
            "report_to": ["tensorboard", *(["wandb"] if recipe.wandb is not None else [])],
            "project": recipe.wandb if recipe.wandb is not None else "mllm-iqa",
            "run_name": recipe.name,
            **trainer_settings(recipe.optimization),
            **checks,
        }
    )
    datasets = sorted({example.dataset for example in [*train, *valid]})
    trainer = TuningTrainer(
        prepare(backend, recipe),
        arguments,
        collator=Collator(backend, max_pixels, datasets),
        train=train,
        validation=valid,
        weights=recipe.weights.loss_weights(),
        callbacks=callbacks,
    )
    show_on_stderr(trainer)
    return trainer


def last_state(output: Path) -> str | None:
    """The newest state that was written to its end; None for a fresh run. The Trainer writes its own file last."""
    states = [p for p in output.glob("checkpoint-*") if _is_whole(p)]
    newest = max(states, key=lambda p: int(p.name.rpartition("-")[2]), default=None)
    return None if newest is None else str(newest)


def _is_whole(state: Path) -> bool:
    try:
        json.loads((state / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return False
    return True
