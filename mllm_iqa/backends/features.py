"""What an engine may offer beside the two primitives: what its vision tower makes of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from ..images import Picture


@runtime_checkable
class GivesFeatures(Protocol):
    """An engine that can hand out vision features at next to no cost, from the pass that a score makes anyway."""

    def picture_features(self, pictures: Sequence[Picture]) -> np.ndarray | None:
        """Mean and standard deviation, over the places of a picture, of what the language model is shown of it.

        Returns:
            float32, shape (N, 2, D); None where the model at hand does not keep it.
        """


def features_of(backend: object, pictures: Sequence[Picture]) -> np.ndarray | None:
    """Features of pictures, shape (N, 2, D); None from an engine that gives none."""
    return backend.picture_features(pictures) if isinstance(backend, GivesFeatures) else None
