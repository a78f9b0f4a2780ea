"""Cuts between shots, from small grey versions of neighbouring frames: cheap beside decoding."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

_SIZE = (64, 36)
_JUMP = 0.10  # mean absolute change of lightness, of the full range, from which on two frames may be of two shots
_TIMES = 4.0  # and by how much it must exceed what changed lately, so that fast motion is no cut
_MEMORY = 12  # frames
_APART = 0.5  # seconds


def is_jump(change: float, lately: list[float]) -> bool:
    """Whether a change between two frames is a cut, given the changes before it.

    Args:
        change: mean absolute difference of lightness, in [0, 1].
        lately: the same of the frames before, newest last; empty at the beginning.
    """
    return change >= _JUMP and change >= _TIMES * (float(np.median(lately)) if lately else 0.0)


class CutFinder:
    """Looks at every frame in turn; holds one small grey frame and a few numbers."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self._lately: deque[float] = deque(maxlen=_MEMORY)
        self._last_cut = 0.0

    def is_cut(self, frame: Any, seconds: float) -> bool:
        """Whether a new shot begins with this PyAV frame; two cuts lie at least half a second apart."""
        small = frame.reformat(width=_SIZE[0], height=_SIZE[1], format="gray", interpolation="AREA")
        grey = small.to_ndarray().astype(np.float32) / 255
        before, self._before = self._before, grey
        if before is None:
            return False
        change = float(np.abs(grey - before).mean())
        jump = is_jump(change, list(self._lately))
        self._lately.append(change)
        if not jump or seconds - self._last_cut < _APART:
            return False
        self._last_cut = seconds
        return True
