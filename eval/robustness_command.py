"""`mllm-iqa eval robustness`: how far scores move where they should not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
import typer

from mllm_iqa.assistant import Assistant
from mllm_iqa.errors import DataError
from mllm_iqa.images import load_image
from mllm_iqa.terminal import spinner

from .robustness import markdown, measure, stored_ladders


def robustness(
    pictures: Annotated[list[Path], typer.Argument(help="Pictures to change and score again.")],
    out: Annotated[Path | None, typer.Option(help="Folder for robustness.json and robustness.md.")] = None,
    ladders: Annotated[
        Path | None,
        typer.Option(
            help="Ladders of a set written by `mllm-iqa data heldout`, instead of simple ones of the pictures."
        ),
    ] = None,
    attack_pictures: Annotated[int, typer.Option(min=0, help="How many pictures are attacked; 0 = none.")] = 8,
    attack_steps: Annotated[int, typer.Option(min=1, help="Gradient steps of an attack.")] = 10,
    model: Annotated[str, typer.Option(help="A name from `mllm-iqa models`, a folder, or a hub id.")] = "nano",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
) -> None:
    """Score changed pictures again: harmless changes, other words, text in the picture, adversarial noise, ladders."""
    if ladders is not None and not ladders.is_file():
        raise DataError(f"{ladders}: not found; `mllm-iqa data heldout` writes it")
    pixels = [load_image(path).pixels for path in pictures]
    stored = None if ladders is None else stored_ladders(pq.read_table(ladders).to_pylist())
    assistant = Assistant.load(model, device=device)
    with spinner(f"scoring changed versions of {len(pixels)} pictures"):
        report = measure(assistant, pixels, ladders=stored, attack_pictures=attack_pictures, attack_steps=attack_steps)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(report.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)
        (out / "robustness.json").write_text(text + "\n", encoding="utf-8")
        (out / "robustness.md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))
