"""`mllm-iqa rubric`: make, check, show and list rubrics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cli_options import Device, Dtype, EngineName, ListFormat, Listing, Model, TextFormat
from .engines import Engine

rubric_app = typer.Typer(no_args_is_help=True, help="Make, check and list rubrics: your own question and levels.")
RubricName = Annotated[str, typer.Argument(help="A name from `mllm-iqa rubric list`, or a file.")]


@rubric_app.command("new")
def new_rubric(
    name: Annotated[str, typer.Argument(help="What to call it: small letters, digits and underscores.")],
    question: Annotated[str, typer.Option(help="What to ask about the picture.")],
    levels: Annotated[str, typer.Option(help="2 to 9 words with slashes between: ready/needs work/unusable.")],
    values: Annotated[str | None, typer.Option(help="What each level counts: 100/50/0; else 1, 2, 3 ...")] = None,
    prefix: Annotated[str, typer.Option(help="How the answer begins before the level.")] = "",
    worst_first: Annotated[bool, typer.Option("--worst-first", help="The first level is the worst.")] = False,
    language: Annotated[str, typer.Option(help="Of the words: en or zh.")] = "en",
    output: Annotated[Path | None, typer.Option(help="The file.", show_default="NAME.v1.yaml")] = None,
) -> None:
    """Write a rubric's file, to be checked, used and passed on."""
    from .rubric_command import new_rubric as make

    path = make(
        name,
        question=question,
        levels=levels,
        values=values,
        prefix=prefix,
        worst_first=worst_first,
        language=language,
        output=output,
    )
    print(path)


@rubric_app.command("check")
def check_rubric(
    rubric: RubricName,
    model: Model = "nano",
    engine: EngineName = Engine.auto,
    device: Device = "auto",
    dtype: Dtype = "auto",
    format: Annotated[TextFormat, typer.Option(help="How to print.")] = TextFormat.text,
) -> None:
    """Say whether a model can answer a rubric; exit with 1 when there is doubt."""
    from .assistant import Assistant
    from .rubric import load_rubric
    from .rubric_command import check
    from .terminal import spinner

    found = load_rubric(rubric)
    with spinner(f"loading {model}"):
        assistant = Assistant.load(model, engine=engine, device=device, dtype=dtype)
    raise typer.Exit(check(found, assistant, as_json=format is TextFormat.json))


@rubric_app.command("show")
def show_rubric(rubric: RubricName) -> None:
    """Print a rubric's file."""
    from .rubric import load_rubric

    print(load_rubric(rubric).to_yaml(), end="")


@rubric_app.command("list")
def list_rubrics(
    folder: Annotated[Path, typer.Argument(help="A folder with rubrics of yours.")] = Path("."),
    format: Listing = ListFormat.table,
) -> None:
    """List the shipped rubrics and those of a folder."""
    from .rubric_command import list_rubrics as run

    run(folder, as_json=format is ListFormat.json)
