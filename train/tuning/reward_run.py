"""Run a recipe of kind "reward": GRPO of trl on answers in the form of `judge.v1`, with LoRA."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from mllm_iqa.adapters import is_adapter
from mllm_iqa.answers import Judgment, Unparsable, parse_judgment
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.backends.processors import picture_processor
from mllm_iqa.errors import ConfigError, DataError
from mllm_iqa.prompt_files import load_prompt
from mllm_iqa.registry import resolve

from ..run_folder import claim
from .encode import pictures_of
from .examples import Example
from .prepare import check_machine, trainer_settings
from .progress import show_on_stderr
from .recipe import RewardRecipe
from .result import finish
from .rewards import distortion_rewards, ranking_rewards, score_rewards, severity_rewards
from .run import last_state
from .sources import read_all
from .what_learns import learning_in_float32, lora_config

RewardFunction = Callable[..., list[float]]


def tune_by_rewards(recipe: RewardRecipe, recipe_name: str) -> Path:
    """Tune a model by rewards and return the folder of the adapter; an interrupted run goes on.

    Every answer that could not be read is a line of `unparsable.jsonl` in the output folder: picture, answer, reason.

    Raises:
        ConfigError: settings that do not fit the machine, the model or the run found in the output folder.
        DataError: pictures without what a reward needs.
    """
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    if recipe.threads:
        torch.set_num_threads(recipe.threads)
    examples = read_all(recipe).train
    check_rewards(recipe, examples)
    check_machine(recipe.optimization, quantized=False)
    source = resolve(recipe.model)
    if is_adapter(source):
        raise ConfigError(f"model: {recipe.model} is an adapter; merge it first (`mllm-iqa train merge`)")
    claim(recipe.output, recipe.model_dump(mode="json", exclude={"save_every", "threads"}))
    dtype = "bfloat16" if recipe.optimization.precision == "bf16" else "float32"
    backend = HuggingFaceBackend.load(source, device="cpu", dtype=dtype)
    max_pixels = backend.max_pixels if recipe.max_pixels is None else recipe.max_pixels
    functions = reward_functions(recipe, recipe.output / "unparsable.jsonl")
    arguments = GRPOConfig(
        **trainer_settings(recipe.optimization),
        output_dir=str(recipe.output),
        seed=recipe.seed,
        save_steps=recipe.save_every,
        save_total_limit=2,
        logging_steps=1,
        report_to=["tensorboard", *(["wandb"] if recipe.wandb is not None else [])],
        project=recipe.wandb if recipe.wandb is not None else "mllm-iqa",
        num_generations=recipe.answers,
        max_completion_length=recipe.max_new_tokens,
        temperature=recipe.temperature,
        beta=recipe.kl,
        reward_weights=[getattr(recipe.rewards, name) for name in functions],
    )
    lora = recipe.lora
    adapter = lora_config(
        backend.model, lora.targets, whole=lora.full, rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout
    )
    rewards: list[Any] = list(functions.values())
    trainer = GRPOTrainer(
        model=backend.model,
        reward_funcs=rewards,
        args=arguments,
        train_dataset=questions(examples, max_pixels),
        processing_class=_unsaved(picture_processor(source)),
        peft_config=adapter,
    )
    learning_in_float32(trainer.model)
    show_on_stderr(trainer)
    trainer.train(resume_from_checkpoint=last_state(recipe.output))
    folder = recipe.output / "result"
    trainer.save_model(str(folder))
    if trainer.is_world_process_zero():
        rows = [row for row in trainer.state.log_history if "reward" in row]
        last = {name: value for name, value in rows[-1].items() if name.startswith("reward")}
        results: dict[str, object] = {"last step": last}
        finish(folder, recipe, recipe_name, backend.card, results=results, max_pixels=max_pixels, train=examples)
    return folder


def _unsaved(processor: Any) -> Any:
    """The processor, which the Trainer then leaves out of its folders: the base has it.

    transformers cannot save one whose video half was left out, as Qwen's is without torchvision.
    """
    processor.save_pretrained = lambda *_, **__: []
    return processor


def check_rewards(recipe: RewardRecipe, examples: Sequence[Example]) -> None:
    """Refuse rewards that the examples cannot give.

    Raises:
        DataError: distortion or severity rewards for pictures whose distortions are unknown.
    """
    if recipe.rewards.distortion or recipe.rewards.severity:
        for example in examples:
            if example.findings is None:
                raise DataError(
                    f"{example.name}: its distortions are unknown, so the distortion and severity rewards cannot judge "
                    "an answer; set their weights to 0 or leave the record out"
                )


def questions(examples: Sequence[Example], max_pixels: int) -> Any:
    """A `datasets` table of questions, their pictures loaded when they are asked."""
    from datasets import Dataset

    question = load_prompt("judge.v1").question

    def shown(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        chosen = [examples[n] for n in batch["example"]]
        worst = [None if not e.findings else e.findings[0] for e in chosen]
        return {
            "prompt": [[{"role": "user", "content": question}] for _ in chosen],
            "images": [[Image.fromarray(p.pixels) for p in pictures_of(e, max_pixels)] for e in chosen],
            "picture": [e.name for e in chosen],
            "dataset": [e.dataset for e in chosen],
            "mos": [e.mos for e in chosen],
            "kind": [None if found is None else found[0] for found in worst],
            "severity": [None if found is None else found[1] for found in worst],
        }

    return Dataset.from_dict({"example": list(range(len(examples)))}).with_transform(shown)


def reward_functions(recipe: RewardRecipe, unparsable: Path) -> dict[str, RewardFunction]:
    """The rewards of weight above 0, as trl calls them, by name; the first one logs answers that cannot be read."""
    wanted = recipe.rewards

    def read(completions: Sequence[Any]) -> list[Judgment | None]:
        parsed = [parse_judgment(_text(c)) for c in completions]
        return [p if isinstance(p, Judgment) else None for p in parsed]

    def ranking(completions: Sequence[Any], mos: list[float], picture: list[str], dataset: list[str], **_: Any) -> Any:
        return ranking_rewards(read(completions), mos, pictures=picture, datasets=dataset)

    def score(completions: Sequence[Any], mos: list[float], **_: Any) -> list[float]:
        return score_rewards(read(completions), mos, tolerance=wanted.tolerance)

    def distortion(completions: Sequence[Any], kind: list[str | None], **_: Any) -> list[float]:
        return distortion_rewards(read(completions), kind)

    def severity(completions: Sequence[Any], kind: list[str | None], severity: list[int | None], **_: Any) -> Any:
        return severity_rewards(read(completions), kind, severity)

    every: dict[str, RewardFunction] = {
        "ranking": ranking,
        "score": score,
        "distortion": distortion,
        "severity": severity,
    }
    chosen = {name: function for name, function in every.items() if getattr(wanted, name) > 0}
    first = next(iter(chosen))
    chosen[first] = _logging(chosen[first], unparsable)
    return chosen


def _logging(reward: RewardFunction, path: Path) -> RewardFunction:
    def logged(completions: Sequence[Any], picture: list[str], **columns: Any) -> list[float]:
        with path.open("a", encoding="utf-8") as file:
            for name, completion in zip(picture, completions, strict=True):
                found = parse_judgment(_text(completion))
                if isinstance(found, Unparsable):
                    row = {"picture": name, "reason": found.reason, "answer": _text(completion)}
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
        return reward(completions, picture=picture, **columns)

    logged.__name__ = reward.__name__  # trl logs a reward under its function's name
    return logged


def _text(completion: Any) -> str:
    return completion if isinstance(completion, str) else str(completion[-1]["content"])
