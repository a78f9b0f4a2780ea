"""What measures share: shares and means with intervals, breakdowns by tag."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from mllm_iqa.agreement import Figure, bootstrap

from ..results import Chart, Named, Table
from ..task import Row

_MOST = 40


def groups_of(rows: Sequence[Row]) -> list[str]:
    """The group of each row."""
    return [row["group"] for row in rows]


def mean_figure(values: Sequence[float] | np.ndarray, rows: Sequence[Row], *, total: int) -> Figure:
    """Mean of one value per row with its grouped 95 % interval; NaN values are left out and not counted in n."""
    numbers = np.asarray(values, dtype=float)
    known = np.flatnonzero(~np.isnan(numbers))
    kept = numbers[known]
    groups = [rows[int(i)]["group"] for i in known]
    return bootstrap(lambda i: float(kept[i].mean()), groups, total=total)


def tags_of(rows: Sequence[Row]) -> list[str]:
    """Tags whose values divide the rows, in a fixed order."""
    found: dict[str, set[str]] = {}
    for row in rows:
        for tag, value in row["tags"].items():
            found.setdefault(tag, set()).add(value)
    return [tag for tag in sorted(found) if 1 < len(found[tag]) <= _MOST]


def by_tag(
    rows: Sequence[Row],
    tag: str,
    measure: Callable[[Sequence[Row]], Figure],
    title: str,
) -> tuple[Table, Chart]:
    """A figure for every value of a tag, as a table and as bars.

    Args:
        rows: all of them, failed ones included, as each value counts its own.
        tag: to divide by; rows without it are left out.
        measure: of the rows of one value.
        title: what is measured, in words.
    """
    values = sorted({row["tags"][tag] for row in rows if tag in row["tags"]})
    figures = [measure([row for row in rows if row["tags"].get(tag) == value]) for value in values]
    table = Table(
        f"{title} by {tag}",
        (tag, title, "low", "high", "n", "total"),
        tuple((value, f.value, f.low, f.high, f.n, f.total) for value, f in zip(values, figures, strict=True)),
    )
    data = {
        "label": title,
        "labels": [f"{value} ({figure.n})" for value, figure in zip(values, figures, strict=True)],
        "values": [f.value for f in figures],
        "low": [f.low for f in figures],
        "high": [f.high for f in figures],
    }
    return table, Chart("bars", f"{title} by {tag}", data)


def breakdowns(
    rows: Sequence[Row], measure: Callable[[Sequence[Row]], Figure], title: str
) -> tuple[tuple[Table, ...], tuple[Chart, ...]]:
    """The figure by every tag that divides the rows."""
    pairs = [by_tag(rows, tag, measure, title) for tag in tags_of(rows)]
    drawn = [chart for _, chart in pairs if not np.isnan(chart.data["values"]).all()]
    return tuple(table for table, _ in pairs), tuple(drawn)


def distinct(rows: Sequence[Row], places: Iterable[int], most: int) -> list[int]:
    """The first places whose pictures were not among those before: several questions may show one picture."""
    kept, shown = [], set()
    for place in places:
        row = rows[place]
        seen = tuple(picture["pixels_sha256"] for picture in row.get("pictures", ())) or row["id"]
        if seen not in shown:
            shown.add(seen)
            kept.append(place)
        if len(kept) == most:
            break
    return kept


def constant(name: str, value: float, *, n: int, total: int, note: str = "") -> Named:
    """A figure that has no interval."""
    return Named(name, Figure(value, float("nan"), float("nan"), n, total), note)
