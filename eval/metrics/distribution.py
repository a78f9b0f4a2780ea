"""Predicted against human distributions over the five levels: KL, JS, earth mover's distance, spread."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from mllm_iqa.levels import VALUES


def _checked(probs: np.ndarray) -> np.ndarray:
    p = np.asarray(probs, dtype=float)
    if p.ndim != 2 or p.shape[1] != 5 or (p < 0).any() or not np.allclose(p.sum(axis=1), 1.0, atol=1e-6):
        raise ValueError(f"distributions must have shape (N, 5) with rows that sum to 1, got {p.shape}")
    return p


def kl_divergence(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """KL(truth || predicted) in nats per row, >= 0, inf where the prediction rules out what people said.

    Args:
        truth: shape (N, 5), aligned with `LEVELS`, rows summing to 1.
        predicted: the same.

    Returns:
        Shape (N,).
    """
    return np.asarray(entropy(_checked(truth), _checked(predicted), axis=1))


def js_divergence(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence in bits per row, in [0, 1]; shapes as in `kl_divergence`."""
    return np.asarray(jensenshannon(_checked(truth), _checked(predicted), base=2, axis=1) ** 2)


def earth_movers(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """First Wasserstein distance on the MOS scale per row, in [0, 4]; shapes as in `kl_divergence`."""
    steps = np.abs(np.diff(VALUES))
    apart = np.cumsum(_checked(truth) - _checked(predicted), axis=1)[:, :-1]
    return np.asarray((np.abs(apart) * steps).sum(axis=1))
