"""Optimising a picture for its score without losing the picture: an objective that is hard to game.

A quality model can be gamed in three ways, and each term answers one:

- *Leaving the picture.* The score says nothing about content, so an optimiser may repaint it. `fidelity` is the mean
  squared distance to the start beyond a free radius: small corrections cost nothing, wandering off costs quadratically.
- *Invisible high-frequency patterns*, the usual adversarial example. `total_variation` is the variation added to that
  of the start; what real restoration removes (noise) lowers it, what gaming adds raises it.
- *Patterns tuned to the patch grid.* A pattern that only works at one alignment is no quality. The score is the mean
  over `views`: random shifts, flips and slight rescalings of the picture, drawn anew at every call.

None of this makes gaming impossible. Hold out a second metric, and look at the pictures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from .errors import ConfigError

ScoreFunction = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Guard:
    """How strongly each way of gaming is answered; 0 switches a term off.

    Attributes:
        fidelity: MOS that a root-mean-square distance of 0.1 beyond the free radius costs.
        free_radius: root-mean-square distance from the start, of values in [0, 1], that costs nothing.
        total_variation: MOS that an added mean absolute difference of neighbours of 0.01 costs.
        views: changed versions of each picture that are scored beside it.
        seed: of the views.
    """

    fidelity: float = 1.0
    free_radius: float = 0.02
    total_variation: float = 0.5
    views: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.fidelity, self.free_radius, self.total_variation, self.views) < 0:
            raise ConfigError(f"a guard's strengths must not be negative, got {self}")


@dataclass(frozen=True, slots=True)
class Objective:
    """What to maximise and its parts, each of shape (N,).

    Attributes:
        value: mos - fidelity_cost - variation_cost; call `.sum().backward()` on it, negated for a minimiser.
        mos: mean over the picture and its views; fidelity_cost, variation_cost: at least 0, in MOS.
    """

    value: torch.Tensor
    mos: torch.Tensor
    fidelity_cost: torch.Tensor
    variation_cost: torch.Tensor


class GuardedScore:
    """The guarded objective of pictures that started from `start`."""

    def __init__(self, score: ScoreFunction, start: torch.Tensor, *, guard: Guard | None = None) -> None:
        """Remember where the pictures started.

        Args:
            score: (N, 3, H, W) in [0, 1] -> (N,), differentiable; e.g. `DifferentiableScore`.
            start: the pictures before optimisation, shape (N, 3, H, W).
            guard: strengths; None = the defaults.
        """
        self._score = score
        self._start = start.detach().clone()
        self._guard = Guard() if guard is None else guard
        self._generator = torch.Generator().manual_seed(self._guard.seed)
        self._start_variation = total_variation(self._start)

    def __call__(self, pixels: torch.Tensor) -> Objective:
        """The objective of pictures of the start's shape, values in [0, 1]."""
        if pixels.shape != self._start.shape:
            raise ConfigError(f"the start has shape {tuple(self._start.shape)}, the pictures {tuple(pixels.shape)}")
        seen = [pixels, *(_view(pixels, self._generator) for _ in range(self._guard.views))]
        mos = torch.stack([self._score(view) for view in seen]).mean(dim=0)
        distance = (pixels - self._start).square().mean(dim=(1, 2, 3)).add(1e-12).sqrt()
        beyond = functional.relu(distance - self._guard.free_radius)
        fidelity = self._guard.fidelity * (beyond / 0.1).square()
        added = functional.relu(total_variation(pixels) - self._start_variation)
        variation = self._guard.total_variation * added / 0.01
        return Objective(mos - fidelity - variation, mos, fidelity, variation)


def total_variation(pixels: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of neighbours, both directions, of pictures (N, C, H, W); shape (N,)."""
    across = (pixels[..., :, 1:] - pixels[..., :, :-1]).abs().mean(dim=(1, 2, 3))
    down = (pixels[..., 1:, :] - pixels[..., :-1, :]).abs().mean(dim=(1, 2, 3))
    return across + down


def _view(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shifted by up to 8 pixels, perhaps flipped, rescaled to 90..110 %: what no viewer would call another quality."""

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=generator))

    height, width = pixels.shape[2:]
    top, left = draw(0, min(8, height // 8)), draw(0, min(8, width // 8))
    view = pixels[:, :, top:, left:]
    if draw(0, 1):
        view = view.flip(3)
    percent = draw(90, 110)
    size = [max(32, round(side * percent / 100)) for side in view.shape[2:]]
    return functional.interpolate(view, size=size, mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)
