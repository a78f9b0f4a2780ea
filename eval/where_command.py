"""`mllm-iqa eval where`: how well local damage is found."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from mllm_iqa.assistant import Assistant
from mllm_iqa.where import Method

from .where import by_family, figures, markdown, read_items, readings


def where(
    data: Annotated[Path, typer.Argument(help="Set written by `mllm-iqa data local`.")],
    out: Annotated[Path | None, typer.Option(help="Folder for where.json and where.md.")] = None,
    damaged: Annotated[int | None, typer.Option(min=1, help="Only so many damaged pictures, drawn at random.")] = None,
    clean: Annotated[int | None, typer.Option(min=0, help="Only so many clean ones.")] = None,
    attribution: Annotated[
        bool, typer.Option(help="Measure the attribution too; needs the transformers engine.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of the drawing.")] = 0,
    model: Annotated[str, typer.Option(help="A name from `mllm-iqa models`, a folder, or a hub id.")] = "nano",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Compare maps of damage with the masks of it, beside a uniform map and one that says "in the middle"."""
    items = read_items(data, damaged=damaged, clean=clean, seed=seed)
    assistant = Assistant.load(model, device=device)
    methods: tuple[Method, ...] = ("attribution", "tiles") if attribution else ("tiles",)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("mapping", total=len(items))
        read = readings(assistant, items, methods, lambda: progress.advance(task))
    found = list(figures(read))
    families = {name: by_family(some) for name, some in read.items() if name != "uniform"}
    text = markdown(assistant.backend.name, found, families)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        values = {"model": assistant.backend.name, "methods": [_plain(f.to_dict()) for f in found], "auc": families}
        (out / "where.json").write_text(json.dumps(_plain(values), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        (out / "where.md").write_text(text, encoding="utf-8")
    print(text, end="")


def _plain(value: Any) -> Any:
    """NaN becomes None."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value
