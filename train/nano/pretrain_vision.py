"""Stage 1: teach the vision tower what damage and quality look like, with small throw-away heads instead of text.

Reading a label off pooled visual tokens costs a fraction of a language-model pass, so the tower sees several times
more pictures in the same time. What is kept are the tower and its mergers; the heads are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mllm_iqa.checkpoints import sha256_of
from mllm_iqa.fast_vision import grid_of, patchify, speed_up
from mllm_iqa.images import load_image, resized
from mllm_iqa.levels import VALUES, soft_label
from mllm_iqa.taxonomy import KINDS

from ..losses import fidelity, kl_to_soft_label
from .data import CropShards, photo_batch, plan_of, read_photos
from .loop import LoopPlan, optimise, parameter_groups
from .model import HIDDEN, dct_patch_weights, set_patch_weights, start_from_energies, vision_config
from .teacher import FEATURES, teacher_features

KIND_INDEX = {kind: i for i, kind in enumerate(KINDS)}
NONE = len(KINDS)


@dataclass(frozen=True, slots=True)
class Targets:
    """Labels of one batch as tensors; rows without a label are masked by weight 0.

    Attributes:
        kinds: (N, 24) target distribution over kinds and "none"; all zero = unknown.
        severity: (N,) 0..4 of the main distortion, -100 = none or unknown.
        levels: (N, 5) soft label.
        mos: (N,).
        teacher: (N, 1024) or None.
        teacher_weight: (N,) or None.
    """

    kinds: torch.Tensor
    severity: torch.Tensor
    levels: torch.Tensor
    mos: torch.Tensor
    teacher: torch.Tensor | None = None
    teacher_weight: torch.Tensor | None = None


class VisionWithHeads(nn.Module):
    """The tower with linear read-outs of mean-pooled final and DeepStack tokens."""

    def __init__(self) -> None:
        super().__init__()
        from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel

        tower = Qwen3VLVisionModel._from_config(vision_config(), attn_implementation="sdpa")  # type: ignore[no-untyped-call]
        self.visual = speed_up(tower)
        set_patch_weights(self.visual, dct_patch_weights())
        width = HIDDEN * (1 + len(vision_config().deepstack_visual_indexes))
        self.norm = nn.LayerNorm(width)
        self.kinds = nn.Linear(width, len(KINDS) + 1)
        self.severity = nn.Linear(width, 5)
        self.levels = nn.Linear(width, 5)
        self.photo_levels = nn.Linear(width, 5)
        self.teacher = nn.Linear(width, FEATURES)

    def forward(self, pixels: np.ndarray) -> dict[str, torch.Tensor]:
        """uint8 RGB (B, H, W, 3) -> logits of each head and the teacher's predicted features."""
        out = self.visual(patchify(pixels), grid_thw=grid_of(pixels), return_dict=True)
        tokens = torch.cat([out.pooler_output, *out.deepstack_features], dim=-1)
        pooled = self.norm(tokens.view(len(pixels), -1, tokens.shape[-1]).float().mean(dim=1))
        return {
            name: getattr(self, name)(pooled) for name in ("kinds", "severity", "levels", "photo_levels", "teacher")
        }


def synthetic_targets(batch: list[Any], std: float) -> Targets:
    """Targets of `data_build` synthetic pictures (objects with `findings` and `mos`); a second kind gets 0.4."""
    kinds = torch.zeros(len(batch), len(KINDS) + 1)
    severity = torch.full((len(batch),), -100)
    for row, item in enumerate(batch):
        weights = (0.6, 0.4) if len(item.findings) == 2 else (1.0,)
        for (kind, _), weight in zip(item.findings, weights, strict=False):
            kinds[row, KIND_INDEX[kind]] += weight
        if item.findings:
            severity[row] = item.findings[0][1] - 1
        else:
            kinds[row, NONE] = 1.0
    return Targets(kinds, severity, soft_labels([x.mos for x in batch], std), torch.tensor([x.mos for x in batch]))


def photo_targets(batch: list[Any], features: np.ndarray, std: float) -> Targets:
    """Targets of `data_build` photo views: human MOS and, for whole views, the teacher's features."""
    return Targets(
        torch.zeros(len(batch), len(KINDS) + 1),
        torch.full((len(batch),), -100),
        soft_labels([x.mos for x in batch], std),
        torch.tensor([x.mos for x in batch]),
        torch.from_numpy(features[[x.index for x in batch]]),
        torch.tensor([1.0 if x.whole else 0.3 for x in batch]),
    )


def soft_labels(mos: list[float], std: float) -> torch.Tensor:
    """(N, 5) soft labels of MOS values with an assumed rater spread, in `LEVELS` order."""
    return torch.from_numpy(np.stack([soft_label(m, std) for m in mos])).float()


def loss_of(out: dict[str, torch.Tensor], targets: Targets) -> tuple[torch.Tensor, dict[str, float]]:
    """The stage's loss and its parts: kind CE + 0.5 severity CE + level KL (+ 0.5 fidelity + teacher on photos)."""
    photo = targets.teacher is not None
    logprobs = F.log_softmax(out["photo_levels" if photo else "levels"], dim=-1)
    parts = {"levels": kl_to_soft_label(logprobs, targets.levels)}
    if targets.teacher is not None and targets.teacher_weight is not None:
        values = torch.from_numpy(VALUES.copy()).float()
        mos = logprobs.exp() @ values
        std = ((logprobs.exp() * (values - mos[:, None]) ** 2).sum(-1) + 1e-6).sqrt()
        parts["fidelity"] = 0.5 * fidelity(mos, std, targets.mos, 0.5)
        error = F.smooth_l1_loss(out["teacher"], targets.teacher, reduction="none").mean(dim=-1)
        parts["teacher"] = 2.0 * (error * targets.teacher_weight).mean()
    else:
        parts["kinds"] = -(targets.kinds * F.log_softmax(out["kinds"], dim=-1)).sum(-1).mean()
        parts["severity"] = 0.5 * F.cross_entropy(out["severity"], targets.severity, ignore_index=-100)
    total = torch.stack(list(parts.values())).sum()
    return total, {name: float(value.detach()) for name, value in parts.items()}


def load_tower(path: Path) -> dict[str, torch.Tensor]:
    """State dict of the trained tower alone (without heads), from a checkpoint of this stage."""
    state = torch.load(path, map_location="cpu", weights_only=True)["model"]
    return {k.removeprefix("visual."): v for k, v in state.items() if k.startswith("visual.")}


def pretrain(bank: Path, teacher_weights: Path, folder: Path, plan: LoopPlan, *, seed: int, std: float) -> Path:
    """Run the stage; returns its checkpoint. Batches cycle through `MIX` in proportion to its shares.

    Args:
        bank: folder written by `mllm-iqa data bank`.
        teacher_weights: MobileNetV1 weights (.npz).
        folder: of this stage's log and checkpoint; a run found there is resumed.
        plan: optimiser settings.
        seed: of weights and batches.
        std: assumed spread of human ratings in MOS units (BIQ2021 and the pseudo-MOS publish none).
    """
    torch.manual_seed(seed)
    photos = read_photos(bank, "train")
    cache = folder / "teacher.npy"
    if not cache.exists():
        folder.mkdir(parents=True, exist_ok=True)
        whole = [resized(load_image(p.path).pixels, 256, 256) for p in photos]
        np.save(cache, teacher_features(teacher_weights, whole))
    features = np.load(cache)
    shards = {size: CropShards(bank, "train", f"{size}px") for size in (96, 128, 256)}
    model = VisionWithHeads()
    sample = np.stack([c.pixels for c in shards[96].batch(0, 192)])
    start_from_energies(model.visual, patchify(sample))

    choices = np.random.default_rng(seed).choice(len(MIX), size=plan.steps, p=[share for *_, share in MIX])

    def make_batch(number: int) -> tuple[np.ndarray, Targets]:
        choice = choices[number]
        what, size, count, _ = MIX[choice]
        turn = int((choices[:number] == choice).sum())
        if what == "photo":
            views = photo_batch(photos, size=size, count=count, seed=seed, number=turn, share_whole=0.7)
            return np.stack([v.pixels for v in views]), photo_targets(views, features, std)
        crops = shards[size].batch(turn, count)
        return np.stack([c.pixels for c in crops]), synthetic_targets(crops, std)

    def step_loss(batch: tuple[np.ndarray, Targets]) -> tuple[torch.Tensor, dict[str, float]]:
        pixels, targets = batch
        with torch.autocast("cpu", torch.bfloat16, enabled=plan.bf16):
            out = model(pixels)
        total, parts = loss_of({name: value.float() for name, value in out.items()}, targets)
        prefix = "photo" if targets.teacher is not None else "synthetic"
        return total, {f"{prefix}_{name}": value for name, value in parts.items()}

    settings: dict[str, object] = {"seed": seed, "mix": MIX, "assumed_std": std}
    settings |= {"teacher": sha256_of(teacher_weights), "bank": plan_of(bank)}
    optimise(model, parameter_groups(model, plan), make_batch, step_loss, plan, folder, settings)
    return folder / "state.pt"


MIX: tuple[tuple[str, int, int, float], ...] = (
    ("synthetic", 96, 96, 0.42),
    ("synthetic", 128, 64, 0.17),
    ("synthetic", 256, 16, 0.06),
    ("photo", 256, 16, 0.35),
)
"""(what, side in px, pictures per batch, share of batches)."""
