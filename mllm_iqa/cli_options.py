"""Options that several commands of `mllm-iqa` share, and the words that options choose among."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .engines import Engine
from .transformers_options import Quantize


class ScoreFormat(StrEnum):
    """How scores are printed: a table for people, or one of the formats for programs."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"
    parquet = "parquet"


class ScoreEngine(StrEnum):
    """What runs the model that scores; ray spreads the work over processes and machines."""

    auto = "auto"
    transformers = "transformers"
    vllm = "vllm"
    openai = "openai"
    ray = "ray"


class Stage(StrEnum):
    """The engine inside every worker of Ray."""

    transformers = "transformers"
    vllm = "vllm"


class TextFormat(StrEnum):
    """How one result is printed."""

    text = "text"
    json = "json"


class RankStart(StrEnum):
    """What a ranking knows before its first comparison."""

    none = "none"
    scores = "scores"


class Transfer(StrEnum):
    """How files are put into another folder."""

    copy = "copy"
    hardlink = "hardlink"
    symlink = "symlink"


class MapMethod(StrEnum):
    """How to find where a picture is damaged; see `where.METHODS`."""

    tiles = "tiles"
    attribution = "attribution"


class Pooling(StrEnum):
    """How scores of frames become one; see `video_pooling.POOLINGS`."""

    mean = "mean"
    harmonic = "harmonic"
    worst10 = "worst10"


class ListFormat(StrEnum):
    """How a list is printed."""

    table = "table"
    json = "json"


SHIPPED_ADVICE = "advice.v1"
SCORE_FORMATS = ", ".join(ScoreFormat)
Model = Annotated[str, typer.Option(help="A name from `mllm-iqa models`, a folder, a hub id, or a server's URL.")]
EngineName = Annotated[Engine, typer.Option("--engine", help="What runs the model; auto: openai for a URL.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...; split = a part of the model on every GPU.")]
Dtype = Annotated[str, typer.Option(help="auto (float32 on a CPU, else bfloat16), float32, bfloat16, float16.")]
Quantized = Annotated[Quantize | None, typer.Option(help="Weights in fewer bits; needs bitsandbytes.")]
Adapter = Annotated[str | None, typer.Option(help="A LoRA adapter on the model: its folder or hub id.")]
Language = Annotated[str, typer.Option(help="Language of the explanation; the model must know it.")]
Explain = Annotated[bool, typer.Option("--explain/--no-explain", help="Find distortions and say why.")]
ReportFolder = Annotated[
    Path | None, typer.Option("--output", help="Folder of the report.", show_default="NAME-report, here")
]
Embed = Annotated[
    bool | None,
    typer.Option(
        "--one-file/--files",
        help="All inside the page, or thumbnails beside it.",
        show_default="by the number of pictures",
    ),
]
AdviceRules = Annotated[Path | None, typer.Option("--advice", help="Rules of your own for the advice: a YAML file.")]
NoAdvice = Annotated[bool, typer.Option("--no-advice", help="Say what is wrong, and not what to do about it.")]
Listing = Annotated[ListFormat, typer.Option("--format", help="How to print.")]
