"""Multiple choice: accuracy by letter, by words, by generation; unparsable answers apart; sensitivity to the order."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mllm_iqa.agreement import Figure

from ..metrics.reliability import expected_calibration_error, reliability_bins
from ..results import Case, Chart, Named, Section, Table, scored
from ..task import Row
from .common import breakdowns, constant, distinct, mean_figure

_CASES = 4


def _letter(row: Row) -> int:
    """The option chosen when options are shown in the order of the test set."""
    return int(np.argmax(row["answer"]["letter"][0]))


def _rotations(row: Row) -> list[int]:
    return [int(np.argmax(probs)) for probs in row["answer"]["letter"]]


def _averaged(row: Row) -> int:
    """The option with the highest probability over all rotations."""
    return int(np.argmax(np.mean(row["answer"]["letter"], axis=0)))


def _words(row: Row) -> int:
    return int(np.argmax(row["answer"]["text"]))


def _words_by_length(row: Row) -> int:
    lengths = [max(1, len(option)) for option in row["ask"]["options"]]
    return int(np.argmax(np.asarray(row["answer"]["text"]) / lengths))


def _said(row: Row) -> int | None:
    place: int | None = row["answer"].get("choice")
    return place


WAYS: dict[str, Callable[[Row], int | None]] = {
    "letter": _letter,
    "letter, mean over rotations": _averaged,
    "option's words": _words,
    "option's words, per character": _words_by_length,
    "generated": _said,
}


def choices(rows: Sequence[Row], options: Mapping[str, Any]) -> Section:
    """Accuracy of each way to answer; an answer that cannot be read is wrong, and has a figure of its own."""
    known, total = scored(rows), len(rows)
    figures = [Named(f"accuracy, {name}", _accuracy(rows, way)) for name, way in WAYS.items()]
    unparsable = [float("problem" in row["answer"]) for row in known]
    flips = [float(len(set(_rotations(row))) > 1) for row in known]
    spread = [float(np.mean([r == row["truth"]["right"] for r in _rotations(row)])) for row in known]
    chance = [1 / len(row["ask"]["options"]) for row in known]
    figures += [
        Named("generated answers that cannot be read", mean_figure(unparsable, known, total=total)),
        Named("letter, mean accuracy over rotations", mean_figure(spread, known, total=total)),
        Named("letter, the answer changes with the order of options", mean_figure(flips, known, total=total)),
        constant("chance", float(np.mean(chance)) if chance else float("nan"), n=len(known), total=total),
    ]
    tables, charts = breakdowns(rows, lambda some: _accuracy(some, _letter), "accuracy, letter")
    stated = [float(max(row["answer"]["letter"][0])) for row in known]
    right = [_letter(row) == row["truth"]["right"] for row in known]
    bins = reliability_bins(stated, right)
    figures.append(constant("calibration error, letter", expected_calibration_error(bins), n=len(known), total=total))
    reliability = Chart(
        "reliability", "Probability of the chosen letter", {"bins": [one.to_dict() for one in bins], "label": "right"}
    )
    return Section(
        "choices",
        "Multiple choice",
        figures=tuple(figures),
        tables=(*tables, _positions(known), _problems(known)),
        charts=(*charts, reliability),
        best=_cases(known, [(s, r) for s, r in zip(stated, right, strict=True)], want=True),
        worst=_cases(known, [(s, r) for s, r in zip(stated, right, strict=True)], want=False),
    )


def _accuracy(rows: Sequence[Row], way: Callable[[Row], int | None]) -> Figure:
    known = scored(rows)
    return mean_figure([float(way(row) == row["truth"]["right"]) for row in known], known, total=len(rows))


def _positions(rows: Sequence[Row]) -> Table:
    """How often each letter is right, and chosen: a model that likes a letter shows it here."""
    most = max((len(row["ask"]["options"]) for row in rows), default=0)
    counts = [
        (
            string.ascii_uppercase[place],
            sum(row["truth"]["right"] == place for row in rows),
            sum(_letter(row) == place for row in rows),
        )
        for place in range(most)
    ]
    return Table("Letters", ("letter", "right", "chosen"), tuple(counts))


def _problems(rows: Sequence[Row]) -> Table:
    reasons: dict[str, int] = {}
    for row in rows:
        if "problem" in row["answer"]:
            reasons[row["answer"]["problem"]] = reasons.get(row["answer"]["problem"], 0) + 1
    ordered = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))[:10]
    return Table("Generated answers that cannot be read", ("why", "n"), tuple(ordered))


def _cases(rows: Sequence[Row], stated: Sequence[tuple[float, bool]], *, want: bool) -> tuple[Case, ...]:
    """The surest right, or the surest wrong answers."""
    places = [i for i, (_, right) in enumerate(stated) if right == want]
    places.sort(key=lambda i: (-stated[i][0], rows[i]["id"]))
    cases = []
    for i in distinct(rows, places, _CASES):
        row = rows[i]
        options = row["ask"]["options"]
        said, right = options[_letter(row)], options[row["truth"]["right"]]
        cases.append(Case(row["id"], f"{row['ask']['question']} said {said} (p={stated[i][0]:.2f}), right: {right}"))
    return tuple(cases)
