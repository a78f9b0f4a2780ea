"""How a human score becomes the label of the level word: an explicit policy, never silent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mllm_iqa.levels import LEVELS, level_of_mos, soft_label, two_level_label


@dataclass(frozen=True, slots=True)
class LabelPolicy:
    """What the level word should be.

    Attributes:
        labels: "soft" = the distribution of `mllm_iqa.levels.soft_label`; "two-level" = only the two levels next to
            the score; "hard" = the one nearest level (Q-Align).
        assumed_std: spread of the raters in MOS units where a table gives none; needed by "soft".
    """

    labels: Literal["soft", "two-level", "hard"]
    assumed_std: float


def level_label(mos: float, std: float | None, policy: LabelPolicy) -> np.ndarray:
    """Probabilities of the levels, shape (5,), best first, summing to 1.

    Args:
        mos: in [1, 5].
        std: of its raters, > 0; None = unknown, so that the policy's assumed one is taken.
        policy: which label.
    """
    if policy.labels == "hard":
        return np.array([float(level == level_of_mos(mos)) for level in LEVELS])
    if policy.labels == "two-level":
        return two_level_label(mos)
    return soft_label(mos, policy.assumed_std if std is None else std)
