"""How balanced records are: what is asked and answered how often, over all splits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mllm_iqa.levels import level_of_mos
from mllm_iqa.output_file import replaced_at_end

from .files import read_rows

_COLUMNS = ("task", "language", "length", "split", "answer")


def balance(path: Path) -> dict[str, dict[str, int]]:
    """Counts by subject and value.

    Subjects: split, task, language, length; level (of every record with a MOS); family and severity (of every finding
    of every record, "none" for records about undistorted pictures alone); yes of a task; letter of a number of options;
    winner; best of a number of pictures (the place of the best); region.
    """
    counts: dict[str, Counter[str]] = {}
    for row in read_rows(path, _COLUMNS):
        for subject, value in _facts(row):
            counts.setdefault(subject, Counter())[value] += 1
    return {subject: dict(sorted(counts[subject].items())) for subject in sorted(counts)}


def write_balance(folder: Path) -> Path:
    """Store the balance of a folder of records beside them, as JSON; returns its path."""
    path = folder / "balance.json"
    with replaced_at_end(path) as file:
        file.write((json.dumps(balance(folder), indent=1) + "\n").encode())
    return path


def table(counts: dict[str, dict[str, int]]) -> str:
    """The counts as lines of text: subject, total, and every value with its share in percent."""
    lines = []
    for subject, values in counts.items():
        total = sum(values.values())
        shares = "  ".join(f"{value} {100 * count / total:.1f}" for value, count in values.items())
        lines.append(f"{subject:<20}{total:>9,}  {shares}")
    return "\n".join(lines)


def _facts(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    answer = row["answer"]
    for subject in ("split", "task", "language", "length"):
        yield subject, row[subject]
    if answer["mos"] is not None:
        yield "level", level_of_mos(answer["mos"])
    if answer["findings"] is not None:
        for finding in answer["findings"] or [{"family": "none", "severity": 0}]:
            yield "family", finding["family"]
            yield "severity", str(finding["severity"])
    if answer["yes"] is not None:
        yield f"yes of {row['task']}", "yes" if answer["yes"] else "no"
    if answer["choice"] is not None:
        yield f"letter of {len(answer['options'])}", answer["choice"]
    if answer["winner"] is not None:
        yield "winner", answer["winner"]
    if answer["ranking"]:
        yield f"best of {len(answer['ranking'])}", str(answer["ranking"][0] + 1)
    if answer["region"] is not None:
        yield "region", answer["region"]
