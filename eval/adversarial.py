"""How far a score can be moved by noise that a viewer cannot see: projected gradient steps on the score itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

BUDGETS_255THS: tuple[int, ...] = (1, 2, 4)
"""Largest change of any channel of any pixel, in 255ths."""


def attacked(
    pixels: np.ndarray,
    score: Callable[[torch.Tensor], torch.Tensor],
    *,
    budget_255ths: int,
    raise_it: bool = True,
    steps: int = 10,
) -> np.ndarray:
    """The picture changed to move its score, by projected sign-gradient ascent (PGD; Madry et al., ICLR 2018).

    Starts at the picture itself, so that the result is the same in every run; each of the steps is 2.5 / steps of the
    budget. The result is rounded to 8 bits towards the budget's inside, since that is what a file could hold.

    Args:
        pixels: uint8 RGB (H, W, 3).
        score: differentiable, (N, 3, H, W) in [0, 1] -> (N,).
        budget_255ths: no value moves further than this.
        raise_it: move the score up; else down.
        steps: gradient steps.

    Returns:
        uint8 RGB (H, W, 3), within the budget.
    """
    start = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255
    budget = budget_255ths / 255
    low, high = (start - budget).clamp(0, 1), (start + budget).clamp(0, 1)
    x = start
    for _ in range(steps):
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(score(x).sum(), x)
        step = 2.5 * budget / steps * gradient.sign()
        x = torch.maximum(torch.minimum(x + step if raise_it else x - step, high), low)
    whole: np.ndarray = torch.round(x.detach()[0].permute(1, 2, 0) * 255).to(torch.uint8).cpu().numpy()
    return whole


def noisy(pixels: np.ndarray, *, budget_255ths: int, seed: int = 0) -> np.ndarray:
    """The control: every value moved by the whole budget, up or down at random."""
    signs = np.random.default_rng(seed).integers(0, 2, pixels.shape) * 2 - 1
    moved: np.ndarray = np.clip(pixels.astype(np.int16) + budget_255ths * signs, 0, 255)
    return moved.astype(np.uint8)
