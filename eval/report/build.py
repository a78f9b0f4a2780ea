"""Building a report from scored predictions: HTML, JSON and Markdown beside each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from mllm_iqa.output_file import replaced_at_end

from ..environment import command, environment
from ..predictions import Predictions
from ..results import number, plain
from .charts import svg

_MOST_THUMBNAILS = 3


@dataclass(frozen=True, slots=True)
class Scored:
    """Predictions of one task with their results and what is known of the run that made them."""

    predictions: Predictions
    results: dict[str, Any]
    runs: tuple[dict[str, Any], ...]


def write_report(scored: Sequence[Scored], out: Path, *, title: str, note: str = "") -> list[Path]:
    """Write `report.html`, `report.json` and `report.md` into a folder; returns their paths.

    Args:
        scored: tasks in the order of the report.
        out: the folder.
        title: of the page.
        note: a paragraph under the title, such as what the test set was made from.
    """
    data = {
        "title": title,
        "note": note,
        "command": command(),
        "environment": environment(),
        "tasks": [_task(one) for one in scored],
    }
    return write_pages(data, out, "report", html=_page(data, scored), markdown=markdown(data))


def write_pages(data: Mapping[str, Any], out: Path, name: str, *, html: str, markdown: str) -> list[Path]:
    """Write one page in its three forms."""
    out.mkdir(parents=True, exist_ok=True)
    texts = {
        ".html": html,
        ".json": json.dumps(plain(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        ".md": markdown,
    }
    paths = []
    for suffix, text in texts.items():
        paths.append(out / f"{name}{suffix}")
        with replaced_at_end(paths[-1]) as file:
            file.write(text.encode())
    return paths


def _task(one: Scored) -> dict[str, Any]:
    return {**one.results, "runs": list(one.runs)}


def _page(data: Mapping[str, Any], scored: Sequence[Scored]) -> str:
    tasks = []
    for one in scored:
        rows = {row["id"]: row for row in one.predictions.rows}
        sections = []
        for section in one.results["sections"]:
            drawn = [{"title": chart["title"], **_caption(chart), "svg": svg(chart)} for chart in section["charts"]]
            cases = {side: [_case(case, rows) for case in section[side]] for side in ("best", "worst")}
            sections.append({**section, "drawn": drawn, **cases})
        failures = [row for row in one.predictions.rows if "error" in row]
        tasks.append({**_task(one), "sections": sections, "failures": failures})
    return template("report.html.jinja").render({**data, "tasks": tasks})


def template(name: str) -> jinja2.Template:
    """A page template; everything put into it is escaped."""
    loader = jinja2.FileSystemLoader(str(files(__package__) / "templates"))
    pages = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    pages.filters["number"] = number
    return pages.get_template(name)


def _caption(chart: Mapping[str, Any]) -> dict[str, str]:
    captions = {
        "scatter": chart["data"].get("legend", ""),
        "confusion": "rows: true, columns: said; shade: share of the row",
        "reliability": "size of a point: number of answers; dashed: perfect calibration",
        "bars": "in brackets: items; line: 95 % interval" if chart["data"].get("low") else "",
    }
    return {"caption": captions[chart["kind"]], "kind": chart["kind"]}


def _case(case: Mapping[str, str], rows: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    row = rows[case["id"]]
    pictures = row.get("pictures", [])[:_MOST_THUMBNAILS]
    answer = row.get("answer", {})
    return {
        **case,
        "pictures": [{"name": p["name"], "thumbnail": p.get("thumbnail")} for p in pictures],
        "explanation": answer.get("explanation") or "",
    }


def interval(figure: Mapping[str, Any]) -> str:
    """The 95 % interval of a figure, or nothing where it has none."""
    if figure["low"] is None or figure["high"] is None:
        return ""
    return f"{figure['low']:.3f} to {figure['high']:.3f}"


def markdown(data: Mapping[str, Any]) -> str:
    """The figures of a report as Markdown tables."""
    lines = [f"# {data['title']}", ""]
    if data["note"]:
        lines += [data["note"], ""]
    for task in data["tasks"]:
        lines += [
            f"## {task['title']}",
            "",
            f"`{task['task']}`, model {task['model']}, {task['n_scored']} of {task['n_total']} scored; "
            f"predictions sha256 `{task['predictions']['sha256'][:16]}`",
            "",
        ]
        for section in task["sections"]:
            lines += [
                f"### {section['title']}",
                "",
                "| figure | value | 95 % interval | n/total |",
                "|---|---|---|---|",
            ]
            for named in section["figures"]:
                figure = plain(named["figure"])
                note = f" ({named['note']})" if named["note"] else ""
                name = f"{named['name']}{note}".replace("|", "\\|")
                count = f"{figure['n']}/{figure['total']}"
                lines.append(f"| {name} | {number(figure['value'])} | {interval(figure)} | {count} |")
            lines += ["", *([section["note"], ""] if section["note"] else [])]
    lines += [f"Command: `{data['command']}`", ""]
    return "\n".join(lines)
