"""Two exact speed-ups of the Qwen3-VL vision tower on a CPU, installed on one model instance.

The stock tower embeds patches with a Conv3d whose kernel covers its whole input, and attends picture by picture in
a Python loop. A Conv3d of that shape is a matrix product; pictures of equal size can attend in one batched call.
Both give the same numbers up to float rounding (tested), and training and serving use both.
"""

from __future__ import annotations

from inspect import signature
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision


def _linear_patch_embed(self: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    """Patches of shape (N, C*T*P*P) -> (N, hidden): the convolution as one matrix product."""
    weight = self.proj.weight.flatten(1)
    return nn.functional.linear(hidden_states.to(weight.dtype), weight, self.proj.bias)


def _batched_attention(
    self: Any,
    hidden_states: torch.Tensor,
    cu_seqlens: torch.Tensor,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    **kwargs: Any,
) -> torch.Tensor:
    """Self-attention within each picture; runs of equally large pictures go through one call.

    `hidden_states` has shape (total patches, hidden); `cu_seqlens` the cumulative patch counts, from 0.
    """
    total = hidden_states.shape[0]
    qkv = self.qkv(hidden_states).reshape(total, 3, self.num_heads, -1)
    cos, sin = position_embeddings
    query, key = apply_rotary_pos_emb_vision(qkv[:, 0], qkv[:, 1], cos, sin)
    value = qkv[:, 2]
    lengths = torch.diff(cu_seqlens).tolist()
    outputs = []
    start = first = 0
    while first < len(lengths):
        last = first
        while last < len(lengths) and lengths[last] == lengths[first]:
            last += 1
        end = start + (last - first) * lengths[first]
        q, k, v = (
            x[start:end].reshape(last - first, lengths[first], self.num_heads, -1).transpose(1, 2)
            for x in (query, key, value)
        )
        attended = nn.functional.scaled_dot_product_attention(q, k, v, scale=self.scaling)
        outputs.append(attended.transpose(1, 2).reshape(end - start, -1))
        start, first = end, last
    projected: torch.Tensor = self.proj(torch.cat(outputs) if len(outputs) > 1 else outputs[0])
    return projected


def speed_up(visual: nn.Module) -> nn.Module:
    """Install both speed-ups on a `Qwen3VLVisionModel` instance and return it; weights and state dict are untouched."""
    patch_embed: Any = visual.patch_embed
    patch_embed.forward = MethodType(_linear_patch_embed, patch_embed)
    blocks: Any = visual.blocks
    for block in blocks:
        block.attn.forward = MethodType(_batched_attention, block.attn)
    return visual


def takes_encoded_pictures(model: Any) -> bool:
    """Whether a `Qwen3VLModel` can be handed pictures its tower has already encoded (`mm_encoder_outputs`).

    transformers before 5.18 swallows the unknown argument and answers without having seen the pictures.
    """
    return "mm_encoder_outputs" in signature(model.forward).parameters


def patchify(pixels: np.ndarray, patch: int = 16, merge: int = 2) -> torch.Tensor:
    """Equal-size pictures as the vision tower's input, as the Qwen2-VL image processor orders it (tested equal).

    Args:
        pixels: uint8 RGB, shape (B, H, W, 3), H and W multiples of `patch * merge`.
        patch: side of a patch in pixels.
        merge: patches merged per side.

    Returns:
        float32, shape (B * H/patch * W/patch, 3 * 2 * patch * patch), values in [-1, 1]; each picture stands twice
        along the temporal axis.
    """
    batch, height, width, _ = pixels.shape
    step = patch * merge
    if height % step or width % step:
        raise ValueError(f"sides must be multiples of {step}, got {width}x{height}")
    x = torch.from_numpy(pixels).float().div_(127.5).sub_(1.0)
    x = x.view(batch, height // step, merge, patch, width // step, merge, patch, 3)
    x = x.permute(0, 1, 4, 2, 5, 7, 3, 6)
    x = x.unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, 2, -1, -1)
    return x.reshape(batch * (height // patch) * (width // patch), 3 * 2 * patch * patch)


def grid_of(pixels: np.ndarray, patch: int = 16) -> torch.Tensor:
    """`image_grid_thw` of pictures of shape (B, H, W, 3): int64, shape (B, 3), rows (1, H/patch, W/patch)."""
    batch, height, width, _ = pixels.shape
    return torch.tensor([[1, height // patch, width // patch]]).repeat(batch, 1)
