"""What scoring gives: sections of figures, tables and charts, plain enough for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mllm_iqa.agreement import Figure

ChartKind = Literal["scatter", "bars", "confusion", "reliability"]


@dataclass(frozen=True, slots=True)
class Named:
    """A figure under its name; `note` says what a reader must know, such as why it is undefined."""

    name: str
    figure: Figure
    note: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under column names; cells are text, numbers (NaN = undefined) or None."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """What to draw, as data.

    kind "scatter": x, y, ids, fit (list of [x, y]), band (residual half-width), x_label, y_label.
    kind "bars": labels, values, low, high, label. kind "confusion": labels, counts. kind "reliability": bins, label.
    """

    kind: ChartKind
    title: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """An item worth looking at, and why."""

    id: str
    why: str


@dataclass(frozen=True, slots=True)
class Section:
    """What one measure found."""

    name: str
    title: str
    figures: tuple[Named, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    best: tuple[Case, ...] = ()
    worst: tuple[Case, ...] = ()
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; what is undefined is None."""
        values: dict[str, Any] = plain(asdict(self))
        return values


def plain(value: Any) -> Any:
    """JSON values without NaN or infinities: both become None."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def number(value: Any) -> str:
    """A cell of a table: three decimals, integers as they are, undefined values said so."""
    if value is None:
        return "undefined"
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value)


def scored(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows that have an answer."""
    return [row for row in rows if "answer" in row]
