"""The folder of a run: what the run in it depends on, so that a run of other settings never goes on in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mllm_iqa.errors import ConfigError
from mllm_iqa.output_file import replaced_at_end


def claim(output: Path, settings: dict[str, Any]) -> None:
    """Note what an output folder's run depends on; refuse a folder that holds a run of other settings.

    Raises:
        ConfigError: naming the first setting that differs.
    """
    path = output / "run.json"
    if path.is_file():
        check_same_run(output, json.loads(path.read_text(encoding="utf-8")), settings)
        return
    output.mkdir(parents=True, exist_ok=True)
    with replaced_at_end(path) as file:
        file.write((json.dumps(settings, indent=2) + "\n").encode())


def check_same_run(folder: Path, before: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Refuse to go on in a folder that holds a run of other settings; how often states are saved may change.

    Raises:
        ConfigError: naming the first setting that differs.
    """
    for key in now:
        if key != "save_every" and before.get(key) != now[key]:
            raise ConfigError(
                f"{folder}: holds a run whose {key} was {before.get(key)}, not {now[key]}; name another output folder"
            )
