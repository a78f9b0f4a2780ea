"""What the vision tower's tokens have to tell when they are averaged: kinds of distortion, and how tones are spread.

The heads that read it are thrown away after training. Words alone teach the tower tones slowly: boosted trees on the
percentiles of a photograph's brightness and color told mild changes of tone from none better than `nano` 9 did
(docs/LOG.md). A share of pixels is a mean over tokens, so that is how it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from mllm_iqa.taxonomy import KINDS

from .model import HIDDEN, vision_config

KIND_INDEX = {kind: i for i, kind in enumerate(KINDS)}
NONE = len(KINDS)
POOLED = HIDDEN * (1 + len(vision_config().deepstack_visual_indexes))
"""Width of a picture's averaged tokens: of the last block and of every DeepStack tap."""

TONES = (2, 8, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 248, 254)
"""Values of 0..255 below which the share of a picture's pixels is asked, and of its five planes."""
PLANES = 5

KINDS_WEIGHT = 0.5
TONES_WEIGHT = 5.0
"""Weights beside the text loss of weight 1."""


def kind_targets(findings: Sequence[Sequence[tuple[str, int]]]) -> torch.Tensor:
    """(N, 24) distributions over the kinds and "none" of (kind, severity) findings; the second of two gets 0.4."""
    target = torch.zeros(len(findings), len(KINDS) + 1)
    for row, found in enumerate(findings):
        if not found:
            target[row, NONE] = 1.0
        for (kind, _), weight in zip(found, (0.6, 0.4) if len(found) == 2 else (1.0,), strict=False):
            target[row, KIND_INDEX[kind]] += weight
    return target


def tone_shares(pixels: np.ndarray) -> torch.Tensor:
    """The share of a picture's pixels below each of `TONES`, in each of five planes.

    The planes are luma, the largest and the smallest channel, chroma (their difference) and saturation (chroma over the
    largest channel).

    Args:
        pixels: uint8 RGB (B, H, W, 3); every other pixel of every other row is looked at.

    Returns:
        float32 in 0..1, (B, PLANES * len(TONES)).
    """
    few = pixels[:, ::2, ::2].astype(np.int64)
    largest, smallest = few.max(axis=-1), few.min(axis=-1)
    chroma = largest - smallest
    luma = (77 * few[..., 0] + 150 * few[..., 1] + 29 * few[..., 2]) >> 8
    planes = (luma, largest, smallest, chroma, 255 * chroma // np.maximum(largest, 1))
    shares = np.empty((len(few), PLANES, len(TONES)), np.float32)
    for p, plane in enumerate(planes):
        for row, values in enumerate(plane):
            below = np.bincount(values.ravel(), minlength=256).cumsum()
            shares[row, p] = below[np.array(TONES) - 1] / values.size
    return torch.from_numpy(shares.reshape(len(few), -1))


def pooled(encoded: Any) -> torch.Tensor:
    """Averaged tokens (B, POOLED) of B encoded pictures, as `get_image_features` gives them."""
    layers = [encoded.pooler_output, *encoded.deepstack_features]
    return torch.cat([torch.stack([tokens.float().mean(dim=0) for tokens in layer]) for layer in layers], dim=-1)


class PooledReadOuts(nn.Module):
    """Linear heads on averaged tokens: logits of the kinds and "none", and of the share of pixels below every tone."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(POOLED)
        self.kinds = nn.Linear(POOLED, len(KINDS) + 1)
        self.tones = nn.Linear(POOLED, PLANES * len(TONES))

    def losses(self, tokens: torch.Tensor, kinds: torch.Tensor, tones: torch.Tensor) -> dict[str, torch.Tensor]:
        """Weighted losses: cross-entropy of the kinds, where they are known, and KL of the shares of pixels.

        Args:
            tokens: (B, POOLED).
            kinds: (B, 24) distributions, or all zero where unknown.
            tones: (B, PLANES * len(TONES)) shares in 0..1.
        """
        tokens = self.norm(tokens)
        logits = self.tones(tokens)
        entropy = F.binary_cross_entropy(tones, tones)
        parts = {"tones": TONES_WEIGHT * (F.binary_cross_entropy_with_logits(logits, tones) - entropy)}
        known = kinds.sum(dim=1)
        if known.any():
            each = -(kinds * F.log_softmax(self.kinds(tokens), dim=-1)).sum(dim=-1)
            parts["kinds"] = KINDS_WEIGHT * each.sum() / known.sum()
        return parts
