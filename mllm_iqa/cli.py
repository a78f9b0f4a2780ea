"""The `mllm-iqa` command: arguments in, exit status out. The work is done by modules imported when a command runs.

Results go to stdout; everything else goes to stderr. Exit status: 0 all good, 1 something failed, 2 wrong usage or
input, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from .cli_options import (
    SCORE_FORMATS,
    SHIPPED_ADVICE,
    Adapter,
    AdviceRules,
    Device,
    Dtype,
    Embed,
    EngineName,
    Explain,
    Language,
    ListFormat,
    Listing,
    MapMethod,
    Model,
    NoAdvice,
    Pooling,
    Quantized,
    RankStart,
    ReportFolder,
    ScoreEngine,
    ScoreFormat,
    Stage,
    TextFormat,
    Transfer,
)
from .engines import Engine
from .errors import ConfigError, IqaError
from .extras import missing
from .rubric_cli import rubric_app
from .transformers_options import Quantize, TransformersOptions

FEATURES: dict[str, tuple[str, str]] = {
    "train": ("mllm_iqa.train.cli:main", "Train or fine-tune a model."),
    "data": ("mllm_iqa.data_build.cli:main", "Make training and test data."),
    "eval": ("mllm_iqa.eval.cli:main", "Predict, measure and report."),
    "serve": ("mllm_iqa.serve.cli:main", "Serve models over HTTP, with a chat page, and as MCP tools."),
}
"""Commands that live in other folders: name -> (module:function, help). The function takes the arguments that follow
the name and returns the exit status."""


app = typer.Typer(
    name="mllm-iqa",
    help="Explainable image quality: a score from 1 (bad) to 5 (excellent), what is wrong, and why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status; None = the process's own arguments.

    An `IqaError` becomes one line on stderr. Any other exception is a bug and is left to show its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if not stream.isatty() and hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # files and pipes, whatever the locale
    try:
        typer.main.get_command(app).main(arguments, prog_name="mllm-iqa")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except IqaError as error:
        status = _refuse(error)
    except ModuleNotFoundError as error:
        lacking = missing(error)
        if lacking is None:
            raise
        status = _refuse(lacking)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` for one, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    return status


def _refuse(error: IqaError) -> int:
    from .terminal import error_line

    print(error_line(error), file=sys.stderr)
    return 2


def _print_version(wanted: bool) -> None:
    if wanted:
        from . import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Explainable image quality: a score from 1 (bad) to 5 (excellent), what is wrong, and why."""


@app.command()
def score(
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Pictures, folders (searched to any depth), quoted patterns, .tar and .parquet files."),
    ] = None,
    format: Annotated[
        ScoreFormat | None,
        typer.Option(help="How to print.", show_default="what the extension of --output says, table without one"),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the results here instead of to stdout.")] = None,
    explain: Explain = True,
    model: Model = "nano",
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantize: Quantized = None,
    adapter: Adapter = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures per pass; does not change the scores.")] = 8,
    language: Language = "en",
    reference: Annotated[Path | None, typer.Option(help="What the only picture is compared with.")] = None,
    allow_failures: Annotated[
        bool, typer.Option("--allow-failures", help="Exit with 0 even when pictures failed.")
    ] = False,
    listing: Annotated[
        Path | None, typer.Option("--list", help="A text file of pictures, one path a line, after the others.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="A folder for large runs: parts as they are ready; run again, it goes on.")
    ] = None,
    rows_per_part: Annotated[int, typer.Option(min=1, help="Rows of a part of --run.")] = 1000,
    engine: Annotated[ScoreEngine, typer.Option(help="What runs the model; ray needs --run.")] = ScoreEngine.auto,
    stage: Annotated[Stage, typer.Option(help="With --engine ray: what runs in every worker.")] = Stage.transformers,
    workers: Annotated[int, typer.Option(min=1, help="With --engine ray: copies of the model.")] = 2,
    gpus_per_worker: Annotated[float, typer.Option(min=0, help="With --engine ray: accelerators of each copy.")] = 0,
    address: Annotated[
        str | None, typer.Option(help="With --engine ray: a cluster's address; without it, this machine.")
    ] = None,
    advice: AdviceRules = None,
    no_advice: NoAdvice = False,
    rubric: Annotated[
        list[str] | None, typer.Option(help="Score by a rubric instead: its name or file. Repeat it for several.")
    ] = None,
    calibration: Annotated[
        str | None, typer.Option(help="Also score on your own scale: a calibration's name or file.")
    ] = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Ask in several wordings; where they disagree, distrust the score.")
    ] = False,
) -> None:
    """Score pictures: a number, what is wrong, and why."""
    from .score_command import score as run_locally
    from .score_options import ScoreOptions

    if not paths and listing is None:
        raise typer.BadParameter("name pictures, folders or patterns, or a --list of them", param_hint="PATHS")
    given = _format_of(output) if format is None else format
    if run is not None and format is None and output is None:
        given = ScoreFormat.parquet
    options = ScoreOptions(
        format=given.value,
        output=output,
        explain=explain,
        model=model,
        device=device,
        dtype=dtype,
        transformers=_options_of(quantize, adapter),
        batch_size=batch_size,
        language=language,
        reference=reference,
        allow_failures=allow_failures,
        engine=engine.value,
        run=run,
        rows_per_part=rows_per_part,
        listing=listing,
        advice=_advice_of(advice, no_advice),
        rubrics=tuple(rubric or ()),
        calibration=calibration,
        thorough=thorough,
    )
    if engine is ScoreEngine.ray:
        ray_scoring = import_module("mllm_iqa.serve.ray_scoring")
        cluster = ray_scoring.Cluster(
            stage=stage.value, workers=workers, gpus_per_worker=gpus_per_worker, address=address
        )
        raise typer.Exit(ray_scoring.score(paths or [], options, cluster))
    raise typer.Exit(run_locally(paths or [], options))


def _options_of(quantize: Quantize | None, adapter: str | None) -> TransformersOptions:
    return TransformersOptions(quantize=quantize, adapters=() if adapter is None else (adapter,))


def _advice_of(rules: Path | None, none: bool) -> str | None:
    """What gives the advice: a file, shipped rules by their name, or nothing."""
    if rules is not None and none:
        raise ConfigError("--advice and --no-advice exclude each other")
    return None if none else SHIPPED_ADVICE if rules is None else str(rules)


def _format_of(output: Path | None) -> ScoreFormat:
    """The format that a file's extension names; the table for people without one, or in a .txt."""
    extension = "" if output is None else output.suffix.lower().removeprefix(".")
    if extension in ("", "txt"):
        return ScoreFormat.table
    if extension not in ScoreFormat.__members__:
        raise ConfigError(f"--output {output}: .{extension} names no format; add --format, one of {SCORE_FORMATS}")
    return ScoreFormat(extension)


@app.command()
def calibrate(
    labels: Annotated[Path, typer.Argument(help="A table of pictures and your scores: .csv, .json, .jsonl, .parquet.")],
    name: Annotated[str | None, typer.Option(help="What to call it.", show_default="the table's name")] = None,
    output: Annotated[Path | None, typer.Option(help="Write it here instead of to the user's folder.")] = None,
    range: Annotated[
        tuple[float, float] | None, typer.Option("--range", help="The ends of your scale, the lower first.")
    ] = None,
    higher_is_better: Annotated[
        bool | None,
        typer.Option("--higher-is-better/--lower-is-better", help="Direction.", show_default="as the labels say"),
    ] = None,
    coverage: Annotated[float, typer.Option(help="Of the interval, 0.5 to below 1.")] = 0.9,
    held_out: Annotated[float, typer.Option(help="Share of the labels held out in each turn of the report.")] = 0.2,
    seed: Annotated[int, typer.Option(min=0, help="Of the splits.")] = 0,
    image_column: Annotated[str | None, typer.Option(help="Column of the paths.", show_default="found")] = None,
    score_column: Annotated[str | None, typer.Option(help="Column of the scores.", show_default="found")] = None,
    format: Annotated[TextFormat, typer.Option(help="How to print.")] = TextFormat.text,
    model: Model = "nano",
    engine: EngineName = Engine.auto,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantize: Quantized = None,
    adapter: Adapter = None,
) -> None:
    """Learn your own scale from 20 or more pictures that you scored; `score --calibration NAME` uses it."""
    from .assistant import Assistant
    from .calibrate_command import run
    from .calibration.fitting import Settings
    from .calibration.labels import read_labels
    from .calibration.store import name_of
    from .terminal import spinner

    called = (output.stem if output is not None else labels.stem) if name is None else name
    to = name_of(called) if output is None else output
    settings = Settings(called, range, higher_is_better, coverage, held_out, seed)
    read_labels(labels, image_column=image_column, score_column=score_column, limits=range)  # before the model is
    with spinner(f"loading {model}"):
        options = _options_of(quantize, adapter)
        assistant = Assistant.load(model, engine=engine, device=device, dtype=dtype, options=options)
    columns = {"image_column": image_column, "score_column": score_column}
    raise typer.Exit(run(assistant, labels, settings, to=to, as_json=format is TextFormat.json, **columns))


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="One picture.")],
    b: Annotated[Path, typer.Argument(help="The other.")],
    reference: Annotated[Path | None, typer.Option(help="What both are compared with.")] = None,
    explain: Explain = True,
    format: Annotated[TextFormat, typer.Option(help="How to print.")] = TextFormat.text,
    model: Model = "nano",
    engine: EngineName = Engine.auto,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantize: Quantized = None,
    adapter: Adapter = None,
    language: Language = "en",
    advice: AdviceRules = None,
    no_advice: NoAdvice = False,
) -> None:
    """Say which of two pictures looks better, and why."""
    from .advice_rules import load_rules
    from .assistant import Assistant
    from .images import load_image
    from .terminal import console, printable, show_comparison, spinner

    picture_a, picture_b = (load_image(path, name=printable(str(path))) for path in (a, b))
    original = None if reference is None else load_image(reference, name=printable(str(reference)))
    wanted = _advice_of(advice, no_advice)
    rules = None if wanted is None else load_rules(wanted)
    with spinner(f"loading {model}"):
        options = _options_of(quantize, adapter)
        assistant = Assistant.load(model, engine=engine, device=device, dtype=dtype, options=options)
    assistant.advice = rules
    result = assistant.compare(picture_a, picture_b, reference=original, explain=explain, language=language)
    if format is TextFormat.json:
        _print_json(result.to_dict())
    else:
        show_comparison(result, on=console())


@app.command()
def rank(
    paths: Annotated[
        list[str],
        typer.Argument(help="Pictures, patterns, or one folder of them; or two and more folders, which are ranked."),
    ],
    comparisons: Annotated[
        int | None,
        typer.Option(min=1, help="Pairs to compare at most.", show_default="every pair of up to 32, then N log2 N"),
    ] = None,
    start: Annotated[
        RankStart, typer.Option(help="scores: score every picture first, and begin with pairs of similar scores.")
    ] = RankStart.none,
    anchors: Annotated[
        str | None,
        typer.Option(help='Compare with pictures of known score instead: "package", or a CSV of picture,mos.'),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="A folder that keeps the comparisons; after a kill, run again, it goes on.")
    ] = None,
    format: Annotated[TextFormat, typer.Option(help="How to print.")] = TextFormat.text,
    model: Model = "nano",
    engine: EngineName = Engine.auto,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantize: Quantized = None,
    adapter: Adapter = None,
) -> None:
    """Order pictures, or folders of pictures of the same names, from best to worst by comparing pairs."""
    from .rank_command import RankOptions
    from .rank_command import rank as work

    options = RankOptions(
        comparisons=comparisons,
        start=start.value,
        anchors=anchors,
        run=run,
        as_json=format is TextFormat.json,
        model=model,
        engine=engine,
        device=device,
        dtype=dtype,
        transformers=_options_of(quantize, adapter),
    )
    raise typer.Exit(work(paths, options))


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="The pictures, searched to any depth.")],
    output: ReportFolder = None,
    explain: Explain = True,
    embed: Embed = None,
    maps: Annotated[bool, typer.Option("--maps", help="Show where the worst pictures are damaged.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures per pass; does not change the scores.")] = 8,
    model: Model = "nano",
    engine: EngineName = Engine.auto,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantize: Quantized = None,
    adapter: Adapter = None,
    language: Language = "en",
) -> None:
    """Score a folder into a page that opens anywhere, with a table beside it; later runs score only what changed."""
    from .report_command import ReportOptions
    from .report_command import report as work

    transformers = _options_of(quantize, adapter)
    options = ReportOptions(
        output, explain, language, batch_size, embed, model, engine, device, dtype, transformers, maps
    )
    raise typer.Exit(work(folder, options))


@app.command()
def watch(
    folder: Annotated[Path, typer.Argument(help="The pictures, searched to any depth.")],
    output: ReportFolder = None,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks at the folder.")] = 2.0,
    until_quiet: Annotated[bool, typer.Option("--until-quiet", help="End once nothing changes any more.")] = False,
    explain: Explain = True,
    embed: Embed = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures per pass; does not change the scores.")] = 8,
    model: Model = "nano",
    engine: EngineName = Engine.auto,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantize: Quantized = None,
    adapter: Adapter = None,
    language: Language = "en",
) -> None:
    """Keep the report of a folder up to date until Ctrl-C; a line of JSON for every new score."""
    from .report_command import ReportOptions
    from .report_command import watch as work

    transformers = _options_of(quantize, adapter)
    options = ReportOptions(output, explain, language, batch_size, embed, model, engine, device, dtype, transformers)
    raise typer.Exit(work(folder, options, interval_seconds=interval, once_quiet=until_quiet))


@app.command("dedupe-best")
def dedupe_best(
    folder: Annotated[Path, typer.Argument(help="The pictures, searched to any depth.")],
    to: Annotated[Path | None, typer.Option(help="Put the best of each group there; no file is ever deleted.")] = None,
    how: Annotated[Transfer, typer.Option(help="How they are put there.")] = Transfer.copy,
    singles: Annotated[
        bool, typer.Option("--singles", help="With --to: also pictures that resemble no other.")
    ] = False,
    format: Annotated[TextFormat, typer.Option(help="How to print.")] = TextFormat.text,
    model: Model = "nano",
    engine: EngineName = Engine.auto,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantize: Quantized = None,
    adapter: Adapter = None,
) -> None:
    """Find near-duplicates and bursts, and say which picture of each group is the best and how surely."""
    from .dedupe_command import DedupeOptions
    from .dedupe_command import dedupe_best as work

    transformers = _options_of(quantize, adapter)
    as_json = format is TextFormat.json
    options = DedupeOptions(to, how.value, singles, as_json, model, engine, device, dtype, transformers)
    raise typer.Exit(work(folder, options))


@app.command()
def where(
    image: Annotated[Path, typer.Argument(help="The picture.")],
    out: Annotated[Path | None, typer.Option(help="Draw the map over the picture: a PNG file.")] = None,
    array: Annotated[Path | None, typer.Option(help="The map as numbers: a NumPy .npy file, float32.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: boxes, and the map on a coarse grid.")] = False,
    method: Annotated[MapMethod, typer.Option(help="How to find out.")] = MapMethod.tiles,
    side: Annotated[int | None, typer.Option(min=32, help="Of a tile, in pixels.")] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, help="From one tile to the next; half a tile if left out.")
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(min=1024, help="Reduce the picture to this first; what its score sees if left out.")
    ] = None,
    boxes: Annotated[bool, typer.Option("--boxes/--no-boxes", help="Draw the boxes of distortions.")] = True,
    model: Model = "nano",
    engine: EngineName = Engine.auto,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantize: Quantized = None,
    adapter: Adapter = None,
) -> None:
    """Show where a picture is damaged, and by what."""
    from .where_command import WhereOptions
    from .where_command import where as run

    options = WhereOptions(
        out=out, array=array, as_json=as_json, method=method.value, side=side, stride=stride, max_pixels=max_pixels,
        boxes=boxes, model=model, engine=engine.value, device=device, dtype=dtype,
        transformers=_options_of(quantize, adapter),
    )  # fmt: skip
    raise typer.Exit(run(image, options))


@app.command()
def video(
    file: Annotated[Path, typer.Argument(help="The video.")],
    every: Annotated[float | None, typer.Option(help="Seconds from one frame to the next; 1 if left out.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Instead, this many frames, evenly spread.")] = None,
    scenes: Annotated[bool, typer.Option("--scenes/--no-scenes", help="Also look at a frame after every cut.")] = True,
    pooling: Annotated[Pooling, typer.Option(help="How frame scores become one.")] = Pooling.mean,
    worst: Annotated[int, typer.Option(min=0, help="How many worst moments to keep.")] = 5,
    explain: Explain = True,
    together: Annotated[
        int, typer.Option(min=0, help="Also show this many frames at once, to models made for videos.")
    ] = 0,
    out: Annotated[Path | None, typer.Option(help="The plot: an SVG file.")] = None,
    trace: Annotated[Path | None, typer.Option(help="The frames, one a row: a CSV file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    model: Model = "nano",
    engine: EngineName = Engine.auto,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantize: Quantized = None,
    adapter: Adapter = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Frames per pass; does not change the scores.")] = 8,
    language: Language = "en",
) -> None:
    """Score a video by frames: quality over time, one pooled score, and its worst moments."""
    from .video_command import VideoOptions
    from .video_command import video as run

    options = VideoOptions(
        every=every, count=count, scenes=scenes, pooling=pooling.value, worst=worst, explain=explain,
        together=together, out=out, trace=trace, as_json=as_json, model=model, engine=engine.value, device=device,
        dtype=dtype, transformers=_options_of(quantize, adapter), batch_size=batch_size, language=language,
    )  # fmt: skip
    raise typer.Exit(run(file, options))


@app.command()
def chat(
    images: Annotated[list[Path], typer.Argument(help="The pictures to talk about.")],
    model: Model = "nano",
    engine: EngineName = Engine.auto,
    device: Device = "auto",
    dtype: Dtype = "auto",
    quantize: Quantized = None,
    adapter: Adapter = None,
) -> None:
    """Ask questions about pictures: at a prompt, or one per line of stdin."""
    from .chat_command import chat as run

    options = _options_of(quantize, adapter)
    raise typer.Exit(run(images, model=model, engine=engine, device=device, dtype=dtype, options=options))


models_app = typer.Typer(invoke_without_command=True, help="List the models known by name, or fetch one.")
app.add_typer(models_app, name="models")


@models_app.callback()
def models(ctx: typer.Context, format: Listing = ListFormat.table) -> None:
    """List the models known by name, or fetch one; any folder or hub id works too."""
    if ctx.invoked_subcommand is not None:
        return
    from .models_command import show_models

    show_models(as_json=format is ListFormat.json)


@models_app.command()
def pull(model: Annotated[str, typer.Argument(help="A name from `mllm-iqa models`, or a hub id.")]) -> None:
    """Fetch a model ahead of time; an interrupted download goes on where it stopped."""
    from .models_command import pull as run

    print(run(model))


app.add_typer(rubric_app, name="rubric")


@app.command()
def doctor(format: Listing = ListFormat.table) -> None:
    """Show what this machine has and what is missing; exit with 1 when the shipped model cannot score here."""
    from .doctor import examine, nano_works
    from .terminal import console, show_table, spinner

    with spinner("looking around"):
        checks = examine()
    works = nano_works(checks)
    if format is ListFormat.json:
        _print_json({"nano_works": works, "checks": [check.to_dict() for check in checks]})
    else:
        header = ["what", "status", "detail", "consequence"]
        show_table(header, [[c.name, c.status, c.detail, c.consequence] for c in checks], on=console())
    raise typer.Exit(0 if works else 1)


class _Forwarded(TyperCommand):
    """A command that hands on everything after its name untouched, --help included."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = list(args)
        return []


def _forward(ctx: typer.Context) -> None:
    module, _, function = FEATURES[str(ctx.info_name)][0].partition(":")
    raise typer.Exit(getattr(import_module(module), function)(ctx.args))


for _name, (_, _help) in FEATURES.items():
    app.command(_name, cls=_Forwarded, help=_help)(_forward)


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2))
