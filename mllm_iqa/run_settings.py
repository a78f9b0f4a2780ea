"""What the rows of a run depend on besides the pictures; two runs with equal settings give equal rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from .checkpoints import read_card, sha256_of
from .registry import MODELS, resolve

_WEIGHTS = (".safetensors", ".json", ".jinja", ".txt", ".model")


def run_settings(*, model: str, adapters: Sequence[str] = (), engine: str, device: str) -> dict[str, Any]:
    """Plain values for JSON: model, adapters and their weights, engine, device, prompts, program version.

    Args:
        model: as for `Assistant.load`; nothing is loaded here.
        adapters: folders or hub ids of LoRA adapters.
        engine: by its name.
        device: where the model runs; "auto" becomes "cuda" or "cpu", as found here.
    """
    from . import __version__

    return {
        "version": __version__,
        "prompts": _prompts(),
        "model": _without_credentials(model),
        "weights": model_identity(model),
        "adapter weights": [model_identity(adapter) for adapter in adapters],
        "engine": engine,
        "device": "server" if engine == "openai" else _device(device),
    }


def model_identity(model: str) -> str:
    """What tells one model's weights from another's: SHA-256 for a directory, the commit for a hub id where known."""
    if model == "fake" or _is_url(model):
        return _without_credentials(model)
    source = resolve(model)
    if os.path.isdir(source):
        return _digest(_files(Path(source)))
    from huggingface_hub import try_to_load_from_cache

    revision = MODELS[model].revision if model in MODELS else None
    cached = try_to_load_from_cache(source, "config.json", revision=revision)  # .../snapshots/COMMIT/config.json
    return f"{source}@{Path(cached).parent.name}" if isinstance(cached, str) else source


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    """Name and SHA-256 of every file that a model is read from; those of weights from the card, where it has them."""
    card = read_card(folder)
    known = {} if card is None else card.sha256
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in _WEIGHTS:
            yield path.name, known.get(path.name) or sha256_of(path)


def _prompts() -> str:
    folder = files("mllm_iqa.prompts")
    written = sorted((file.name, file.read_bytes()) for file in folder.iterdir() if file.name.endswith(".yaml"))
    return _digest((name, sha256(content).hexdigest()) for name, content in written)


def _digest(files: Iterator[tuple[str, str]]) -> str:
    return sha256("\n".join(f"{name} {digest}" for name, digest in files).encode()).hexdigest()


def _is_url(model: str) -> bool:
    return model.startswith(("http://", "https://"))


def _without_credentials(model: str) -> str:
    """A URL without user, password and query; anything else as it is."""
    if not _is_url(model):
        return model
    parts = urlsplit(model)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", parts.fragment))


def _device(device: str) -> str:
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
