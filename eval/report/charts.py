"""Charts of results as inline SVG, drawn by matplotlib; the same data gives the same bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mllm-iqa",
    "font.size": 9.0,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a8f98",
    "axes.labelcolor": "#3a3f47",
    "xtick.color": "#3a3f47",
    "ytick.color": "#3a3f47",
}
_BLUE, _ORANGE, _GREY = "#2f6db3", "#d9822b", "#8a8f98"
_BAR_HEIGHT = 0.27  # inches per bar
_MOST_CELLS_WITH_NUMBERS = 900


def svg(chart: Mapping[str, Any]) -> str:
    """One chart as an `<svg>` element.

    Args:
        chart: what `results.Chart` is as JSON; an unknown kind is a KeyError.
    """
    with matplotlib.rc_context(_STYLE):
        figure = _DRAWERS[chart["kind"]](chart["data"])
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None}, bbox_inches="tight")
    text = file.getvalue()
    return text[text.index("<svg") :].replace("<svg ", '<svg role="img" ', 1)


def _new(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def _scatter(data: Mapping[str, Any]) -> Figure:
    figure, axes = _new(4.6, 3.9)
    axes.grid(color="#eceef1", zorder=0)
    axes.scatter(data["x"], data["y"], s=14, color=_BLUE, alpha=0.55, linewidths=0, zorder=2)
    if data["fit"]:
        x, y = zip(*data["fit"], strict=True)
        band = data["band"]
        low, high = [v - band for v in y], [v + band for v in y]
        axes.fill_between(x, low, high, color=_ORANGE, alpha=0.15, linewidth=0, zorder=1)
        axes.plot(x, y, color=_ORANGE, linewidth=2, zorder=3)
    axes.set_xlabel(data["x_label"])
    axes.set_ylabel(data["y_label"])
    return figure


def _bars(data: Mapping[str, Any]) -> Figure:
    labels, values = data["labels"], [_number(v) for v in data["values"]]
    figure, axes = _new(4.8, 0.75 + _BAR_HEIGHT * max(2, len(labels)))
    places = range(len(labels))
    axes.barh(places, [0.0 if math.isnan(v) else v for v in values], color=_BLUE, height=0.62, zorder=2)
    if data["low"]:
        for place, value, low, high in zip(places, values, data["low"], data["high"], strict=True):
            if not any(map(math.isnan, (value, _number(low), _number(high)))):
                axes.plot([low, high], [place, place], color="#1c2733", linewidth=1.2, zorder=3)
    for place, value in zip(places, values, strict=True):
        if math.isnan(value):
            axes.text(0.01, place, "undefined", va="center", color=_GREY, fontsize=8)
    axes.axvline(0, color=_GREY, linewidth=0.8)
    axes.set_yticks(list(places), labels)
    axes.invert_yaxis()
    axes.grid(axis="x", color="#eceef1", zorder=0)
    axes.set_xlabel(data["label"])
    return figure


def _confusion(data: Mapping[str, Any]) -> Figure:
    labels, counts = data["labels"], data["counts"]
    side = 1.5 + 0.34 * max(3, len(labels))
    figure, axes = _new(side, side)
    shares = [[n / max(1, sum(row)) for n in row] for row in counts]
    axes.imshow(shares if shares else [[0.0]], cmap="Blues", vmin=0, vmax=1)
    if len(labels) ** 2 <= _MOST_CELLS_WITH_NUMBERS:
        for i, row in enumerate(counts):
            for j, n in enumerate(row):
                if n:
                    color = "white" if shares[i][j] > 0.55 else "#1c2733"
                    axes.text(j, i, str(n), ha="center", va="center", color=color, fontsize=7.5)
    axes.set_xticks(range(len(labels)), labels, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("said")
    axes.set_ylabel("true")
    axes.spines[:].set_visible(False)
    return figure


def _reliability(data: Mapping[str, Any]) -> Figure:
    figure, axes = _new(3.6, 3.4)
    axes.grid(color="#eceef1", zorder=0)
    axes.plot([0, 1], [0, 1], color=_GREY, linestyle="--", linewidth=1, zorder=1)
    bins = data["bins"]
    most = max((one["n"] for one in bins), default=1)
    sizes = [20 + 180 * one["n"] / most for one in bins]
    axes.plot([b["stated"] for b in bins], [b["right"] for b in bins], color=_BLUE, linewidth=1, zorder=2)
    axes.scatter([b["stated"] for b in bins], [b["right"] for b in bins], s=sizes, color=_BLUE, alpha=0.7, zorder=3)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.04, 1.04)
    axes.set_xlabel("stated probability")
    axes.set_ylabel(f"share {data['label']}")
    return figure


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


_DRAWERS: dict[str, Callable[[Mapping[str, Any]], Figure]] = {
    "scatter": _scatter,
    "bars": _bars,
    "confusion": _confusion,
    "reliability": _reliability,
}
