"""A frozen MobileNetV1 (ImageNet) whose pooled features serve as distillation targets. It is never shipped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from mllm_iqa.errors import DataError

FEATURES = 1024
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2)
_BN_EPS = 1e-3


class MobileNetV1(nn.Module):
    """MobileNetV1 1.0 up to its twelfth block (Howard et al., 2017), from Keras weights, batch norm folded in."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        if not weights.is_file():
            raise DataError(f"{weights}: teacher weights not found")
        table = np.load(weights)

        def conv(kernel: str, bn: str, *, stride: int, depthwise: bool = False) -> nn.Conv2d:
            w = torch.from_numpy(table[kernel]).permute((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
            gamma, beta, mean, variance = (
                torch.from_numpy(table[f"{bn}/{x}"]) for x in ("gamma", "beta", "moving_mean", "moving_variance")
            )
            scale = gamma / torch.sqrt(variance + _BN_EPS)
            out, groups = w.shape[0], w.shape[0] if depthwise else 1
            layer = nn.Conv2d(w.shape[1] * groups, out, w.shape[2], stride=stride, groups=groups)
            layer.weight.data = w * scale[:, None, None, None]
            layer.bias = nn.Parameter(beta - mean * scale)
            return layer

        layers = [conv("conv1/kernel", "conv1_bn", stride=2)]
        for i, stride in enumerate(_STRIDES, start=1):
            layers.append(conv(f"conv_dw_{i}/depthwise_kernel", f"conv_dw_{i}_bn", stride=stride, depthwise=True))
            layers.append(conv(f"conv_pw_{i}/kernel", f"conv_pw_{i}_bn", stride=1))
        self.layers = nn.ModuleList(layers)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 RGB (B, H, W, 3) -> mean-pooled features (B, 1024)."""
        x = pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0
        for layer in self.layers:
            assert isinstance(layer, nn.Conv2d)
            if layer.kernel_size == (3, 3):
                # TensorFlow's SAME padding: an odd total goes to the bottom and right.
                x = nn.functional.pad(x, (0, 1, 0, 1) if layer.stride == (2, 2) else (1, 1, 1, 1))
            x = layer(x).clamp_(0, 6)
        return x.mean(dim=(2, 3))


@torch.inference_mode()
def teacher_features(weights: Path, pictures: list[np.ndarray], batch_size: int = 32) -> np.ndarray:
    """Standardised features, float32 of shape (N, 1024), of uint8 RGB pictures of one common size (H, W even)."""
    teacher = MobileNetV1(weights).eval()
    parts = [
        teacher(torch.from_numpy(np.stack(pictures[i : i + batch_size]))).numpy()
        for i in range(0, len(pictures), batch_size)
    ]
    features = np.concatenate(parts)
    return np.asarray((features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6), dtype=np.float32)
