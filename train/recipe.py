"""Recipes: everything a training run depends on, in one strict YAML file."""

from __future__ import annotations

import difflib
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mllm_iqa.errors import ConfigError

from .loop import LoopPlan


class StagePlan(BaseModel):
    """Optimiser settings of one stage; see `LoopPlan`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    warmup: int = Field(ge=0)
    weight_decay: float = Field(ge=0, default=0.05)
    save_every: int = Field(gt=0, default=100)
    bf16: bool = False

    def loop_plan(self) -> LoopPlan:
        """The same settings as the loop takes them."""
        return LoopPlan(**self.model_dump())


class Recipe(BaseModel):
    """A run: which data, which stages, where the result goes.

    Attributes:
        name, version: of the checkpoint that comes out.
        bank: folder written by `mllm-iqa data bank`.
        teacher: MobileNetV1 weights (.npz) whose features are distilled in stage 1.
        output: folder of logs, resumable states and the finished checkpoint.
        seed: of weights and batches; threads: of the CPU, 0 = as many as torch takes by itself.
        assumed_std: rater spread in MOS units where none is published.
        max_pixels: default pixel budget of one picture, written into the card.
        start: checkpoint folder whose model goes on with the last stage, instead of the first two stages.
        vision, instruct, whole: the three stages.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    bank: Path
    teacher: Path
    output: Path
    seed: int = 0
    threads: int = Field(ge=0, default=0)
    assumed_std: float = Field(gt=0, default=0.5)
    max_pixels: int = Field(ge=1024)
    start: Path | None = None
    vision: StagePlan | None = None
    instruct: StagePlan | None = None
    whole: StagePlan

    @model_validator(mode="after")
    def _one_beginning(self) -> Recipe:
        both = self.vision is not None and self.instruct is not None
        neither = self.vision is None and self.instruct is None
        if not (both if self.start is None else neither):
            raise ValueError("either start, or both vision and instruct, must be given")
        return self


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe; a ConfigError lists every mistake at once, unknown keys with the nearest known one."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such recipe")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Recipe.model_validate(data)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    except ValidationError as error:
        raise ConfigError(
            f"{path}: " + "; ".join(_mistake(e["loc"], e["msg"], e["type"]) for e in error.errors())
        ) from error


def _mistake(place: tuple[int | str, ...], message: str, kind: str) -> str:
    where = ".".join(map(str, place)) or "recipe"
    if kind != "extra_forbidden":
        return f"{where}: {message}"
    known = StagePlan.model_fields if len(place) > 1 else Recipe.model_fields
    near = difflib.get_close_matches(str(place[-1]), known, n=1)
    return f"{where}: unknown key" + (f", did you mean {near[0]}?" if near else "")
