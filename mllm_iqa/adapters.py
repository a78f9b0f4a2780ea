"""Adapters: a folder with LoRA weights as peft writes them and a `card.json`, which change one base model.

A folder with an `adapter_config.json` is an adapter; it can be named wherever a model can.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
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
    check_safe(folder)
    with _fitting(folder):
        wrapped = _wrapped(model, folder, "default")
    return wrapped.merge_and_unload()


def check_safe(folder: Path) -> None:
    """Refuse an adapter whose weights are pickled.

    Raises:
        CheckpointError: there are no safetensors weights.
    """
    if not (folder / "adapter_model.safetensors").is_file():
        raise CheckpointError(f"{folder}: has no adapter_model.safetensors, and pickled weights are never loaded")


def _wrapped(model: Any, folder: Path, name: str) -> Any:
    from peft import PeftModel
    from peft.utils import load_peft_weights, set_peft_model_state_dict

    wrapped = PeftModel.from_pretrained(model, str(folder), adapter_name=name)
    loaded: Any = set_peft_model_state_dict(wrapped, load_peft_weights(str(folder), device="cpu"), adapter_name=name)
    _check_both_sides(folder, loaded, name)
    return wrapped


def _load_beside(wrapped: Any, folder: Path, name: str) -> None:
    from peft.utils import load_peft_weights, set_peft_model_state_dict

    wrapped.load_adapter(str(folder), adapter_name=name)
    loaded: Any = set_peft_model_state_dict(wrapped, load_peft_weights(str(folder), device="cpu"), adapter_name=name)
    _check_both_sides(folder, loaded, name)


def _check_both_sides(folder: Path, loaded: Any, name: str) -> None:
    lacking = [key for key in loaded.missing_keys if ".lora_" in key and f".{name}." in key]
    if loaded.unexpected_keys or lacking:
        raise KeyError(f"{[*loaded.unexpected_keys, *lacking][0]} is on one side only")


@contextmanager
def _fitting(folder: Path) -> Iterator[None]:
    """Say of whatever peft finds wrong that the adapter does not fit its model."""
    try:
        yield
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        first = str(error.args[0] if isinstance(error, KeyError) else error).splitlines()[0]
        raise CheckpointError(f"{folder}: does not fit {base_of(folder)}: {first}") from error


class Adapters:
    """LoRA adapters beside one model, of which at most one is in use. Not for several threads at once."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._wrapped: Any = None
        self.names: tuple[str, ...] = ()
        self.current: str | None = None

    def add(self, folder: Path, name: str) -> None:
        """Load an adapter beside those that are there; which one is in use stays as it was.

        Raises:
            CheckpointError: the name is taken, or the adapter's weights do not fit this model.
        """
        if name in self.names:
            raise CheckpointError(f"{folder}: there is an adapter named {name!r} already; give it another name")
        check_safe(folder)
        with _fitting(folder):
            if self._wrapped is None:
                self._wrapped = _wrapped(self._model, folder, name)
            else:
                _load_beside(self._wrapped, folder, name)
        self.names += (name,)
        self.use(self.current)

    def use(self, name: str | None) -> None:
        """Let one of the adapters change the model; None = none of them.

        Raises:
            CheckpointError: there is no adapter of that name.
        """
        if name is not None and name not in self.names:
            known = ", ".join(map(repr, self.names)) or "none"
            raise CheckpointError(f"no adapter named {name!r} is loaded; there are: {known}")
        self.current = name
        if self._wrapped is None:
            return
        if name is None:
            self._wrapped.base_model.disable_adapter_layers()
        else:
            self._wrapped.base_model.enable_adapter_layers()
            self._wrapped.set_adapter(name)

    def merge(self) -> Any:
        """Add the adapter in use to the model's own weights, drop the others, and return the model without wrapping.

        Raises:
            CheckpointError: none is in use.
        """
        if self._wrapped is None or self.current is None:
            raise CheckpointError("no adapter is in use, so there is nothing to merge")
        merged = self._wrapped.merge_and_unload(adapter_names=[self.current])
        self._wrapped, self.names, self.current = None, (), None
        return merged
