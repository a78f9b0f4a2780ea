"""Overlap of predicted and true regions: boxes and masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SIDE = 1000  # boxes are in thousandths of the sides


def box_mask(box: Sequence[int]) -> np.ndarray:
    """A box [left, top, right, bottom] in thousandths as a bool mask (1000, 1000)."""
    left, top, right, bottom = box
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def mask_iou(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union of two bool masks of one shape, in [0, 1]; 1 where both are empty."""
    _same_shape(predicted, truth)
    union = int((predicted | truth).sum())
    return int((predicted & truth).sum()) / union if union else 1.0


def mask_f1(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Harmonic mean of precision and recall over pixels (Dice), in [0, 1]; 1 where both are empty."""
    _same_shape(predicted, truth)
    area = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / area if area else 1.0


def _same_shape(predicted: np.ndarray, truth: np.ndarray) -> None:
    if predicted.shape != truth.shape or predicted.dtype != np.bool_ or truth.dtype != np.bool_:
        raise ValueError(f"masks must be bool and of one shape, got {predicted.shape} and {truth.shape}")
