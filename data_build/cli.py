"""`mllm-iqa data build` and `data heldout`: the bank training reads, and a test set of whole pictures."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from mllm_iqa.errors import ConfigError

from .bank import BankPlan, build_bank
from .heldout import write_heldout
from .scenes import build_scenes

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback()
def _data() -> None:
    """Make training and test data."""


@app.command()
def build(
    out: Annotated[Path, typer.Argument(help="Folder to write to; what is already there is kept.")],
    biq2021: Annotated[Path, typer.Option(help="Folder with images/ and labels.csv of BIQ2021.")],
    bsds500: Annotated[Path, typer.Option(help="Folder with the BSDS500 photographs.")],
    shards: Annotated[
        str, typer.Option(help="side:shards pairs, e.g. 96:80,128:24,256:8 (2,000 crops each).")
    ] = "96:80,128:24,256:8",
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 0,
) -> None:
    """Write distorted crops, the table of photographs, and templated conversations. A killed build goes on."""
    plan = BankPlan(sizes=_sizes(shards), seed=seed)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("building", total=None)
        for path in chain(build_bank(biq2021, bsds500, out, plan=plan, workers=workers), build_scenes(out, seed=seed)):
            progress.update(task, advance=1, description=path.name)
    print(out)


def _sizes(shards: str) -> tuple[tuple[int, int], ...]:
    """(side, shards) pairs of "96:80,128:24"."""
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*(,[1-9]\d*:[1-9]\d*)*", shards):
        raise ConfigError(f"--shards must be side:shards pairs such as 96:80,128:24, got {shards!r}")
    return tuple((int(side), int(count)) for side, count in (pair.split(":") for pair in shards.split(",")))


@app.command()
def heldout(
    out: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    biq2021: Annotated[Path, typer.Option(help="Folder with images/ and labels.csv of BIQ2021.")],
    bsds500: Annotated[Path, typer.Option(help="Folder with the BSDS500 photographs.")],
    per_family: Annotated[int, typer.Option(min=1, help="Sources per family of distortions.")] = 10,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 1,
) -> None:
    """Write a test set of whole pictures from validation photographs, distorted at severities 1 to 5."""
    print(write_heldout(biq2021, bsds500, out, per_family=per_family, seed=seed))


def main(argv: list[str]) -> int:
    """Run with the arguments after `mllm-iqa data`; returns the exit status."""
    result = app(argv, prog_name="mllm-iqa data", standalone_mode=False)
    return result if isinstance(result, int) else 0
