"""A checkpoint from its folder into memory: safe, whole, and where and how the caller wants it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer
from transformers.models.qwen2_vl import Qwen2VLImageProcessorPil
from transformers.utils import logging as hf_logging

from ..errors import BackendError, CheckpointError, ConfigError
from ..extras import missing
from ..transformers_options import Quantize
from .processors import picture_processor
from .rows import GRID_FAMILIES

SPLIT = "split"
"""The device that means all GPUs, each with a part of the layers."""

# Said aloud: left unsaid, transformers asks on a terminal whether to run the code a checkpoint brings.
_SAFE: dict[str, Any] = dict(trust_remote_code=False)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model and how it reads: the image processor of a Qwen family, the whole processor of any other model."""

    model: Any
    tokenizer: Any
    processor: Any


def load_parts(
    folder: str,
    *,
    source: str,
    device: str = "auto",
    dtype: str = "auto",
    quantization: Any = None,
    attention: str = "auto",
) -> Loaded:
    """Load a model, its tokenizer and its processor.

    Args:
        folder: of the checkpoint.
        source: what the user calls it, for errors.
        device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1" ...; "split" = over all GPUs.
        dtype: "auto" = float32 on a CPU, bfloat16 elsewhere; or a torch dtype's name.
        quantization: a `Quantize`, or a transformers quantization config; None = weights as they are.
        attention: "auto" or the name of an implementation.

    Raises:
        BackendError: no such device here.
        CheckpointError: nothing loadable there, or not in this way; one sentence.
        MissingDependencyError: bitsandbytes or accelerate is not installed.
    """
    place = _place(device)
    kind = _dtype(dtype, place)
    options: dict[str, Any] = {} if attention == "auto" else {"attn_implementation": attention}
    if quantization is not None:
        wanted = _quantization(quantization, kind)
        options |= {"quantization_config": wanted, "device_map": {"": place}}
    if device == SPLIT:
        _need("accelerate")
        options["device_map"] = "auto"
    try:
        config = AutoConfig.from_pretrained(folder, **_SAFE)
        if quantization == Quantize.bits4 and place.type == "cpu":
            wanted.llm_int8_skip_modules = ["lm_head", *_odd_layers(config)]
        with _quiet():
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                folder, dtype=kind, use_safetensors=True, output_loading_info=True, **options, **_SAFE
            )
        model, loading = loaded
        _check_whole(source, loading)
        if config.model_type in GRID_FAMILIES:
            # The family's AutoProcessor wants torchvision for videos, which pictures do not need; some versions'
            # AutoImageProcessor wants it too. All checkpoints of the family share this class.
            tokenizer = AutoTokenizer.from_pretrained(folder, **_SAFE)
            processor: Any = Qwen2VLImageProcessorPil.from_pretrained(folder, **_SAFE)
        else:
            if config.model_type == "smolvlm":
                _need("num2words")
            processor = picture_processor(folder)
            tokenizer = processor.tokenizer
    except (OSError, ValueError, ImportError, KeyError, RuntimeError, AttributeError, SafetensorError) as error:
        raise CheckpointError(f"{source}: not a checkpoint transformers can load: {first_line(error)}") from error
    if not (getattr(tokenizer, "chat_template", None) or getattr(processor, "chat_template", None)):
        raise CheckpointError(f"{source}: has no chat template, so it cannot be asked questions; is it a base model?")
    return Loaded(model if "device_map" in options else model.to(place), tokenizer, processor)


def first_line(error: Exception) -> str:
    """The first line of what an error says, or its kind where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _place(device: str) -> torch.device:
    """The torch device of that name; a BackendError says that it is not here."""
    if device in ("auto", SPLIT):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:  # torch raises the latter where it was built without CUDA
        raise BackendError(f"no device {device!r} here: {first_line(error)}") from error
    return place


def _dtype(name: str, place: torch.device) -> torch.dtype:
    wanted = name if name != "auto" else ("float32" if place.type == "cpu" else "bfloat16")
    kind = getattr(torch, wanted, None)
    if not isinstance(kind, torch.dtype):
        raise CheckpointError(f"{name!r} is not a torch dtype")
    return kind


def _quantization(wanted: Any, compute: torch.dtype) -> Any:
    """The transformers config of a `Quantize`; a config is taken as it is."""
    if not isinstance(wanted, str):
        return wanted
    if wanted not in set(Quantize):
        raise ConfigError(f"quantize is one of {', '.join(Quantize)}, got {wanted!r}")
    _need("bitsandbytes")
    from transformers import BitsAndBytesConfig

    if wanted == Quantize.bits8:
        return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
    )


def _odd_layers(config: Any) -> list[str]:
    """Layers whose shape bitsandbytes cannot hold in 4 bits on a CPU: it packs them in blocks of 32 by 64."""
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, **_SAFE)  # type: ignore[no-untyped-call]
    linear = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)]
    return [name for name, layer in linear if layer.in_features % 64 or layer.out_features % 32]


def _need(module: str) -> None:
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        raise missing(error) or error from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bar for weights that are already on disk."""
    shown = hf_logging.is_progress_bar_enabled()
    hf_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            hf_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _check_whole(source: str, loading: Any) -> None:
    """Refuse weights that are not all there: what is missing would be filled with random numbers."""
    lacking = sorted(loading["missing_keys"])
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise CheckpointError(f"{source}: not a whole checkpoint: no weights for {lacking[0]}{more}")
