"""The model a recipe tunes: loaded, quantized, wrapped or frozen, with the errors a user can act on."""

from __future__ import annotations

import os
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from mllm_iqa.adapters import is_adapter
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.errors import ConfigError
from mllm_iqa.registry import resolve

from .recipe import Optimization, TuneRecipe
from .what_learns import train_only, whole_modules, with_lora

_TRAINER_NAMES = {"adamw": "adamw_torch", "adamw-8bit": "adamw_bnb_8bit", "paged-adamw-8bit": "paged_adamw_8bit"}


def check_machine(optimization: Optimization, *, quantized: bool) -> None:
    """Refuse what cannot run here, before anything is loaded.

    Raises:
        ConfigError: a paged optimizer without CUDA, or bitsandbytes asked for where it is not installed.
    """
    if optimization.optimizer == "paged-adamw-8bit" and not torch.cuda.is_available():
        raise ConfigError("optimizer paged-adamw-8bit needs CUDA, which is not here; use adamw or adamw-8bit")
    if quantized or optimization.optimizer != "adamw":
        import bitsandbytes  # noqa: F401  # missing, it is reported with the extra that brings it


def load_base(recipe: TuneRecipe) -> HuggingFaceBackend:
    """Load what the recipe tunes: in float32 where its own weights learn or no bf16 is wanted, else in bfloat16.

    Raises:
        ConfigError: an adapter, which would have to be merged first; see also `check_machine`.
        CheckpointError: nothing loadable there.
    """
    source = resolve(recipe.model)
    if is_adapter(source):
        raise ConfigError(f"model: {recipe.model} is an adapter; merge it first (`mllm-iqa train merge`)")
    quantized = recipe.method == "qlora"
    check_machine(recipe.optimization, quantized=quantized)
    half = recipe.optimization.precision == "bf16" and recipe.method != "full"
    dtype = "bfloat16" if half else "float32"
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
    if not quantized:
        # The Trainer moves or shards it; only to be measured beforehand must it be on the device already.
        return HuggingFaceBackend.load(source, device=device if recipe.test else "cpu", dtype=dtype)
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        llm_int8_skip_modules=_unquantized(recipe),
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )
    return HuggingFaceBackend.load(source, device=device, dtype=dtype, quantization=config)


def _unquantized(recipe: TuneRecipe) -> list[str] | None:
    """Modules that learn in full, which needs their own weights, and the output layer; None = as transformers does."""
    if recipe.lora is None or not recipe.lora.full:
        return None
    config = AutoConfig.from_pretrained(resolve(recipe.model), trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)  # type: ignore[no-untyped-call]
    return [*whole_modules(model, recipe.lora.full), "lm_head"]


def prepare(backend: HuggingFaceBackend, recipe: TuneRecipe) -> Any:
    """The model as the Trainer gets it: with an adapter to learn, or with the parts that learn unfrozen.

    Raises:
        ConfigError: a target or part that the architecture does not have.
    """
    model = backend.model
    if recipe.lora is None:
        train_only(model, recipe.parts)
        return model
    if recipe.method == "qlora":
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)  # type: ignore[no-untyped-call]
    lora = recipe.lora
    return with_lora(model, lora.targets, whole=lora.full, rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout)


def trainer_settings(optimization: Optimization) -> dict[str, Any]:
    """The recipe's optimizer settings as transformers' TrainingArguments take them."""
    o = optimization
    return {
        "num_train_epochs": o.epochs if o.epochs is not None else 1.0,
        "max_steps": -1 if o.steps is None else o.steps,
        "per_device_train_batch_size": o.batch_size,
        "gradient_accumulation_steps": o.accumulation,
        "learning_rate": o.learning_rate,
        "warmup_steps": o.warmup,
        "lr_scheduler_type": "constant_with_warmup" if o.schedule == "constant" else o.schedule,
        "weight_decay": o.weight_decay,
        "max_grad_norm": o.max_grad_norm,
        "optim": _TRAINER_NAMES[o.optimizer],
        "bf16": o.precision == "bf16",
        "use_cpu": not torch.cuda.is_available(),
        "gradient_checkpointing": o.gradient_checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if o.gradient_checkpointing else None,
        "dataloader_pin_memory": torch.cuda.is_available(),
        "remove_unused_columns": False,
        "restore_callback_states_from_checkpoint": True,
        "ddp_find_unused_parameters": True,
    }
