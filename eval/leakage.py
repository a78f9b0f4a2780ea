"""Was the model trained on what it is tested with? By the names of data sets, as far as the model's card tells.

A name says only that the set was used, not which of its pictures; `mllm-iqa data leak` compares the pictures themselves
where both sides are at hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any


def trained_on(rows: Sequence[Mapping[str, Any]], training_data: Sequence[str]) -> list[str]:
    """Data sets of the rows that the card's training data name, sorted.

    Args:
        rows: of a predictions file; a row's data set is its tag "dataset", or its group up to the first slash.
        training_data: sentences of the card.
    """
    said = [_plain(sentence) for sentence in training_data]
    sets = {row["tags"].get("dataset") or row["group"].partition("/")[0] for row in rows}
    return sorted(name for name in sets if len(_plain(name)) > 2 and any(_plain(name) in words for words in said))


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())
