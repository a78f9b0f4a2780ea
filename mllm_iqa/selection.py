"""Choosing among candidates by their quality: for best-of-N sampling, and for several candidate ground truths.

Restoration models that are trained on enhanced versions of one ground truth either take the best version, or draw one
with probability softmax(quality / temperature), so that good versions are seen often and doubtful ones seldom.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import ConfigError, DataError, ImageError
from .types import Failure, Score

if TYPE_CHECKING:
    from .assistant import Assistant
    from .images import ImageSource


def sampling_weights(mos: Sequence[float] | np.ndarray, *, temperature: float = 0.5) -> np.ndarray:
    """Probabilities with which to draw candidates: softmax of mos / temperature.

    Args:
        mos: of K >= 1 candidates, finite.
        temperature: in MOS units, > 0. At 0.5 a candidate half a level better is drawn e times as often; towards 0
            only the best is drawn, towards infinity all alike.

    Returns:
        float64, shape (K,), summing to 1.

    Raises:
        ConfigError: a temperature that is not positive and finite.
        DataError: no candidates, or a score that is no finite number.
    """
    if not 0 < temperature < float("inf"):
        raise ConfigError(f"temperature must be positive and finite, got {temperature}; use best_index for the best")
    values = _finite(mos)
    e = np.exp((values - values.max()) / temperature)
    return np.asarray(e / e.sum())


def draw_index(mos: Sequence[float] | np.ndarray, rng: np.random.Generator, *, temperature: float = 0.5) -> int:
    """The index of one candidate drawn with `sampling_weights`."""
    weights = sampling_weights(mos, temperature=temperature)
    return int(rng.choice(len(weights), p=weights))


def best_index(mos: Sequence[float] | np.ndarray) -> int:
    """The index of the best candidate, the first of equals; errors as in `sampling_weights`."""
    return int(np.argmax(_finite(mos)))


@dataclass(frozen=True, slots=True)
class Choice:
    """The best of several pictures.

    Attributes:
        index: its position; scores: of all of them, in their order.
        margin: by how much its MOS exceeds the next; 0 for equals, infinity for a single picture. A margin below the
            scores' own uncertainty (`Score.std`) is no reason to prefer it.
    """

    index: int
    scores: tuple[Score, ...]
    margin: float

    @property
    def best(self) -> Score:
        """The score of the chosen picture."""
        return self.scores[self.index]


def best_of(images: Iterable[ImageSource], assistant: Assistant, *, batch_size: int = 8) -> Choice:
    """Score candidates and choose the best.

    Args:
        images: at least one picture, anything `load_image` takes.
        assistant: the model that judges.
        batch_size: pictures per pass; does not change the scores.

    Raises:
        ImageError: a candidate cannot be read: choosing among the rest would hide that.
        DataError: no candidates.
    """
    scores: list[Score] = []
    for number, result in enumerate(assistant.score_many(images, explain=False, batch_size=batch_size)):
        if isinstance(result, Failure):
            raise ImageError(f"candidate {number}: {result.error}")
        scores.append(result)
    index = best_index([score.mos for score in scores])
    others = [score.mos for i, score in enumerate(scores) if i != index]
    return Choice(index, tuple(scores), scores[index].mos - max(others) if others else float("inf"))


def _finite(mos: Sequence[float] | np.ndarray) -> np.ndarray:
    values = np.asarray(mos, dtype=np.float64)
    if values.ndim != 1 or not len(values):
        raise DataError(f"expected the scores of at least one candidate, got an array of shape {values.shape}")
    if not np.isfinite(values).all():
        raise DataError(f"candidate {int(np.flatnonzero(~np.isfinite(values))[0])} has no finite score")
    return values
