"""LoRA's dropout on a CPU, where torch draws a random number for every value and spends more on it than on the layer.

The same dropout from 16 random bits a value, so that its rate is met to 1 / 131072; in other draws than torch's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_STEPS = 2**16


class CpuDropout(nn.Dropout):
    """As `nn.Dropout`, from torch's global generator."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Values of any shape, some of them 0 and the others larger by 1 / (1 - p), in training."""
        if not self.training or self.p == 0 or input.device.type != "cpu":
            return super().forward(input)
        dropped = round(self.p * _STEPS)
        count = input.numel()
        # 64 bits at a time; without a range given the topmost would always be 0.
        bits = torch.empty(-(-count // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:count]
        kept = (bits >= dropped - _STEPS // 2).view(input.shape)
        return input * kept.to(input.dtype).mul_(_STEPS / (_STEPS - dropped))


def use_cpu_dropout(model: Any) -> Any:
    """Put it into the LoRA layers of a model that peft has wrapped; returns the model."""
    from peft.tuners.lora import LoraLayer

    for module in model.modules():
        if isinstance(module, LoraLayer):
            for name, dropout in module.lora_dropout.items():
                if isinstance(dropout, nn.Dropout):
                    module.lora_dropout[name] = CpuDropout(dropout.p)
    return model
