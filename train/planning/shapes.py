"""A model from its configuration alone, on torch's meta device: parts and parameters without a weight in memory."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText

from mllm_iqa.errors import CheckpointError
from mllm_iqa.registry import resolve

from ..parts import Part, part_of


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear layer: where it belongs and its size."""

    part: Part
    inputs: int
    outputs: int


@dataclass(frozen=True, slots=True)
class Shape:
    """What a configuration says about a model.

    Attributes:
        config: of transformers.
        parameters: number in each part; a tied output layer counts with the embeddings.
        linear: every linear layer but the output layer.
    """

    config: Any
    parameters: dict[Part, int]
    linear: tuple[Linear, ...]

    @property
    def total(self) -> int:
        """All parameters."""
        return sum(self.parameters.values())


def shape_names() -> list[str]:
    """Hub repositories (without their owners) whose configurations ship with the package."""
    folder = files(__package__) / "model_configs"
    return sorted(f.name.removesuffix(".json") for f in folder.iterdir() if f.name.endswith(".json"))


def read_config(model: str) -> Any:
    """The configuration of a registry name, a directory, a hub id whose configuration ships here, or a cached hub id.

    Raises:
        CheckpointError: none of them; one sentence.
    """
    source = resolve(model)
    name = source.rpartition("/")[2]
    if not os.path.isdir(source) and name in shape_names():
        text = (files(__package__) / "model_configs" / f"{name}.json").read_text(encoding="utf-8")
        values = json.loads(text)
        return AutoConfig.for_model(values.pop("model_type"), **values)
    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{model}: no configuration in a folder of that name, in the hub's cache or on the hub; without a download "
            f"there are {', '.join(shape_names())}"
        ) from error


def shape_of(config: Any) -> Shape:
    """Build the model on the meta device and count.

    Raises:
        CheckpointError: a configuration of something else than an image-text-to-text model.
    """
    try:
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(config)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise CheckpointError(f"a {config.model_type} model does not turn pictures and text into text") from error
    parameters: dict[Part, int] = {}
    for name, parameter in model.named_parameters():  # a tied one once
        parameters[part_of(name)] = parameters.get(part_of(name), 0) + parameter.numel()
    linear = tuple(
        Linear(part_of(name), module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and part_of(name) != "output layer"
    )
    return Shape(config, parameters, linear)
