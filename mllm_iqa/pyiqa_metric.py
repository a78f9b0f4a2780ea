"""Our models as metrics of pyiqa: `pyiqa.create_metric("mllm-iqa")`.

pyiqa finds network classes of other packages through the entry-point group `pyiqa.archs`, which names `register`. It
looks there when it first builds a metric of its own; whoever builds ours first calls `register()`.
"""

from __future__ import annotations

from typing import Any

import torch

from .assistant import Assistant
from .differentiable import FAMILIES, DifferentiableScore

METRIC = "mllm-iqa"
"""The metric's name in pyiqa; the option `model` chooses another model than nano."""


class MllmIqa(torch.nn.Module):
    """A no-reference metric on the MOS scale: (N, 3, H, W) in [0, 1] -> (N,), larger is better.

    Without gradients the value is that of `Assistant.score`; with gradients (`as_loss=True`) that of
    `DifferentiableScore`, which differs by rounding and warns about gaming.
    """

    def __init__(self, model: str = "nano", device: str = "cpu") -> None:
        super().__init__()
        self.assistant = Assistant.load(model, device=device)
        kind = getattr(getattr(getattr(self.assistant.backend, "model", None), "config", None), "model_type", None)
        self._differentiable = DifferentiableScore(self.assistant) if kind in FAMILIES else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """MOS of each picture."""
        if torch.is_grad_enabled() and x.requires_grad and self._differentiable is not None:
            return self._differentiable(x)
        pictures = [row.detach().float().cpu().clamp(0, 1).permute(1, 2, 0).numpy() for row in x]
        values = [self.assistant.score(picture, explain=False).mos for picture in pictures]
        return torch.tensor(values, dtype=torch.float32, device=x.device)


def register() -> None:
    """Make the metric known to pyiqa; calling it again changes nothing."""
    from pyiqa.default_model_configs import DEFAULT_CONFIGS
    from pyiqa.utils.registry import ARCH_REGISTRY

    registry: Any = ARCH_REGISTRY
    registry.register(MllmIqa, override=True)
    DEFAULT_CONFIGS[METRIC] = {
        "metric_opts": {"type": "MllmIqa", "model": "nano"},
        "metric_mode": "NR",
        "lower_better": False,
        "score_range": "1, 5",
    }
