"""`mllm-iqa data`: the bank, a test set, public sets as records, instruction records, a contact sheet."""

from __future__ import annotations

import re
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Annotated

import PIL.Image
import typer
from rich.console import Console
from rich.progress import Progress

from mllm_iqa.errors import ConfigError, DataError
from mllm_iqa.images import load_image
from mllm_iqa.output_file import replaced_at_end

from .anchors import make_anchors
from .bank import BankPlan, Size, build_bank
from .heldout import clean_photographs, cut, write_heldout
from .local_set import write_local_set
from .preview import chosen, contact_sheet
from .readers import READERS, Reading, describe
from .readers import read as read_archive
from .readers.records_file import write_parquet
from .records import commands
from .scenes import build_scenes
from .second_set.matching import write_amounts
from .sources import Split, read_rgb

_PROBLEMS_SHOWN = 20

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.callback()
def _data() -> None:
    """Make training and test data."""


app.command()(commands.build)


@app.command()
def anchors(out: Annotated[Path, typer.Argument(help="Folder to write to: mllm_iqa/anchors.")]) -> None:
    """Make the package's anchors anew: the example photographs at five known qualities."""
    for name, mos in make_anchors(out):
        print(f"{name}: {mos:.2f}")


@app.command()
def bank(
    out: Annotated[Path, typer.Argument(help="Folder to write to; what is already there is kept.")],
    biq2021: Annotated[Path, typer.Option(help="Folder with images/ and labels.csv of BIQ2021.")],
    bsds500: Annotated[Path, typer.Option(help="Folder with the BSDS500 photographs.")],
    shards: Annotated[
        str | None,
        typer.Option(help="size:shards pairs, e.g. 96:80,352x512:8 (2,000 crops or 320 whole pictures each)."),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn.")] = 0,
) -> None:
    """Write distorted crops and pictures, the table of photographs, and conversations. A killed build goes on."""
    plan = BankPlan(seed=seed) if shards is None else BankPlan(sizes=_sizes(shards), seed=seed)
    console = Console(stderr=True)
    files = chain(
        build_bank(biq2021, bsds500, out, plan=plan, workers=workers), build_scenes(out, seed=seed, workers=workers)
    )
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("building", total=None)
        for path in files:
            progress.update(task, advance=1, description=path.name)
    print(out)


def _sizes(shards: str) -> tuple[tuple[Size, int], ...]:
    """(size, shards) pairs of "96:80,352x512:8"; the height stands first."""
    pair = r"[1-9]\d*(x[1-9]\d*)?:[1-9]\d*"
    if not re.fullmatch(f"{pair}(,{pair})*", shards):
        raise ConfigError(f"--shards must be size:shards pairs such as 96:80,352x512:8, got {shards!r}")
    sizes: list[tuple[Size, int]] = []
    for size, count in (text.split(":") for text in shards.split(",")):
        sides = [int(side) for side in size.split("x")]
        if len(sides) == 2 and (sides[0] % 32 or sides[1] % 32):
            raise ConfigError(f"--shards: the sides of whole pictures must be multiples of 32, got {size}")
        sizes.append((sides[0] if len(sides) == 1 else (sides[0], sides[1]), int(count)))
    return tuple(sizes)


@app.command()
def heldout(
    out: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    biq2021: Annotated[Path, typer.Option(help="Folder with images/ and labels.csv of BIQ2021.")],
    bsds500: Annotated[Path, typer.Option(help="Folder with the BSDS500 photographs.")],
    per_family: Annotated[int, typer.Option(min=1, help="Sources per family of distortions.")] = 10,
    train: Annotated[
        bool, typer.Option("--train", help="From training photographs instead: to calibrate on, never to test with.")
    ] = False,
    second: Annotated[
        bool, typer.Option("--second", help="With other implementations of the distortions, never trained on.")
    ] = False,
    without: Annotated[
        list[Path] | None,
        typer.Option(
            help="A test set none of whose photographs is used: to choose settings on the others. Repeatable."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn.")] = 1,
) -> None:
    """Write a test set of whole pictures from validation photographs, distorted at severities 1 to 5."""
    split: Split = "train" if train else "val"
    others = without or []
    print(
        write_heldout(
            biq2021, bsds500, out, per_family=per_family, seed=seed, split=split, second=second, without=others
        )
    )


@app.command("second-set")
def second_set(
    out: Annotated[Path, typer.Argument(help="JSON file to write, data_build/second_set/amounts.json.")],
    biq2021: Annotated[Path, typer.Option(help="Folder with images/ and labels.csv of BIQ2021.")],
    bsds500: Annotated[Path, typer.Option(help="Folder with the BSDS500 photographs.")],
    photographs: Annotated[int, typer.Option(min=1, help="Training photographs to match severities on.")] = 8,
) -> None:
    """Match the severities of the second implementations of all distortions to the first ones."""
    files = clean_photographs(biq2021, bsds500, "train")
    step = max(1, len(files) // photographs)
    write_amounts([cut(read_rgb(path)) for path in files[::step][:photographs]], out)
    print(out)


@app.command()
def local(
    out: Annotated[Path, typer.Argument(help="Parquet file to write.")],
    biq2021: Annotated[Path, typer.Option(help="Folder with images/ and labels.csv of BIQ2021.")],
    bsds500: Annotated[Path, typer.Option(help="Folder with the BSDS500 photographs.")],
    per_family: Annotated[int, typer.Option(min=1, help="Sources per family of distortions.")] = 10,
    train: Annotated[
        bool, typer.Option("--train", help="From training photographs instead: to choose with, never to test with.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn.")] = 1,
) -> None:
    """Write photographs damaged in one region each, and the masks of it, for `mllm-iqa eval where`."""
    print(write_local_set(biq2021, bsds500, out, per_family=per_family, seed=seed, split="train" if train else "val"))


@app.command(help=f"Write a public set as a Parquet file of records. Sets: {', '.join(READERS)}.")
def read(
    name: Annotated[str, typer.Argument(help="One of the sets named above.")],
    root: Annotated[Path, typer.Argument(help="Folder its archive was unpacked into.")],
    out: Annotated[Path, typer.Option(help="Parquet file to write.")],
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out what is wrong and count it.")] = False,
    check_images: Annotated[bool, typer.Option("--check-images", help="Decode every picture.")] = False,
) -> None:
    """Check a public set in its original layout and write its records."""
    if out.is_dir() or not out.parent.is_dir():
        raise ConfigError(f"--out {out} must be the name of a file in a folder that exists")
    reading = read_archive(name, root, skip_bad=True, check_images=check_images)
    if reading.problems and not skip_bad:
        raise DataError(describe(name, root, reading.problems, limit=_PROBLEMS_SHOWN))
    write_parquet(reading, out)
    for title, text in _counts(reading).items():
        print(f"{title:<12}{text}")
    print(out)


def _counts(reading: Reading) -> dict[str, str]:
    """What a reading holds, in words: rows, splits, range of the scores, references, groups, what was skipped."""
    named = [record.split for record in reading.rated] + [record.split for record in reading.pairs]
    splits = Counter(split or "none" for split in named)
    references = {record.reference for record in reading.records if record.reference is not None}
    counts = {"rows": f"{len(reading.records):,}"}
    if splits:
        counts["splits"] = ", ".join(f"{split} {n:,}" for split, n in sorted(splits.items()))
    if reading.rated:
        scores = [record.mos for record in reading.rated]
        counts["mos"] = f"{min(scores):.2f} to {max(scores):.2f}"
    counts["references"] = f"{len(references):,}"
    counts["groups"] = f"{len({record.group for record in reading.records}):,}"
    if reading.problems:
        counts["skipped"] = ", ".join(f"{kind} {n:,}" for kind, n in sorted(reading.skipped.items()))
    return counts


@app.command()
def preview(
    image: Annotated[Path, typer.Argument(help="Picture to distort.")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")] = Path("sheet.png"),
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A distortion, kind or family; may be given more than once.")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Distort one region and outline it.")] = False,
    whole: Annotated[bool, typer.Option("--whole", help="The whole picture, reduced, instead of its middle.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of everything drawn.")] = 0,
) -> None:
    """Draw every distortion at every severity as one picture to look at."""
    if out.suffix.lower() != ".png" or out.is_dir() or not out.parent.is_dir():
        raise ConfigError(f"--out {out} must be the name of a .png file in a folder that exists")
    names = chosen(only or (), local=local)
    sheet = contact_sheet(load_image(image).pixels, names, seed=seed, local=local, whole=whole)
    with replaced_at_end(out) as file:
        PIL.Image.fromarray(sheet).save(file, "PNG")
    print(out)


app.command()(commands.benchmark)
app.command()(commands.export)
app.command("import")(commands.import_json)
app.command()(commands.leak)


def main(argv: list[str]) -> int:
    """Run with the arguments after `mllm-iqa data`; returns the exit status."""
    result = app(argv, prog_name="mllm-iqa data", standalone_mode=False)
    return result if isinstance(result, int) else 0
