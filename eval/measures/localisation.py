"""Where the damage is: the part in words, the box by overlap, boxes that cannot be read apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..metrics.regions import box_mask, mask_f1, mask_iou
from ..results import Named, Section, scored
from ..task import Row
from .common import breakdowns, constant, mean_figure

_HIT = 0.5


def localisation(rows: Sequence[Row], options: Mapping[str, Any]) -> Section:
    """`answer.part` and `answer.box` against `truth.region` and `truth.box`; a missing box overlaps with nothing."""
    known, total = scored(rows), len(rows)
    overlaps = [_iou(row) for row in known]
    dice = [_f1(row) for row in known]
    unread = [float("box" not in row["answer"]) for row in known]
    regions = len({row["truth"]["region"] for row in known})
    figures = (
        Named("part in words", mean_figure([_part(row) for row in known], known, total=total)),
        constant("chance, of the parts there are", 1 / regions if regions else float("nan"), n=len(known), total=total),
        Named("box, mean IoU", mean_figure(overlaps, known, total=total)),
        Named("box, mean F1", mean_figure(dice, known, total=total)),
        Named(f"box, IoU of at least {_HIT}", mean_figure([o >= _HIT for o in overlaps], known, total=total)),
        Named("no box that can be read", mean_figure(unread, known, total=total)),
    )
    tables, charts = breakdowns(
        rows, lambda some: mean_figure([_part(r) for r in scored(some)], scored(some), total=len(some)), "part in words"
    )
    return Section("localisation", "Where the damage is", figures, tables, charts)


def _part(row: Row) -> float:
    return float(row["answer"]["part"] == row["truth"]["region"])


def _iou(row: Row) -> float:
    return mask_iou(box_mask(row["answer"]["box"]), box_mask(row["truth"]["box"])) if "box" in row["answer"] else 0.0


def _f1(row: Row) -> float:
    return mask_f1(box_mask(row["answer"]["box"]), box_mask(row["truth"]["box"])) if "box" in row["answer"] else 0.0
