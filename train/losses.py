"""The losses, as pure functions of tensors; every one has a hand-derived test."""

from __future__ import annotations

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


def text_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the words to be said: a mean over each row's tokens, then over rows.

    A row counts as much as any other however long its answer, so that the loss of a batch is the mean of the losses of
    its rows, whichever share a batch. A word that carries a soft label must be -100 here (`kl_to_soft_label` has it).

    Args:
        logits: (N, T, V); position t predicts labels[:, t].
        labels: (N, T) int64 token ids; -100 where nothing is learned.

    Returns:
        Scalar >= 0 in nats; a row without a token to learn counts 0.
    """
    if logits.shape[:-1] != labels.shape:
        raise ValueError(f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)} differ in rows or positions")
    each = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="none")
    count = (labels != -100).sum(dim=1).clamp(min=1)
    return (each.view(labels.shape).sum(dim=1) / count).mean()


def ordinal(probs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Squared earth mover's distance between distributions over ordered classes (Hou et al., 2016, eq. 5, l = 2).

    Unlike a KL it charges more for a class that lies further off: the squared differences of the two cumulative
    distributions, summed over classes, averaged over rows.

    Args:
        probs: (N, C) of the model over the classes in their order, each row summing to 1.
        target: (N, C), each row summing to 1.

    Returns:
        Scalar in [0, C - 1]; 0 exactly when the two agree, and for no rows.
    """
    if probs.shape != target.shape:
        raise ValueError(f"probs {tuple(probs.shape)} and target {tuple(target.shape)} differ in shape")
    if not len(probs):
        return probs.sum() * 0.0
    return (probs.cumsum(dim=-1) - target.cumsum(dim=-1)).square().sum(dim=-1).mean()


def same_group_pairs(groups: torch.Tensor) -> torch.Tensor:
    """Index pairs (2, P) of different items i < j with groups[i] == groups[j]; groups is (N,) of any integers."""
    i, j = torch.triu_indices(len(groups), len(groups), offset=1, device=groups.device)
    same = groups[i] == groups[j]
    return torch.stack([i[same], j[same]])


def fidelity(
    mos: torch.Tensor,
    std: torch.Tensor,
    human_mos: torch.Tensor,
    human_std: float | torch.Tensor,
    *,
    groups: torch.Tensor | None = None,
) -> torch.Tensor:
    """Fidelity loss over all pairs of one data set (Tsai et al., 2007; as used by DeQA-Score, eq. 8).

    p_hat = Phi((s_a - s_b) / sqrt(v_a + v_b + 1)), p = Phi((m_a - m_b) / sqrt(w_a + w_b)) with w the squared human_std,
    loss = 1 - sqrt(p p_hat) - sqrt((1 - p)(1 - p_hat)).

    Args:
        mos: (N,) predicted means.
        std: (N,) predicted spreads.
        human_mos: (N,) human means on the same data set.
        human_std: spread of the human means, > 0: one for all, or (N,).
        groups: (N,) which data set each is of: only pairs within one count; None = all are of one.

    Returns:
        Scalar in [0, 1], averaged over pairs; 0 where there is no pair.
    """
    given = [mos, std, human_mos, *(x for x in (human_std, groups) if isinstance(x, torch.Tensor))]
    if any(x.shape != mos.shape for x in given):
        raise ValueError("mos, std and human_mos, and human_std and groups if tensors, must have one common shape (N,)")
    a, b = same_group_pairs(torch.zeros_like(mos, dtype=torch.long) if groups is None else groups)
    if not len(a):
        return mos.sum() * 0.0
    # Not validated: a loss that is not finite is the trainer's to report, with the records of the batch.
    normal = torch.distributions.Normal(0.0, 1.0, validate_args=False)
    spread = torch.sqrt(std[a] ** 2 + std[b] ** 2 + 1.0)
    # Both clamped: at p = 0 or 1 (float32: a human gap of 5.4 standard deviations) the roots' gradient is NaN.
    p_hat = normal.cdf((mos[a] - mos[b]) / spread).clamp(1e-6, 1 - 1e-6)  # type: ignore[no-untyped-call]
    human = human_std if isinstance(human_std, torch.Tensor) else torch.full_like(mos, human_std)
    gap = (human_mos[a] - human_mos[b]) / torch.sqrt(human[a] ** 2 + human[b] ** 2)
    p = normal.cdf(gap).clamp(1e-6, 1 - 1e-6)  # type: ignore[no-untyped-call]
    return (1 - torch.sqrt(p * p_hat) - torch.sqrt((1 - p) * (1 - p_hat))).mean()
