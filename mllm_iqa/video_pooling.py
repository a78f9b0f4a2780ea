"""From scores of frames to one score of the video. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

POOLINGS: dict[str, str] = {
    "mean": "mean over time",
    "harmonic": "harmonic mean over time, which low scores pull down",
    "worst10": "mean of the worst tenth of the time",
}
"""Ways to pool, and what they are in words."""

_WORST = 0.1


def time_weights(seconds: Sequence[float]) -> np.ndarray:
    """How much time each frame stands for, float64 (N,), summing to 1.

    Each stands for the time to halfway to its neighbours; the first and last for as much on their outer side as on
    their inner one. So frames that were added after cuts do not count more than others.

    Args:
        seconds: of N >= 1 frames, rising; equal times share.
    """
    times = np.asarray(seconds, dtype=np.float64)
    if not len(times) or (np.diff(times) < 0).any():
        raise ValueError("times of at least one frame, in rising order, are needed")
    if len(times) == 1 or times[-1] == times[0]:
        return np.full(len(times), 1 / len(times))
    gaps = np.diff(times)
    spans = (np.append(gaps, gaps[-1]) + np.append(gaps[0], gaps)) / 2
    return np.asarray(spans / spans.sum())


def pooled(mos: Sequence[float], weights: np.ndarray, pooling: str) -> float:
    """One score in [1, 5] from those of frames.

    Args:
        mos: of N >= 1 frames, each in [1, 5].
        weights: shape (N,), non-negative, summing to 1.
        pooling: "mean"; "harmonic" = 1 / mean of 1 / mos; "worst10" = mean over the tenth of the time with the lowest
            scores (of a frame that reaches beyond it, the part within).
    """
    values = np.asarray(mos, dtype=np.float64)
    if pooling == "mean":
        return float(weights @ values)
    if pooling == "harmonic":
        return float(1 / (weights @ (1 / values)))
    if pooling != "worst10":
        raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}, got {pooling!r}")
    order = np.argsort(values, kind="stable")
    before = np.concatenate([[0.0], np.cumsum(weights[order])[:-1]])
    part = np.clip(_WORST - before, 0, weights[order])
    return float(part @ values[order] / part.sum())
