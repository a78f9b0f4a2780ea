"""Adapters: a folder with LoRA weights as peft writes them and a `card.json`, which change one base model.

A folder with an `adapter_config.json` is an adapter; it can be named wherever a model can.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .checkpoints import Card
from .errors import CheckpointError

CONFIG = "adapter_config.json"


def is_adapter(source: str) -> bool:
    """Whether this folder holds an adapter rather than a whole model."""
    return os.path.isfile(os.path.join(source, CONFIG))


def base_of(folder: Path) -> str:
    """The model an adapter belongs to, as it was named when the adapter was trained: a name, a folder or a hub id.

    Raises:
        CheckpointError: the adapter does not say.
    """
    try:
        base = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
        raise CheckpointError(f"{folder / CONFIG}: not an adapter's configuration: {error}") from error
    if not isinstance(base, str) or not base:
        raise CheckpointError(f"{folder / CONFIG}: names no base_model_name_or_path, so its base model is unknown")
    return base


def check_base(folder: Path, adapter: Card | None, base: Card | None) -> None:
    """Refuse an adapter whose card speaks of other base weights than those at hand.

    Raises:
        CheckpointError: naming both; where either card is silent about the base's weights nothing is refused.
    """
    if adapter is None or base is None or not adapter.base_sha256 or adapter.base_sha256 == base.sha256:
        return
    raise CheckpointError(
        f"{folder}: belongs to {adapter.base_model}, not to {base.name} {base.version}: the weights differ; "
        "train it again or install the base model it was trained on"
    )


def merged_into(model: Any, folder: Path) -> Any:
    """The model with an adapter's changes added to its own weights, in place; peft's wrapping is gone.

    Args:
        model: a transformers model, not quantized.
        folder: of the adapter.

    Raises:
        CheckpointError: the adapter's weights do not fit this model.
    """
    from peft import PeftModel
    from peft.utils import load_peft_weights, set_peft_model_state_dict

    try:
        wrapped = PeftModel.from_pretrained(model, str(folder))
        loaded: Any = set_peft_model_state_dict(wrapped, load_peft_weights(str(folder), device="cpu"))
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(f"{folder}: does not fit {base_of(folder)}: {str(error).splitlines()[0]}") from error
    lacking = [name for name in loaded.missing_keys if ".lora_" in name]
    if loaded.unexpected_keys or lacking:
        first = [*loaded.unexpected_keys, *lacking][0]
        raise CheckpointError(f"{folder}: does not fit {base_of(folder)}: {first} is on one side only")
    return wrapped.merge_and_unload()
