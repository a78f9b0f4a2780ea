"""The loss of a batch: its parts, their weights, and the score a batch's predictions amount to."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from mllm_iqa.levels import VALUES

from ..losses import fidelity, kl_to_soft_label, ordinal, same_group_pairs, text_cross_entropy
from .collate import SCALES, Targets


@dataclass(frozen=True, slots=True)
class LossWeights:
    """What each part of the loss counts; a part of weight 0 is not computed.

    DeQA-Score (You et al., CVPR 2025; its released settings) takes text 0.05, level 0.05, fidelity 1; Q-Align (Wu et
    al., ICML 2024) text and level alike, without the others. Neither is a law: they are settings of the recipe.

    Attributes:
        text: cross-entropy of the answer's tokens but the labeled word.
        level: KL of the soft label to the model at the labeled word, summed over the word's tokens, meaned over rows.
        fidelity: ranking of pictures of one data set within a batch.
        severity: squared earth mover's distance of severity words, beside their KL.
        human_std: spread of a human mean that the ranking assumes where none is known, in MOS units.
    """

    text: float
    level: float
    fidelity: float
    severity: float
    human_std: float


def batch_loss(
    logits: torch.Tensor, targets: Targets, weights: LossWeights
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The weighted loss and its unweighted parts.

    All parts but the ranking are means over the batch's rows, so that the loss of a large batch is the mean of those of
    equal parts of it (gradient accumulation, several processes). The ranking's pairs lie within one such part.

    Args:
        logits: (N, K, V) float, at the positions `targets.keep`.
        targets: of the batch.
        weights: of the parts.

    Returns:
        A scalar, and detached scalars by name; "pairs" counts the pairs that the ranking saw.
    """
    parts: dict[str, torch.Tensor] = {}
    logprobs = F.log_softmax(logits[targets.soft_row, targets.soft_at].float(), dim=-1)
    if weights.text:
        parts["text"] = text_cross_entropy(logits.float(), targets.labels)
    if weights.level:
        # Only tokens that the label gives any probability enter the KL, so gathering them leaves it the full one.
        kl = kl_to_soft_label(logprobs.gather(1, targets.soft_tokens), targets.soft_probs) if len(logprobs) else None
        zero = logits.sum() * 0.0
        parts["level"] = zero if kl is None else kl * len(logprobs) / len(targets.names)
    if weights.fidelity:
        rows = rated_rows(targets)
        probs = word_probs(logits[rows], targets, rows)
        mos, std = mos_and_std(probs)
        human = torch.where(targets.std[rows].isnan(), weights.human_std, targets.std[rows])
        groups = targets.dataset[rows]
        parts["fidelity"] = fidelity(mos, std, targets.mos[rows], human, groups=groups)
        parts["pairs"] = torch.tensor(float(same_group_pairs(groups).shape[1]))
    if weights.severity:
        rows = torch.nonzero(targets.scale == SCALES["severity"]).flatten()
        said = word_probs(logits[rows], targets, rows)
        parts["severity"] = ordinal(said, targets.word_probs[rows]) * len(rows) / len(targets.names)
    weight = {"text": weights.text, "level": weights.level, "fidelity": weights.fidelity, "severity": weights.severity}
    total = torch.stack([weight[name] * part for name, part in parts.items() if name in weight]).sum()
    return total, {name: part.detach() for name, part in parts.items()}


def rated_rows(targets: Targets) -> torch.Tensor:
    """Rows whose labeled word is a level and whose human score is known."""
    return torch.nonzero((targets.scale == SCALES["level"]) & ~targets.mos.isnan()).flatten()


def word_probs(logits: torch.Tensor, targets: Targets, rows: torch.Tensor) -> torch.Tensor:
    """(R, 5) probabilities of five words among themselves, by their first tokens; `logits` (R, K, V) are of `rows`."""
    at = logits[torch.arange(len(rows), device=logits.device), targets.word_at[rows]].float()
    return at.gather(1, targets.word_first[rows]).softmax(dim=-1)


def mos_and_std(probs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and spread, each (R,), of level probabilities (R, 5), best first."""
    values = torch.tensor(VALUES, dtype=probs.dtype, device=probs.device)
    mos = probs @ values
    # Under the root a little is added: at a spread of 0 its gradient is infinite.
    return mos, ((probs * (values - mos[:, None]) ** 2).sum(dim=-1) + 1e-6).sqrt()
