"""The optimisation loop all stages share: AdamW or Muon, warm-up, cosine, a log, states a killed run resumes from."""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from mllm_iqa.errors import ConfigError, DataError
from mllm_iqa.output_file import replaced_at_end

from ..run_folder import check_same_run
from .data import prefetched

StepLoss = Callable[[Any], tuple[torch.Tensor, dict[str, float]]]


@dataclass(frozen=True, slots=True)
class LoopPlan:
    """Optimiser settings: steps in all, peak learning rate, warm-up steps, weight decay, how often to save.

    `optimizer` "muon" is Muon (Jordan et al., 2024) for the matrices between the tables of embeddings and the head,
    its updates scaled to the size of AdamW's (Liu et al., 2025), so that a rate means the same; AdamW for the rest.
    """

    steps: int
    learning_rate: float
    warmup: int
    weight_decay: float = 0.05
    save_every: int = 200
    bf16: bool = False
    optimizer: Literal["adamw", "muon"] = "adamw"


def cosine_with_warmup(step: int, plan: LoopPlan) -> float:
    """Learning rate of a step (from 0): linear to the peak over the warm-up, then half a cosine down to 2 % of it."""
    if step < plan.warmup:
        return plan.learning_rate * (step + 1) / plan.warmup
    progress = (step - plan.warmup) / max(1, plan.steps - plan.warmup)
    return plan.learning_rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def parameter_groups(
    model: nn.Module, plan: LoopPlan, slow: tuple[str, ...] = (), factor: float = 1.0
) -> list[dict[str, Any]]:
    """Parameter groups: no weight decay on vectors; parameters named with a `slow` prefix at lr * factor.

    Those that Muon is for are marked so where the plan asks for it.
    """
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = plan.weight_decay if parameter.ndim > 1 else 0.0
            rate = factor if name.startswith(slow) and slow else 1.0
            hidden = parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
            groups.setdefault((decay, rate, hidden and plan.optimizer == "muon"), []).append(parameter)
    return [{"params": p, "weight_decay": d, "rate": rate, "muon": muon} for (d, rate, muon), p in groups.items()]


def optimizers_of(groups: list[dict[str, Any]], plan: LoopPlan) -> list[torch.optim.Optimizer]:
    """AdamW, and Muon for the groups that are marked for it.

    Raises:
        ConfigError: Muon is asked for and this torch has none.
    """
    rest, hidden = ([group for group in groups if group["muon"] is muon] for muon in (False, True))
    optimizers: list[torch.optim.Optimizer] = []
    if rest:
        optimizers.append(torch.optim.AdamW(rest, lr=plan.learning_rate, betas=(0.9, 0.98)))
    if hidden:
        if not hasattr(torch.optim, "Muon"):
            raise ConfigError("optimizer: muon needs torch 2.9 or newer")
        optimizers.append(torch.optim.Muon(hidden, lr=plan.learning_rate, adjust_lr_fn="match_rms_adamw"))
    return optimizers


def optimise(
    model: nn.Module,
    groups: list[dict[str, Any]],
    make_batch: Callable[[int], Any],
    loss_of: StepLoss,
    plan: LoopPlan,
    folder: Path,
    settings: dict[str, object],
) -> None:
    """Train until `plan.steps`, resuming from `folder/state.pt` where it exists.

    `settings` is what else the run depends on (seed, mix, data ...); a state of other settings is refused.

    Each line of `folder/log.jsonl` is one step: losses by name, gradient norm, learning rate, seconds.

    Raises:
        ConfigError: the folder holds a run with other settings; the message names the first. Or this torch lacks Muon.
        DataError: a loss or gradient that is not finite; the message names the step.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = json.loads(json.dumps({**asdict(plan), **settings}))  # as it comes back from a file
    optimizers = optimizers_of(groups, plan)
    state_path, first = folder / "state.pt", 0
    if state_path.exists():
        state = torch.load(state_path, map_location="cpu", weights_only=True)
        check_same_run(folder, state.get("run", {}), run)
        model.load_state_dict(state["model"])
        for optimizer, was in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(was)
        first = state["step"]
    model.train()
    _cut_log(folder / "log.jsonl", first)
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
        for step, batch in enumerate(prefetched(make_batch, first, plan.steps), start=first):
            start = time.perf_counter()
            rate = cosine_with_warmup(step, plan)
            for group in (group for optimizer in optimizers for group in optimizer.param_groups):
                group["lr"] = rate * group["rate"]
            loss, parts = loss_of(batch)
            if not torch.isfinite(loss):
                raise DataError(f"the loss of step {step} is {float(loss.detach())}; parts: {parts}")
            loss.backward()  # type: ignore[no-untyped-call]
            norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            if not torch.isfinite(norm):
                raise DataError(f"the gradient of step {step} is {float(norm)}; parts of the loss: {parts}")
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            row = {"step": step, "loss": float(loss.detach()), **parts, "grad_norm": float(norm), "lr": rate}
            row["seconds"] = time.perf_counter() - start
            log.write(json.dumps({k: round(v, 6) for k, v in row.items()}) + "\n")
            if (step + 1) % 50 == 0:
                log.flush()
                print(f"step {step + 1}/{plan.steps} loss {row['loss']:.3f}", file=sys.stderr, flush=True)
            if (step + 1) % plan.save_every == 0 or step + 1 == plan.steps:
                log.flush()
                save_state(state_path, model, optimizers, step + 1, run)


def _cut_log(path: Path, step: int) -> None:
    """Leave only the steps before this one in a log: those after the last saved state are taken again."""
    if path.exists():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] < step]
        with replaced_at_end(path) as file:
            file.write("".join(kept).encode())


def digest_of(model: nn.Module) -> str:
    """Hex SHA-256 of a model's parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def save_state(
    path: Path, model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], step: int, run: dict[str, object]
) -> None:
    """Write model, optimisers, step and settings so that a kill at any moment leaves the old or the new file whole."""
    partial = path.with_suffix(".partial")
    states = [optimizer.state_dict() for optimizer in optimizers]
    state = {"model": model.state_dict(), "optimizers": states, "step": step, "run": run}
    torch.save(state, partial)
    partial.replace(path)
