"""Right and wrong: partial credit for several distortions, ordinal errors of severities, confusion counts."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import numpy as np


def partial_credit(predicted: AbstractSet[str], truth: AbstractSet[str]) -> float:
    """1 / max(|predicted|, |truth|) for every hit (DepictQA, You et al., 2024); 1 where both are empty."""
    most = max(len(predicted), len(truth))
    return len(predicted & truth) / most if most else 1.0


def ordinal_errors(predicted: Sequence[int], truth: Sequence[int]) -> np.ndarray:
    """Predicted minus true step of each item, int, shape (N,)."""
    return np.asarray(np.asarray(predicted, dtype=int) - np.asarray(truth, dtype=int))


def confusion(predicted: Sequence[str], truth: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Counts, int, shape (L, L): row = true label, column = predicted one.

    Raises:
        ValueError: a label that is not listed, or lists of different length.
    """
    place = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    for said, true in zip(predicted, truth, strict=True):
        if said not in place or true not in place:
            raise ValueError(f"{said if said not in place else true!r} is none of the labels {', '.join(labels)}")
        counts[place[true], place[said]] += 1
    return counts
