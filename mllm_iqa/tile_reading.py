"""What a model reads in tiles: MOS, distortions and their severities, through the two primitives of any engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .finding import read_kinds, read_severities
from .images import Picture
from .prompt_files import load_prompt
from .scoring import main_kind
from .types import Failure

if TYPE_CHECKING:
    from .assistant import Assistant


@dataclass(frozen=True, slots=True, eq=False)
class TileReading:
    """Readings of N tiles.

    Attributes:
        mos: float64 (N,), 1..5; NaN where the model gave no score.
        probs: float64 (N, 1 + len(KINDS)), probability of no distortion, then of each kind; None where the model
            cannot tell.
        severities: int (N,), 1..5 of the most probable kind; 0 where no distortion is found. None as `probs`.
    """

    mos: np.ndarray
    probs: np.ndarray | None
    severities: np.ndarray | None


def read_tiles(
    assistant: Assistant,
    tiles: Sequence[Picture],
    *,
    batch_size: int = 16,
    advance: Callable[[int], None] | None = None,
) -> TileReading:
    """Read every tile as if it were a picture of its own.

    Args:
        assistant: the model.
        tiles: at least one.
        batch_size: tiles in one call of the engine; does not change what is read.
        advance: told, after each call, how many tiles it read.
    """
    mos, probs, severities = [], [], []
    finds = "explain" in assistant.can
    for start in range(0, len(tiles), batch_size):
        some = tiles[start : start + batch_size]
        results = assistant.score_many(some, explain=False, language=_language(assistant), batch_size=batch_size)
        mos += [np.nan if isinstance(result, Failure) else result.mos for result in results]
        if finds:
            some_probs, some_severities = _found(assistant, some)
            probs.append(some_probs)
            severities.append(some_severities)
        if advance is not None:
            advance(len(some))
    return TileReading(
        np.array(mos), np.concatenate(probs) if finds else None, np.concatenate(severities) if finds else None
    )


def _language(assistant: Assistant) -> str:
    """One that the model speaks; only numbers are read, in the same words whatever it is."""
    languages = assistant.backend.languages
    return "en" if "en" in languages else languages[0]


def _found(assistant: Assistant, tiles: Sequence[Picture]) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, 1 + K) of no distortion and each kind, and the severities (N,) of what is there."""
    prompt = load_prompt("distortion.v1")
    asked, probs = read_kinds(assistant.backend, tiles)
    kinds = [main_kind(float(row[0]), row[1:]) for row in probs]
    named = {i: asked[i].continued(prompt.phrase("kind", kind=kind)) for i, kind in enumerate(kinds) if kind}
    severities = np.zeros(len(tiles), dtype=int)
    for i, (severity, _) in read_severities(assistant.backend, named, probs[:, 0])[1].items():
        severities[i] = severity
    return probs, severities
