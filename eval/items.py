"""What a task asks about: one question with its pictures, what people or the maker of the picture know, and a group."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mllm_iqa.errors import DataError
from mllm_iqa.images import ImageSource


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One question of a test set.

    Attributes:
        id: unique in the set.
        pictures: in the order they are shown; read when their turn comes.
        group: what is resampled together, such as all versions of one reference.
        ask: what the question says, plain JSON values.
        truth: what metrics compare the answer with, plain JSON values. No model sees it.
        tags: what figures are broken down by, e.g. {"distortion": "blur"}.
    """

    id: str
    pictures: tuple[ImageSource, ...]
    group: str
    truth: dict[str, Any]
    ask: dict[str, Any] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def written(self) -> dict[str, Any]:
        """What the predictions file says of the item itself."""
        return {"id": self.id, "group": self.group, "tags": self.tags, "ask": self.ask, "truth": self.truth}


def digest(items: Sequence[Item]) -> str:
    """SHA-256 of questions and truths in their order; pictures are not read.

    Raises:
        DataError: no items, or two with one id.
    """
    if not items:
        raise DataError("the test set holds nothing that this task asks about")
    seen: set[str] = set()
    sha = hashlib.sha256()
    for item in items:
        if item.id in seen:
            raise DataError(f"the test set has two items with the id {item.id!r}")
        seen.add(item.id)
        sha.update(canonical(item.written()).encode() + b"\n")
    return sha.hexdigest()


def canonical(value: object) -> str:
    """JSON with sorted keys: equal values give equal text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
