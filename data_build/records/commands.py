"""`mllm-iqa data build`, `export`, `import` and `leak`: making, exchanging and checking instruction records."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from mllm_iqa.errors import ConfigError
from mllm_iqa.prompt_files import WRITTEN_LANGUAGES

from .balance import balance, table
from .benchmark import held_out, material_of, write_benchmark
from .build import Pictures, RecordsPlan, build_records, shards
from .exchange import Format
from .leak import leaks
from .material import Gathered, gather
from .mix import MIX, askable
from .schema import RECORD_SPLITS, RecordSplit
from .transfer import export_records, import_records

_LEAKS_SHOWN = 20


class SplitName(StrEnum):
    """A split of records."""

    train = "train"
    val = "val"
    test = "test"


_SPLITS: dict[SplitName, RecordSplit] = {SplitName(split): split for split in RECORD_SPLITS}


def build(
    out: Annotated[Path, typer.Argument(help="Folder to write to; what is already there is kept.")],
    biq2021: Annotated[Path | None, typer.Option(help="Folder with images/ and labels.csv of BIQ2021.")] = None,
    bsds500: Annotated[Path | None, typer.Option(help="Folder with the BSDS500 photographs.")] = None,
    reading: Annotated[
        list[Path] | None, typer.Option("--reading", help="File that `data read` wrote; may be given more than once.")
    ] = None,
    records: Annotated[int, typer.Option(min=1, help="How many, of all splits together.")] = 20_000,
    languages: Annotated[str, typer.Option(help="To ask in, separated by commas.")] = ",".join(WRITTEN_LANGUAGES),
    pictures: Annotated[Pictures, typer.Option(help="Inside the records, or as paths of files.")] = Pictures.bytes,
    max_side: Annotated[int, typer.Option(min=32, help="Larger pictures are reduced to this, in px.")] = 512,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn.")] = 0,
) -> None:
    """Write instruction records that any image-text model can be tuned on. A killed build goes on."""
    chosen = tuple(languages.split(","))
    if not set(chosen) <= set(WRITTEN_LANGUAGES) or len(set(chosen)) != len(chosen):
        raise ConfigError(f"--languages must be some of {','.join(WRITTEN_LANGUAGES)}, got {languages!r}")
    plan = RecordsPlan(records, seed, chosen, max_side, pictures)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading the sources", total=None)
        gathered = gather(biq2021, bsds500, reading or (), workers=workers)
        progress.update(task, total=len(shards(gathered, plan)) + 1, description="writing records")
        for path in build_records(gathered, out, plan=plan, workers=workers):
            progress.update(task, advance=1, description=path.name)
    print(table(balance(out)))
    for line in _remarks(gathered):
        print(line)
    print(out)


def _remarks(gathered: Gathered) -> Sequence[str]:
    """What was left out, in sentences."""
    there = {question.name for question in askable(gathered.splits["train"])}
    missing = [question.name for question in MIX if question.name not in there]
    remarks = [f"no material for: {', '.join(missing)}"] if missing else []
    if gathered.left_out:
        remarks.append(f"left out: {gathered.left_out} groups that show the same as one of val or test")
    return remarks


def export(
    format: Annotated[Format, typer.Argument(help="Whose JSON to write.")],
    records: Annotated[Path, typer.Argument(help="File or folder of records.")],
    out: Annotated[Path, typer.Argument(help="JSON file to write.")],
    images: Annotated[Path | None, typer.Option(help="Folder for pictures that the records hold as bytes.")] = None,
) -> None:
    """Write records as the training data of another project."""
    done = export_records(records, out, format, images=images)
    print(f"{done.written:,} records written; {done.left_out:,} left out, which {format} cannot hold")
    print(out)


def import_json(
    format: Annotated[Format, typer.Argument(help="Whose JSON to read.")],
    path: Annotated[Path, typer.Argument(help="JSON list or JSON Lines.")],
    out: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    images: Annotated[Path | None, typer.Option(help="Folder that picture paths start from.")] = None,
    split: Annotated[SplitName, typer.Option(help="Of all its records.")] = SplitName.train,
) -> None:
    """Read the training data of another project as records."""
    print(f"{import_records(path, out, format, images=images, split=_SPLITS[split]):,} records")
    print(out)


def benchmark(
    out: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    photos: Annotated[
        list[Path] | None, typer.Option("--photos", help="Clean photograph or folder; may be given more than once.")
    ] = None,
    biq2021: Annotated[Path | None, typer.Option(help="Folder of BIQ2021; its held-out photographs are taken.")] = None,
    bsds500: Annotated[Path | None, typer.Option(help="Folder of BSDS500; its held-out photographs are taken.")] = None,
    records: Annotated[int, typer.Option(min=40, help="To draw; those that are not measured are left out.")] = 480,
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn.")] = 0,
) -> None:
    """Write the synthetic Q-Bench of `mllm-iqa eval`: from your photographs, held-out ones, or the shipped two."""
    if (biq2021 is not None or bsds500 is not None) and photos:
        raise ConfigError("name --photos, or --biq2021 and --bsds500, not both")
    if not out.parent.is_dir():
        raise ConfigError(f"{out}: there is no folder {out.parent}")
    material = material_of(photos or ()) if biq2021 is None and bsds500 is None else held_out(biq2021, bsds500)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        progress.add_task("making the benchmark", total=None)
        written = write_benchmark(material, out, count=records, seed=seed)
    print(f"{written:,} records about {len(material.clean):,} clean photographs")
    print(out)


def leak(
    first: Annotated[Path, typer.Argument(help="File or folder of records.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
) -> None:
    """Prove that two sets of records share no photograph, near-duplicate or burst; exit with 1 when they do."""
    found = leaks(first, second)
    for one in found[:_LEAKS_SHOWN]:
        print(one)
    if len(found) > _LEAKS_SHOWN:
        print(f"and {len(found) - _LEAKS_SHOWN:,} more")
    print(f"{len(found):,} leaks" if found else "no leak")
    raise typer.Exit(1 if found else 0)
