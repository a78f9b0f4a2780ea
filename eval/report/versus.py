"""The page that puts two models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..environment import command, environment
from ..paired import compare_models, largest_disagreements
from ..predictions import Predictions
from ..results import number, plain
from .build import template, write_pages
from .charts import svg


@dataclass(frozen=True, slots=True)
class Pair:
    """Predictions of one task by two models."""

    title: str
    first: Predictions
    second: Predictions


def write_versus(pairs: Sequence[Pair], out: Path) -> list[Path]:
    """Write `versus.html`, `.json` and `.md` into a folder; returns their paths.

    Raises:
        DataError: a pair of different tasks or test sets.
    """
    tasks, drawn = [], []
    for pair in pairs:
        rows: list[dict[str, Any]] = plain([asdict(one) for one in compare_models(pair.first, pair.second)])
        tasks.append(
            {
                "title": pair.title,
                "task": pair.first.header["task"],
                "rows": rows,
                "sha256": [pair.first.sha256, pair.second.sha256],
            }
        )
        drawn.append({"svg": _differences(rows), "cases": _cases(pair)})
    names = [pairs[0].first.header["model"], pairs[0].second.header["model"]]
    data = {"models": names, "command": command(), "environment": environment(), "tasks": tasks}
    html = template("versus.html.jinja").render({**data, "drawn": drawn})
    return write_pages(data, out, "versus", html=html, markdown=_markdown(data))


def _differences(rows: Sequence[dict[str, Any]]) -> str:
    found = [row["difference"] for row in rows]
    data = {
        "label": "first - second",
        "labels": [row["name"] for row in rows],
        "values": [one["value"] for one in found],
        "low": [one["low"] for one in found],
        "high": [one["high"] for one in found],
    }
    return svg({"kind": "bars", "data": data}) if rows else ""


def _cases(pair: Pair) -> list[dict[str, Any]]:
    cases = []
    for one in largest_disagreements(pair.first, pair.second):
        first, second = one["first"]["answer"], one["second"]["answer"]
        mos = one["first"]["truth"].get("mos")
        cases.append(
            {
                "id": one["first"]["id"],
                "pictures": [p for p in one["first"].get("pictures", []) if p.get("thumbnail")][:3],
                "scores": [first["score"], second["score"]],
                "mos": mos,
                "texts": [first.get("explanation") or "", second.get("explanation") or ""],
            }
        )
    return cases


def _markdown(data: dict[str, Any]) -> str:
    a, b = data["models"]
    lines = [f"# {a} against {b}", ""]
    for task in data["tasks"]:
        lines += [f"## {task['title']}", "", f"| figure | {a} | {b} | difference | 95 % interval | p | n/total |"]
        lines.append("|---|---|---|---|---|---|---|")
        for row in task["rows"]:
            d = row["difference"]
            cells = [number(d[key]) for key in ("first", "second", "value")]
            between = f"{number(d['low'])} to {number(d['high'])}"
            lines.append(
                f"| {row['name']} | {' | '.join(cells)} | {between} | {number(d['p'])} | {d['n']}/{d['total']} |"
            )
        lines.append("")
    return "\n".join(lines)
