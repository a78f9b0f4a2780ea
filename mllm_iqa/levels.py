"""The five quality levels, their values, and the maths between level probabilities, MOS and soft labels.

Levels and their order are defined here and nowhere else. Everything is a pure function over NumPy arrays.
Sources: Q-Align (Wu et al., ICML 2024, section 3) for the read-out; DeQA-Score (You et al., CVPR 2025,
section 4) for soft labels, from which `soft_label` differs on purpose (see its docstring).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

LEVELS: tuple[str, ...] = ("excellent", "good", "fair", "poor", "bad")
"""Level words from best to worst."""

VALUES: np.ndarray = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
"""The MOS each level stands for, aligned with `LEVELS`."""
VALUES.setflags(write=False)

SEVERITIES: tuple[str, ...] = ("slight", "moderate", "obvious", "serious", "catastrophic")
"""Severity words from 1 (slight) to 5 (catastrophic)."""

MOS_MIN, MOS_MAX = 1.0, 5.0


def level_probs(level_logprobs: np.ndarray) -> np.ndarray:
    """Probabilities of the five levels given that the answer is one of them.

    Args:
        level_logprobs: shape (..., 5), log-probabilities (natural log, any common offset) aligned with `LEVELS`.

    Returns:
        Shape (..., 5), each row summing to 1: the softmax of the five log-probabilities (Q-Align, eq. 3).
    """
    x = np.asarray(level_logprobs, dtype=np.float64)
    if x.shape[-1:] != (5,):
        raise ValueError(f"level_logprobs must have shape (..., 5), got {x.shape}")
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def outside_mass(level_logprobs: np.ndarray) -> np.ndarray:
    """Probability, in [0, 1], that the model put on anything but the five level words.

    Args:
        level_logprobs: shape (..., 5), log-probabilities over the full vocabulary (not renormalised).

    Returns:
        Shape (...,). Tiny negative values from rounding are clipped to 0.
    """
    inside = np.exp(np.asarray(level_logprobs, dtype=np.float64)).sum(axis=-1)
    return np.asarray(np.clip(1.0 - inside, 0.0, 1.0))


def mos_of(probs: np.ndarray) -> np.ndarray:
    """Mean opinion score in [1, 5] of level probabilities of shape (..., 5): sum of value times probability."""
    return np.asarray(np.asarray(probs, dtype=np.float64) @ VALUES)


def std_of(probs: np.ndarray) -> np.ndarray:
    """Standard deviation, in [0, 2], of the level distribution around its mean; shape (..., 5) -> (...)."""
    p = np.asarray(probs, dtype=np.float64)
    spread = (VALUES - mos_of(p)[..., None]) ** 2
    return np.asarray(np.sqrt((p * spread).sum(axis=-1)))


def level_of_mos(mos: float) -> str:
    """The level word nearest to a MOS in [1, 5]; halves round towards the better level."""
    if not MOS_MIN <= mos <= MOS_MAX:
        raise ValueError(f"mos must lie in [1, 5], got {mos}")
    return LEVELS[5 - min(5, max(1, math.floor(mos + 0.5)))]


def soft_label(mos: float, std: float) -> np.ndarray:
    """Level distribution whose mean is exactly `mos`, shaped like a normal density of the given spread.

    The normal mass over [l - 0.5, l + 0.5] (tails in the end bins) is tilted by exp(t * l), with t solved so
    that the mean is exactly `mos`. DeQA-Score instead shifts and clips the bins, which can miss a sum of 1 by up
    to 0.10 and turns mos = 3 with a large std into a uniform label; the tilt keeps both properties everywhere.

    Args:
        mos: in [1, 5].
        std: in MOS units, > 0. Where the raters' spread is unknown use `two_level_label` or state an assumed std.

    Returns:
        Shape (5,), aligned with `LEVELS` (best first), summing to 1. A mos at an end is one-hot.
    """
    if not MOS_MIN <= mos <= MOS_MAX:
        raise ValueError(f"mos must lie in [1, 5], got {mos}")
    if not std > 0:
        raise ValueError(f"std must be positive, got {std}; use two_level_label where the spread is unknown")
    if mos in (MOS_MIN, MOS_MAX):
        return np.asarray(np.equal(VALUES, mos), dtype=np.float64)
    edges = np.array([-np.inf, 1.5, 2.5, 3.5, 4.5, np.inf])
    base = np.diff(ndtr((edges - mos) / std))[::-1]
    base = np.maximum(base, 1e-300)

    def tilted(t: float) -> np.ndarray:
        log_p = np.log(base) + t * (VALUES - 3.0)
        p = np.exp(log_p - log_p.max())
        return np.asarray(p / p.sum())

    t = brentq(lambda t: float(tilted(t) @ VALUES) - mos, -700.0, 700.0, xtol=1e-13, rtol=1e-14)
    return tilted(float(t))


def two_level_label(mos: float) -> np.ndarray:
    """Level distribution with mean `mos` that uses only the two neighbouring levels (the policy for unknown std).

    Args:
        mos: in [1, 5].

    Returns:
        Shape (5,), aligned with `LEVELS`; e.g. 3.7 -> 0.7 good + 0.3 fair.
    """
    if not MOS_MIN <= mos <= MOS_MAX:
        raise ValueError(f"mos must lie in [1, 5], got {mos}")
    return np.asarray(np.maximum(0.0, 1.0 - np.abs(VALUES - mos)))
