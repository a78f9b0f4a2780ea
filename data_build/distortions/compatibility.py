"""Which two distortions may be combined, and in which order they happen to a picture."""

from __future__ import annotations

from collections.abc import Iterable

from ..crops import _STAGE
from . import DISTORTIONS


def compatible(first: str, second: str) -> bool:
    """Whether two distortions belong to different stages on the way of a picture."""
    stages = {_STAGE.get(DISTORTIONS[name].family) for name in (first, second)}
    return len(stages) == 2 and None not in stages


def in_order(names: Iterable[str]) -> list[str]:
    """Names of compatible distortions in the order in which they happen."""
    return sorted(names, key=lambda name: _STAGE[DISTORTIONS[name].family])
