"""Recipes that tune a model: by examples ("tune") or by rewards ("reward")."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..parts import Component, Target
from .objective import LossWeights

_STRICT = ConfigDict(extra="forbid", frozen=True)

Method: TypeAlias = Literal["full", "lora", "qlora"]
Optimizer: TypeAlias = Literal["adamw", "adamw-8bit", "paged-adamw-8bit"]


class Source(BaseModel):
    """Examples to take from a file or folder; see `read_examples`.

    Attributes:
        path: records (folder of Parquet shards, or one), or a CSV or Parquet table of scored pictures.
        split: only rows of this split; None = all.
        limit: at most so many, chosen at random by `seed`; None = all.
    """

    model_config = _STRICT

    path: Path
    split: str | None = None
    limit: int | None = Field(gt=0, default=None)
    seed: int = 0


class Lora(BaseModel):
    """LoRA.

    Attributes:
        rank, alpha: its changes are scaled by alpha / rank.
        dropout: share of what enters its layers.
        targets: whose linear layers it adapts.
        full: components all of whose weights learn beside it, as Q-Align's abstractor does; saved with the adapter.
    """

    model_config = _STRICT

    rank: int = Field(gt=0)
    alpha: int = Field(gt=0)
    dropout: float = Field(ge=0, lt=1, default=0.0)
    targets: tuple[Target, ...] = Field(min_length=1)
    full: tuple[Literal["projector", "vision"], ...] = ()

    @model_validator(mode="after")
    def _one_way_each(self) -> Lora:
        if both := sorted(set(self.targets) & set(self.full)):
            raise ValueError(f"{both[0]} is under targets and under full; it learns in one way or the other")
        return self


class _Weighing(BaseModel):
    """Fields are weights of which one at least is above 0, but for those named in `_settings`."""

    model_config = _STRICT

    _settings: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="after")
    def _something_counts(self) -> _Weighing:
        if not any(value > 0 for name, value in self if name not in self._settings):
            raise ValueError("at least one weight must be above 0")
        return self


class Weights(_Weighing):
    """Weights of the parts of the loss; see `LossWeights`."""

    _settings = frozenset({"human_std"})

    text: float = Field(ge=0)
    level: float = Field(ge=0)
    fidelity: float = Field(ge=0, default=0.0)
    severity: float = Field(ge=0, default=0.0)
    human_std: float = Field(gt=0, default=0.5)

    def loss_weights(self) -> LossWeights:
        """The same as the loss takes them."""
        return LossWeights(**self.model_dump())


class Optimization(BaseModel):
    """How the weights move.

    Attributes:
        epochs: over the training examples; may be a fraction. steps: instead, optimizer steps.
        batch_size: of one forward pass on one device; accumulation: passes per optimizer step.
        learning_rate: at the peak; warmup: share of the steps before it; schedule: after it.
        weight_decay, max_grad_norm: of AdamW and of clipping.
        optimizer: "adamw"; "adamw-8bit" and "paged-adamw-8bit" come from bitsandbytes, the latter needs CUDA.
        precision: of the forward pass; bf16 keeps the weights that learn in float32.
        gradient_checkpointing: recompute activations instead of keeping them.
    """

    model_config = _STRICT

    epochs: float | None = Field(gt=0, default=None)
    steps: int | None = Field(gt=0, default=None)
    batch_size: int = Field(gt=0)
    accumulation: int = Field(gt=0, default=1)
    learning_rate: float = Field(gt=0)
    warmup: float = Field(ge=0, lt=1, default=0.03)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    weight_decay: float = Field(ge=0, default=0.0)
    max_grad_norm: float = Field(gt=0, default=1.0)
    optimizer: Optimizer = "adamw"
    precision: Literal["bf16", "fp32"] = "bf16"
    gradient_checkpointing: bool = False

    @model_validator(mode="after")
    def _one_length(self) -> Optimization:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give either epochs or steps")
        return self


class Validation(BaseModel):
    """How often the validation pictures are scored, in steps, and after how many times without a gain to stop."""

    model_config = _STRICT

    every: int = Field(gt=0)
    patience: int | None = Field(gt=0, default=None)


class TuneRecipe(BaseModel):
    """Tune a model on examples.

    Attributes:
        name, version: of what comes out.
        model: name, folder or hub id of what is tuned.
        output: folder of logs, resumable states and the result.
        train: to learn from. valid: to choose the best state by, never the test set. test: measured once, before and
            after, for the card.
        labels, assumed_std: see `LabelPolicy`.
        method: "lora", "qlora" (the base in 4 bits) or "full". lora: for the first two. parts: for "full", what learns.
        weights, optimization, validation: see there.
        max_pixels: budget of one picture; None = the model's own.
        seed: of everything random; threads: of the CPU, 0 = as torch takes them; save_every: steps between states.
        wandb: project to log to besides TensorBoard; None = none.
        licence: of the result.
        source: where published settings are from.
    """

    model_config = _STRICT

    kind: Literal["tune"]
    name: str
    version: str
    model: str
    output: Path
    train: tuple[Source, ...] = Field(min_length=1)
    valid: tuple[Source, ...] = ()
    test: tuple[Source, ...] = ()
    labels: Literal["soft", "two-level", "hard"] = "soft"
    assumed_std: float = Field(gt=0, default=0.5)
    method: Method
    lora: Lora | None = None
    parts: tuple[Component, ...] = ()
    weights: Weights
    optimization: Optimization
    validation: Validation | None = None
    max_pixels: int | None = Field(ge=1024, default=None)
    seed: int = 0
    threads: int = Field(ge=0, default=0)
    save_every: int = Field(gt=0, default=100)
    wandb: str | None = None
    licence: str
    source: str | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> TuneRecipe:
        if (self.method == "full") != (self.lora is None):
            raise ValueError("lora must be given for the methods lora and qlora, and only for them")
        if (self.method == "full") != bool(self.parts):
            raise ValueError("parts must be given for the method full, and only for it")
        if bool(self.valid) != (self.validation is not None):
            raise ValueError("valid and validation go together: pictures to choose by, and how often to look")
        return self


class Rewards(_Weighing):
    """Weights of the rewards for an answer; see `rewards`. A reward of weight 0 is not computed.

    Attributes:
        ranking: agreement of the order of predicted scores with people's (VisualQuality-R1).
        score: 1 where the score lies within `tolerance` MOS units of people's (Q-Insight).
        distortion, severity: the right kind, and the right severity of it (Q-Insight).
    """

    _settings = frozenset({"tolerance"})

    ranking: float = Field(ge=0, default=0.0)
    score: float = Field(ge=0, default=0.0)
    tolerance: float = Field(gt=0, default=0.35)
    distortion: float = Field(ge=0, default=0.0)
    severity: float = Field(ge=0, default=0.0)


class RewardRecipe(BaseModel):
    """Tune a model by rewards for answers it samples (GRPO), with LoRA.

    Attributes:
        name, version, model, output, train, max_pixels, seed, threads, save_every, wandb, licence, source: as in
            `TuneRecipe`.
        lora, optimization: as there; the batch size counts answers.
        rewards: what an answer is rewarded for.
        answers: sampled for each picture; max_new_tokens: of each; temperature: of the sampling.
        kl: weight of the penalty for leaving the untuned model.
    """

    model_config = _STRICT

    kind: Literal["reward"]
    name: str
    version: str
    model: str
    output: Path
    train: tuple[Source, ...] = Field(min_length=1)
    lora: Lora
    optimization: Optimization
    rewards: Rewards
    answers: int = Field(ge=2)
    max_new_tokens: int = Field(gt=0)
    temperature: float = Field(gt=0, default=1.0)
    kl: float = Field(ge=0)
    max_pixels: int | None = Field(ge=1024, default=None)
    seed: int = 0
    threads: int = Field(ge=0, default=0)
    save_every: int = Field(gt=0, default=100)
    wandb: str | None = None
    licence: str
    source: str | None = None
