"""A page to read: held-out pictures beside what a model said of them, drawn without looking at the answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mllm_iqa.errors import DataError
from mllm_iqa.images import load_image
from mllm_iqa.levels import SEVERITIES

from ..environment import command, environment
from ..heldout import synthetic_items
from ..metrics.consistency import inconsistent
from ..thumbnails import small_jpeg
from .build import template, write_pages

SHARE_PHOTOGRAPHS = 1 / 3
_WIDTH = 320


def write_explanations(predictions: Path, synthetic: Path, out: Path, *, count: int = 60, seed: int = 0) -> list[Path]:
    """Write `explanations.html` (with the pictures), `.json` and `.md` (without them); returns their paths.

    Args:
        predictions: predictions.jsonl of `mllm-iqa eval heldout`.
        synthetic: the test set it was made from.
        out: the folder.
        count: pictures in all, a third of them photographs.
        seed: of the choice among all scored pictures.

    Raises:
        DataError: the predictions are of another test set, or a photograph is missing.
    """
    rows = [json.loads(line) for line in predictions.read_text(encoding="utf-8").splitlines()]
    items = synthetic_items(synthetic)
    damaged = [(row, item["pixels"]) for row, item in zip(rows, items, strict=False)]  # a run may have stopped earlier
    if any(not _is_of(row, item) for row, item in zip(rows, items, strict=False)):
        raise DataError(f"{synthetic}: not the test set that the predictions were made from")
    photos = [(row, row["path"]) for row in rows[len(items) :]]
    rng = np.random.default_rng(seed)
    cases = []
    for pool, share in ((damaged, 1 - SHARE_PHOTOGRAPHS), (photos, SHARE_PHOTOGRAPHS)):
        scored = [(row, source) for row, source in pool if "mos" in row["result"]]
        cases += [_case(*scored[i]) for i in rng.permutation(len(scored))[: round(count * share)]]
    data = {
        "title": "What was said of held-out pictures",
        "model": cases[0]["model"] if cases else "",
        "consistent": sum(not case["inconsistent"] for case in cases),
        "command": command(),
        "environment": environment(),
        "cases": [{k: v for k, v in case.items() if k != "thumbnail"} for case in cases],
    }
    html = template("explanations.html.jinja").render({**data, "cases": cases})
    return write_pages(data, out, "explanations", html=html, markdown=_markdown(data))


def _is_of(row: Mapping[str, Any], item: Mapping[str, Any]) -> bool:
    """Whether a row of predictions is about this picture of the test set."""
    return row["set"] == "synthetic" and all(row[key] == item[key] for key in ("source", "distortion", "severity"))


def _case(row: Mapping[str, Any], source: Any) -> dict[str, Any]:
    result, pixels = row["result"], load_image(source).pixels
    return {
        "name": Path(row.get("source") or row["path"]).name,
        "truth": _truth(row),
        "mos": result["mos"],
        "low": result["interval"]["low"],
        "high": result["interval"]["high"],
        "explanation": result["explanation"],
        "inconsistent": inconsistent(result),
        "model": row["made_with"]["model"],
        "thumbnail": small_jpeg(pixels, _WIDTH, pixels.shape[0], quality=88),
    }


def _truth(row: Mapping[str, Any]) -> str:
    if row["set"] == "photo":
        return f"photograph, rated {row['mos']:.2f} by people"
    if row["severity"] == 0:
        return "undamaged"
    return f"{row['kind']}, {SEVERITIES[row['severity'] - 1]}"


def _markdown(data: Mapping[str, Any]) -> str:
    cases = data["cases"]
    lines = [
        f"# {data['title']}",
        "",
        f"{data['model']}; {len(cases)} pictures drawn by lot, {data['consistent']} of {len(cases)} texts agree with "
        "their number and findings.",
        "",
        "| picture | what it is | MOS (90 % interval) | text |",
        "|---|---|---|---|",
    ]
    for case in cases:
        score = f"{case['mos']:.2f} ({case['low']:.2f} to {case['high']:.2f})"
        text = case["explanation"].replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {case['name']} | {case['truth']} | {score} | {text} |")
    return "\n".join([*lines, "", f"Command: `{data['command']}`", ""])
