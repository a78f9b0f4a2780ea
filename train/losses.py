"""The losses, as pure functions of tensors; every one has a hand-derived test."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F


def kl_to_soft_label(logprobs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """KL(target || model), averaged over rows (DeQA-Score, You et al., CVPR 2025, eq. 6).

    Args:
        logprobs: (N, V) log-probabilities of the model over everything it could have said.
        target: (N, V) probabilities, each row summing to 1; zero entries contribute nothing.

    Returns:
        Scalar >= 0 in nats; 0 exactly when the two agree.
    """
    if logprobs.shape != target.shape:
        raise ValueError(f"logprobs {tuple(logprobs.shape)} and target {tuple(target.shape)} differ in shape")
    said = logprobs.masked_fill(target == 0, 0.0)  # else 0 * -inf, where the model rules a word out, is NaN
    return F.kl_div(said, target, reduction="none").sum(dim=-1).mean()


def fidelity(mos: torch.Tensor, std: torch.Tensor, human_mos: torch.Tensor, human_std: float) -> torch.Tensor:
    """Fidelity loss over all pairs of one data set (Tsai et al., 2007; as used by DeQA-Score, eq. 8).

    p_hat = Phi((s_a - s_b) / sqrt(v_a + v_b + 1)), p = Phi((m_a - m_b) / (sqrt 2 human_std)),
    loss = 1 - sqrt(p p_hat) - sqrt((1 - p)(1 - p_hat)).

    Args:
        mos: (N,) predicted means.
        std: (N,) predicted spreads.
        human_mos: (N,) human means on the same data set.
        human_std: assumed spread of a human mean, > 0.

    Returns:
        Scalar in [0, 1], averaged over pairs; 0 for fewer than two pictures.
    """
    if mos.shape != human_mos.shape or mos.shape != std.shape:
        raise ValueError("mos, std and human_mos must have one common shape (N,)")
    if len(mos) < 2:
        return mos.sum() * 0.0
    a, b = torch.triu_indices(len(mos), len(mos), offset=1)
    normal = torch.distributions.Normal(0.0, 1.0)
    spread = torch.sqrt(std[a] ** 2 + std[b] ** 2 + 1.0)
    # Both clamped: at p = 0 or 1 (float32: a human gap of 5.4 standard deviations) the roots' gradient is NaN.
    p_hat = normal.cdf((mos[a] - mos[b]) / spread).clamp(1e-6, 1 - 1e-6)  # type: ignore[no-untyped-call]
    gap = (human_mos[a] - human_mos[b]) / (math.sqrt(2) * human_std)
    p = normal.cdf(gap).clamp(1e-6, 1 - 1e-6)  # type: ignore[no-untyped-call]
    return (1 - torch.sqrt(p * p_hat) - torch.sqrt((1 - p) * (1 - p_hat))).mean()
