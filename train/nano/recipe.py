"""The recipe of kind "nano": which data, which stages, where the result goes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

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
    optimizer: Literal["adamw", "muon"] = "adamw"

    def loop_plan(self) -> LoopPlan:
        """The same settings as the loop takes them."""
        return LoopPlan(**self.model_dump())


class NanoRecipe(BaseModel):
    """A run: which data, which stages, where the result goes.

    Attributes:
        name, version: of the checkpoint that comes out.
        bank: folder written by `mllm-iqa data bank`.
        teacher: MobileNetV1 weights (.npz) whose features are distilled in stage 1.
        output: folder of logs, resumable states and the finished checkpoint.
        seed: of weights and batches; threads: of the CPU, 0 = as many as torch takes by itself.
        assumed_std: rater spread in MOS units where none is published.
        max_pixels: default pixel budget of one picture, written into the card.
        start: checkpoint folder whose model goes on with the last stage, instead of the first two stages; of several,
            the mean of their weights (stochastic weight averaging, Izmailov et al. 2018).
        vision, instruct, whole: the three stages.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["nano"] = "nano"
    name: str
    version: str
    bank: Path
    teacher: Path
    output: Path
    seed: int = 0
    threads: int = Field(ge=0, default=0)
    assumed_std: float = Field(gt=0, default=0.5)
    max_pixels: int = Field(ge=1024)
    start: tuple[Path, ...] = ()
    vision: StagePlan | None = None
    instruct: StagePlan | None = None
    whole: StagePlan

    @field_validator("start", mode="before")
    @classmethod
    def _one_or_several(cls, given: object) -> object:
        return (given,) if isinstance(given, str | Path) else given

    @model_validator(mode="after")
    def _one_beginning(self) -> NanoRecipe:
        both = self.vision is not None and self.instruct is not None
        neither = self.vision is None and self.instruct is None
        if not (neither if self.start else both):
            raise ValueError("either start, or both vision and instruct, must be given")
        return self
