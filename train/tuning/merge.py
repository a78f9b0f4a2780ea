"""An adapter and its base as one checkpoint that needs neither peft nor the adapter any more."""

from __future__ import annotations

from pathlib import Path

import torch

from mllm_iqa.adapters import base_of, is_adapter
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.checkpoints import sha256_of, write_card
from mllm_iqa.errors import ConfigError

from .whole import copy_processing, save_weights


def merge(adapter: Path, out: Path, *, dtype: str = "float32") -> Path:
    """Write base plus adapter as a whole checkpoint with its card; returns the folder.

    Args:
        adapter: folder of the adapter; its base is loaded as the adapter names it.
        out: folder to write, which must not hold a model yet.
        dtype: of the weights. In float32 the scores stay what they are; float16 and bfloat16 round them (and halve
            the file).

    Raises:
        ConfigError: not an adapter, `out` taken, or no such dtype.
        CheckpointError: the base cannot be loaded or the adapter does not fit it.
    """
    if not is_adapter(str(adapter)):
        raise ConfigError(f"{adapter}: not an adapter: it has no adapter_config.json")
    if (out / "config.json").exists():
        raise ConfigError(f"{out}: already holds a model; name another folder")
    kind = getattr(torch, dtype, None)
    if not isinstance(kind, torch.dtype):
        raise ConfigError(f"--dtype {dtype}: not a torch dtype; use float32, bfloat16 or float16")
    backend = HuggingFaceBackend.load(str(adapter), device="cpu", dtype="float32")
    save_weights(backend.model, out, dtype=kind)
    copy_processing(base_of(adapter), out)
    if backend.card is not None:
        weights = {path.name: sha256_of(path) for path in sorted(out.glob("*.safetensors"))}
        write_card(out, backend.card.model_copy(update={"sha256": weights, "base_sha256": {}}))
    return out
