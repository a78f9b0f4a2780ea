"""The abstention curve as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SHOWN = ("level entropy", "feature distance", "prompt disagreement", "all signals", "error itself")
"""Orders that are drawn, where they are known."""


def abstention_curve(curves: Mapping[str, Sequence[float]], kept: Sequence[float], path: Path, *, title: str) -> None:
    """RMSE against the share of pictures kept, one line for each order; written as SVG."""
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for name in SHOWN:
        if name in curves:
            style: dict[str, Any] = {"linestyle": "--", "color": "0.6"} if name == "error itself" else {"marker": "o"}
            axes.plot([100 * k for k in kept], list(curves[name]), label=name, **style)
    axes.set_xlabel("photographs kept, the most trusted first (%)")
    axes.set_ylabel("RMSE of the MOS (1 to 5)")
    axes.set_ylim(bottom=0)
    axes.invert_xaxis()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small")
    axes.set_title(title, fontsize="medium")
    with matplotlib.rc_context({"svg.hashsalt": "mllm-iqa", "svg.fonttype": "none"}):
        figure.savefig(path, metadata={"Date": None})
