"""Imperfect references (DiffIQA, SRIQA): is the picture better than its reference, as good, or worse?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mllm_iqa.errors import DataError

from ..items import Item
from .files import field, picture, read_rows

LABELS = ("better", "similar", "worse")


def read_triplets(source: Path, options: Mapping[str, Any]) -> list[Item]:
    """Rows `reference, image, label`, label one of better, similar, worse: the picture against its reference.

    Raises:
        DataError: a row without one of them, or another label.
    """
    items = []
    for number, row in enumerate(read_rows(source)):
        where = f"{source}: row {number}"
        label = field(row, "label", where)
        if label not in LABELS:
            raise DataError(f"{where}: the label {label!r} is none of {', '.join(LABELS)}")
        shown = tuple(picture(field(row, name, where), source, where) for name in ("reference", "image"))
        tags = {"label": label, **({"method": str(row["method"])} if row.get("method") is not None else {})}
        group = str(row.get("group") or row["reference"])
        items.append(Item(f"{number:06d}", shown, group, {"label": label}, {}, tags))
    return items
