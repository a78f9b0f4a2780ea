"""What made a predictions file: one entry per command that worked on it, in `runs.jsonl` beside it.

Kept apart from the predictions, which hold nothing that differs between an interrupted run and a fresh one.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .environment import command, environment

RUNS_NAME = "runs.jsonl"


def note_run(folder: Path, *, seconds: float, answered: int) -> None:
    """Add the running command to the folder's list."""
    entry = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "command": command(),
        "seconds": round(seconds, 1),
        "answered": answered,
        "environment": environment(),
    }
    with (folder / RUNS_NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def runs_of(folder: Path) -> tuple[dict[str, Any], ...]:
    """The folder's list; empty where there is none."""
    path = folder / RUNS_NAME
    if not path.is_file():
        return ()
    return tuple(json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line)
