"""The architecture of `nano`: a small Qwen3-VL whose patch embedding starts as a whitened DCT."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase
from transformers.models.qwen3_vl import (
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLTextConfig,
    Qwen3VLVisionConfig,
)

HIDDEN = 256


def vision_config() -> Qwen3VLVisionConfig:
    """Seven blocks of width 256 on 16-px patches; DeepStack taps after blocks 2 and 4, where low-level detail is."""
    return Qwen3VLVisionConfig(
        depth=7,
        hidden_size=HIDDEN,
        intermediate_size=4 * HIDDEN,
        num_heads=4,
        patch_size=16,
        spatial_merge_size=2,
        temporal_patch_size=2,
        out_hidden_size=HIDDEN,
        num_position_embeddings=256,
        deepstack_visual_indexes=[1, 3],
    )


def text_config(vocab_size: int, pad_token_id: int, eos_token_id: int) -> Qwen3VLTextConfig:
    """Four layers of width 256 with heads of 64 (a size vLLM's CPU and GPU kernels both take)."""
    return Qwen3VLTextConfig(  # type: ignore[call-arg]  # the base class's fields
        vocab_size=vocab_size,
        hidden_size=HIDDEN,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=8192,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 1e5,
            "mrope_section": [12, 10, 10],
            "mrope_interleaved": True,
        },
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=eos_token_id,
        pad_token_id=pad_token_id,
    )


def dct_patch_weights(patch: int = 16, width: int = HIDDEN, luma: int = 184) -> np.ndarray:
    """A whitened two-dimensional DCT basis over RGB patches.

    Natural pictures have power falling with frequency, so each basis vector is scaled by the square of its radial
    frequency (bounded): all channels then start with similar variance and fine detail is not drowned.

    Args:
        patch: side of a patch in pixels.
        width: number of output channels.
        luma: how many of them see luma; the rest see the two chroma axes, lowest frequencies first.

    Returns:
        float32, shape (width, 3, patch, patch).
    """
    n = np.arange(patch)
    basis = np.sqrt(2 / patch) * np.cos(np.pi * (n[None, :] + 0.5) * n[:, None] / patch)
    basis[0] /= np.sqrt(2)
    v, u = np.meshgrid(n, n, indexing="ij")
    order = np.argsort((u + v).ravel(), kind="stable")
    # Luma: every frequency up to the cut, then an even sample of the highest, where noise lives.
    low, high = order[: luma - 48], order[luma - 48 :]
    luma_picks = np.concatenate([low, high[np.linspace(0, len(high) - 1, 48).astype(int)]])
    chroma = width - luma
    axes = {
        "y": np.array([0.299, 0.587, 0.114]),
        "cb": np.array([-0.169, -0.331, 0.5]),
        "cr": np.array([0.5, -0.419, -0.081]),
    }
    low_chroma = order[: chroma // 2 - 8]
    high_chroma = order[chroma // 2 - 8 :]
    chroma_picks = np.concatenate([low_chroma, high_chroma[np.linspace(0, len(high_chroma) - 1, 8).astype(int)]])
    rows = [("y", k) for k in luma_picks] + [(axis, k) for k in chroma_picks for axis in ("cb", "cr")]
    weights = np.zeros((width, 3, patch, patch))
    for channel, (axis, k) in enumerate(rows[:width]):
        i, j = divmod(int(k), patch)
        gain = min(1.0 + np.hypot(i, j) ** 1.1, 16.0) / patch
        weights[channel] = gain * axes[axis][:, None, None] * np.outer(basis[i], basis[j])
    return weights.astype(np.float32)


def set_patch_weights(visual: Any, weights: np.ndarray) -> None:
    """Write (width, 3, P, P) patch weights into a vision tower, split evenly over its two equal frames."""
    kernel = torch.from_numpy(weights)[:, :, None].repeat(1, 1, 2, 1, 1) / 2
    with torch.no_grad():
        visual.patch_embed.proj.weight.copy_(kernel)
        visual.patch_embed.proj.bias.zero_()


def start_from_energies(visual: Any, patches: torch.Tensor, gain: float = 2.0, share: float = 0.7) -> None:
    """Whiten the patch embedding on real patches and let the first MLP begin as |x| of every channel.

    Noise, blur and compression show in the energy of frequencies, an even function of DCT coefficients that random
    initial weights take long to find: with gelu(gx) + gelu(-gx) ~ |gx| written into half of the first MLP, mean
    tokens carry band energies from the first step (kind cross-entropy 2.04 after 72 steps of 96 crops; 2.87 after 80
    without, and 2.77 after 600).

    Args:
        visual: a `Qwen3VLVisionModel` whose MLP is at least twice as wide as its hidden size.
        patches: (N, 3 * T * P * P) patches of natural pictures, clean and distorted, as the tower takes them.
        gain: g above.
        share: weight of |x| beside x.
    """
    mlp = visual.blocks[0].mlp
    eye = torch.eye(HIDDEN)
    with torch.no_grad():
        spread = visual.patch_embed(patches).std(dim=0)
        visual.patch_embed.proj.weight.div_(spread[:, None, None, None, None])
        mlp.linear_fc1.weight[:HIDDEN] += gain * eye
        mlp.linear_fc1.weight[HIDDEN : 2 * HIDDEN] -= gain * eye
        mlp.linear_fc2.weight[:, :HIDDEN] += share / gain * eye
        mlp.linear_fc2.weight[:, HIDDEN : 2 * HIDDEN] += share / gain * eye


def build_nano(tokenizer: PreTrainedTokenizerBase) -> Qwen3VLForConditionalGeneration:
    """A fresh `nano` (random weights but for the patch embedding) for the given tokenizer."""
    ids: dict[str, Any] = {name: tokenizer.convert_tokens_to_ids(token) for name, token in SPECIAL.items()}
    config = Qwen3VLConfig(
        text_config=text_config(len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id).to_dict(),
        vision_config=vision_config().to_dict(),
        tie_word_embeddings=True,
        **ids,
    )
    model = Qwen3VLForConditionalGeneration(config)  # type: ignore[no-untyped-call]
    set_patch_weights(model.model.visual, dct_patch_weights())
    return model


SPECIAL = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
