"""Two models on the same items: differences with paired intervals and p-values, from two predictions files alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from mllm_iqa.agreement import plcc, srcc
from mllm_iqa.errors import DataError

from .measures.comparisons import LABEL_OF
from .metrics.labels import partial_credit
from .metrics.pairs import rank_agreement, two_afc
from .metrics.regions import box_mask, mask_iou
from .metrics.significance import mcnemar, paired_difference
from .metrics.texts import term_f1
from .predictions import Predictions
from .score import spec_of
from .task import Row

PerItem = Callable[[Row], float]


def _family_credit(row: Row) -> float:
    if row["truth"].get("findings") is None:  # nobody knows what is wrong with it
        return float("nan")
    said = {finding["family"] for finding in row["answer"]["distortions"]}
    return partial_credit(said, {finding["family"] for finding in row["truth"]["findings"]})


PER_ITEM: dict[str, dict[str, PerItem]] = {
    "choices": {
        "accuracy, letter": lambda r: float(np.argmax(r["answer"]["letter"][0]) == r["truth"]["right"]),
        "accuracy, option's words": lambda r: float(np.argmax(r["answer"]["text"]) == r["truth"]["right"]),
        "accuracy, generated": lambda r: float(r["answer"].get("choice") == r["truth"]["right"]),
    },
    "identification": {"family, partial credit": _family_credit},
    "severity": {
        "exact": lambda r: float(r["answer"]["severity"] == r["truth"]["severity"]),
        "within one step": lambda r: float(abs(r["answer"]["severity"] - r["truth"]["severity"]) <= 1),
    },
    "comparisons": {"2AFC, ties count half": lambda r: two_afc(r["answer"]["winner"], r["truth"]["prefers_first"])},
    "imperfect": {
        "three-way accuracy": lambda r: float(LABEL_OF[r["answer"]["winner"]] == r["truth"]["label"]),
    },
    "rankings": {"Kendall's tau per set": lambda r: rank_agreement(r["answer"]["strengths"], r["truth"]["mos_each"])},
    "localisation": {
        "part in words": lambda r: float(r["answer"]["part"] == r["truth"]["region"]),
        "box, mean IoU": lambda r: (
            mask_iou(box_mask(r["answer"]["box"]), box_mask(r["truth"]["box"])) if "box" in r["answer"] else 0.0
        ),
    },
    "descriptions": {"quality terms, F1": lambda r: term_f1(r["answer"]["text"], r["truth"]["description"])},
}
"""For each measure, what one item is worth; the statistic is the mean."""


@dataclass(frozen=True, slots=True)
class Pairing:
    """One compared figure: its name, the difference, and for right-or-wrong answers McNemar's exact p-value."""

    name: str
    difference: dict[str, Any]
    mcnemar_p: float | None


def compare_models(first: Predictions, second: Predictions) -> list[Pairing]:
    """Every figure of a task that can be compared item by item, first minus second.

    Raises:
        DataError: predictions of different tasks or test sets.
    """
    for what in ("task", "items_sha256"):
        if first.header[what] != second.header[what]:
            raise DataError(
                f"{first.path} and {second.path} differ in {what}: {first.header[what]} and {second.header[what]}; "
                "two models are compared on the same items"
            )
    both = [(a, b) for a, b in zip(first.rows, second.rows, strict=True) if "answer" in a and "answer" in b]
    total, found = len(first.rows), []
    for measure in spec_of(first).measures:
        if measure == "correlation":
            found += _correlations(both, total)
        for name, worth in PER_ITEM.get(measure, {}).items():
            found.append(_means(name, worth, both, total))
    return found


def _correlations(both: Sequence[tuple[Row, Row]], total: int) -> list[Pairing]:
    truth = np.array([a["truth"]["mos"] for a, _ in both], dtype=float)
    x, y = (np.array([pair[side]["answer"]["score"] for pair in both], dtype=float) for side in (0, 1))
    groups = [a["group"] for a, _ in both]
    found = []
    for name, metric in (("SRCC", srcc), ("PLCC, raw", plcc)):

        def statistic(values: np.ndarray, i: np.ndarray, metric: Any = metric) -> float:
            return float(metric(values[i], truth[i]))

        # Exchanging answers needs one scale; two models may score on different ones. Neither change moves the figure.
        on_one_scale = [rankdata(v) if name == "SRCC" else _standard(v) for v in (x, y)]
        difference = paired_difference(on_one_scale[0], on_one_scale[1], groups, statistic, total=total)
        found.append(Pairing(name, difference.to_dict(), None))
    return found


def _standard(values: np.ndarray) -> np.ndarray:
    spread = values.std() if len(values) else 0.0
    return (values - values.mean()) / spread if spread > 0 else values


def _means(name: str, worth: PerItem, both: Sequence[tuple[Row, Row]], total: int) -> Pairing:
    usable = [(a, b, va, vb) for a, b in both for va, vb in [(worth(a), worth(b))] if not np.isnan(va + vb)]
    x, y = np.array([one[2] for one in usable]), np.array([one[3] for one in usable])
    groups = [one[0]["group"] for one in usable]
    difference = paired_difference(x, y, groups, lambda v, i: float(v[i].mean()), total=total)
    binary = bool(len(usable)) and set(x) | set(y) <= {0.0, 1.0}
    p = mcnemar([bool(v) for v in x], [bool(v) for v in y]) if binary else None
    return Pairing(name, difference.to_dict(), p)


def largest_disagreements(first: Predictions, second: Predictions, *, most: int = 6) -> list[Mapping[str, Any]]:
    """Items the two models score most differently after standardizing; empty for tasks without scores."""
    both = [
        (a, b)
        for a, b in zip(first.rows, second.rows, strict=True)
        if "score" in a.get("answer", {}) and "score" in b.get("answer", {})
    ]
    if not both:
        return []
    x, y = (_standard(np.array([pair[side]["answer"]["score"] for pair in both], dtype=float)) for side in (0, 1))
    order = np.argsort(-np.abs(x - y), kind="stable")[:most]
    return [{"first": both[int(i)][0], "second": both[int(i)][1]} for i in order]
