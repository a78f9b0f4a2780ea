"""What a tuning run leaves: an adapter, or a whole checkpoint, with a card that says how it came to be."""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mllm_iqa.adapters import CONFIG
from mllm_iqa.checkpoints import Card, sha256_of, write_card
from mllm_iqa.output_file import replaced_at_end

from ..vllm_names import name_as_vllm_reads
from .examples import Example
from .recipe import RewardRecipe, TuneRecipe
from .whole import copy_processing

VERSIONS = ("torch", "transformers", "peft", "accelerate")


def finish(
    folder: Path,
    recipe: TuneRecipe | RewardRecipe,
    recipe_name: str,
    base: Card | None,
    *,
    results: dict[str, object],
    max_pixels: int,
    train: Sequence[Example],
) -> None:
    """Make a folder of weights that the Trainer saved a checkpoint or an adapter with its card.

    The calibration of the base model is not taken over: it does not hold for other weights.

    Args:
        folder: with the weights; the Trainer's pickled settings and peft's empty README leave it.
        recipe: of the run.
        recipe_name: its file's.
        base: the card of the untuned model; None where it has none.
        results: for the card.
        max_pixels: budget of one picture.
        train: what was learned from, for the prompts in the card.
    """
    for name in ("training_args.bin", "README.md"):
        (folder / name).unlink(missing_ok=True)
    if recipe.lora is None:
        copy_processing(recipe.model, folder)
        name_as_vllm_reads(folder)
    else:
        name_base(folder, recipe.model)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)
    trained_on = [f"{s.path}" + (f", split {s.split}" if s.split else "") for s in recipe.train]
    settings = recipe.model_dump_json(exclude={"output", "train", "valid", "test"})
    prompts = {"judge.v1"} if isinstance(recipe, RewardRecipe) else {p for e in train for p in e.prompts}
    card = Card(
        name=recipe.name,
        version=recipe.version,
        licence=recipe.licence,
        base_model=f"{base.name} {base.version}" if base is not None else recipe.model,
        languages=base.languages if base is not None else ("en",),
        max_pixels=max_pixels,
        prompts=tuple(dict.fromkeys([*(base.prompts if base is not None else ()), *sorted(prompts)])),
        training_data=(*trained_on, *(base.training_data if base is not None else ())),
        recipe=f"{recipe_name}: {settings}; {versions}",
        results=results,
        sha256={p.name: sha256_of(p) for p in sorted(folder.glob("*.safetensors"))},
        base_sha256=base.sha256 if base is not None and recipe.lora is not None else {},
    )
    write_card(folder, card)


def name_base(folder: Path, base: str) -> None:
    """Let an adapter call its base by the name it was asked for by, which holds on other machines too."""
    path = folder / CONFIG
    config = json.loads(path.read_text(encoding="utf-8"))
    with replaced_at_end(path) as file:
        file.write((json.dumps(config | {"base_model_name_or_path": base}, indent=2) + "\n").encode())


def validation_results(trainer: Any) -> dict[str, object]:
    """The best validation figures and the step they are of; {} without a validation."""
    rows = [row for row in trainer.state.log_history if "eval_srcc" in row]
    best = max((row for row in rows if math.isfinite(row["eval_srcc"])), key=lambda r: r["eval_srcc"], default=None)
    if best is None:
        return {}
    return {"step": best["step"], **{name: best[f"eval_{name}"] for name in ("srcc", "plcc", "kl")}}
