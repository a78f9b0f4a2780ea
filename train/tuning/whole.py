"""Writing a whole checkpoint: its weights, and everything around them taken over from the base model."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import torch

from mllm_iqa.registry import resolve

from ..vllm_names import name_as_vllm_reads

_NOT_TAKEN = ("*.safetensors", "*.index.json", "*.bin", "*.pt", "*.pth", "*.py", "*.md", "config.json", "card.json")


def save_weights(model: Any, folder: Path, *, dtype: torch.dtype) -> None:
    """Write a model's weights, under names that vLLM reads too, and its configuration; the model itself stays as it is.

    Args:
        model: a transformers model without peft's wrapping.
        folder: made if need be.
        dtype: of the floating-point weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() not in seen:  # else tied to one already taken
            seen.add(tensor.data_ptr())
            state[name] = tensor.detach().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
    kept = model.config.dtype
    model.config.dtype = dtype
    model.save_pretrained(folder, state_dict=state)
    model.config.dtype = kept
    name_as_vllm_reads(folder)


def copy_processing(base: str, folder: Path) -> None:
    """Take over the tokenizer, processor, template and generation settings of a base model.

    Args:
        base: name, folder or hub id.
        folder: of the new checkpoint; its own weights, configuration and card are left alone.
    """
    source = resolve(base)
    if not os.path.isdir(source):
        from huggingface_hub import snapshot_download

        source = snapshot_download(source, ignore_patterns=[p for p in _NOT_TAKEN if p.startswith("*")])
    for path in sorted(Path(source).iterdir()):
        if path.is_file() and not any(path.match(pattern) for pattern in _NOT_TAKEN):
            shutil.copyfile(path, folder / path.name)
