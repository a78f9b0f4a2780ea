"""`mllm-iqa video`: a video in; its quality over time out, as text, JSON, a plot, a table."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn

from .assistant import Assistant
from .errors import ConfigError
from .levels import LEVELS
from .output_file import check_output, replaced_at_end
from .terminal import console, printable, show_table, spinner
from .transformers_options import TransformersOptions
from .video import Advance, judge_video
from .video_frames import FrameReader, Sampling, Video
from .video_plot import clock, svg_of
from .video_pooling import POOLINGS
from .video_types import TracePoint, VideoScore

INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """What the command line says; see its help."""

    every: float | None = None
    count: int | None = None
    scenes: bool = True
    pooling: str = "mean"
    worst: int = 5
    explain: bool = True
    together: int = 0
    out: Path | None = None
    trace: Path | None = None
    as_json: bool = False
    model: str = "nano"
    engine: str = "auto"
    device: str = "auto"
    dtype: str = "auto"
    transformers: TransformersOptions = field(default_factory=TransformersOptions)
    batch_size: int = 8
    language: str = "en"


def video(path: Path, options: VideoOptions) -> int:
    """Score a video and write what was asked for.

    Returns:
        0; 1 where a sampled frame could not be scored or the file ended early; 130 when interrupted, with what was
        scored until then written all the same.

    Raises:
        IqaError: an unreadable video, an output that cannot be written, an unknown model.
    """
    for output, suffix in ((options.out, ".svg"), (options.trace, ".csv")):
        if output is not None:
            if output.suffix.lower() != suffix:
                raise ConfigError(f"{output}: the name must end in {suffix}")
            check_output(output, inputs=[path])
    if options.every is not None and options.count is not None:
        raise ConfigError("--every and --count exclude each other")
    every = 1.0 if options.every is None and options.count is None else options.every
    sampling = Sampling(every=every, count=options.count, scenes=options.scenes)
    FrameReader(path, sampling=sampling).close()  # what cannot be read is said before a model is loaded
    with spinner(f"loading {options.model}"):
        assistant = Assistant.load(
            options.model,
            engine=options.engine,
            device=options.device,
            dtype=options.dtype,
            options=options.transformers,
        )
    with _bar() as advance:
        result = judge_video(
            assistant,
            path,
            sampling=sampling,
            pooling=options.pooling,
            worst=options.worst,
            explain=options.explain,
            language=options.language,
            together=options.together,
            batch_size=options.batch_size,
            name=printable(str(path)),
            advance=advance,
        )
    if options.out is not None:
        with replaced_at_end(options.out) as file:
            file.write(svg_of(result).encode())
    if options.trace is not None:
        with replaced_at_end(options.trace) as file:
            file.write(csv_of(result).encode())
    if options.as_json:
        print(json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False, indent=2))
    else:
        _show(result, options)
    return _status(result)


def csv_of(result: VideoScore) -> str:
    """The trace as CSV: seconds, frame, scene, cut, mos, p_excellent ... p_bad, outside_mass, error."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(
        ["seconds", "frame", "scene", "cut", "mos", *(f"p_{level}" for level in LEVELS), "outside_mass", "error"]
    )
    for p in result.trace:
        levels = ["" if p.levels is None else p.levels[level] for level in LEVELS]
        mos, outside = ("" if v is None else v for v in (p.mos, p.outside_mass))
        rows.writerow([round(p.seconds, 4), p.frame, p.scene, int(p.cut), mos, *levels, outside, p.error or ""])
    return text.getvalue()


def _status(result: VideoScore) -> int:
    if result.ended_early is not None and result.ended_early.startswith("interrupted"):
        return INTERRUPTED
    return 1 if result.ended_early is not None or result.n_scored < result.n_total else 0


def _show(result: VideoScore, options: VideoOptions) -> None:
    info = result.video
    print(info.name)
    others = ", ".join(f"{kind} {value:.2f}" for kind, value in result.pooled.items() if kind != result.pooling)
    print(f"MOS {result.mos:.2f} of 5 ({result.level}), {POOLINGS[result.pooling]}; {others}")
    if result.together is not None:
        print(f"several frames in one question: MOS {result.together:.2f}")
    if result.worst:
        print("\nworst moments")
        rows = [[clock(m.seconds), f"{m.mos:.2f}", _found(m.distortions)] for m in result.worst]
        show_table(["time", "MOS", "distortions"], rows, on=console())
        if result.worst[0].explanation is not None:
            print(f"\n{clock(result.worst[0].seconds)}: {printable(result.worst[0].explanation)}")
    length = "" if info.duration is None else f", {info.duration:.1f} s"
    shape = f"{info.width}x{info.height}, {info.codec} {info.pixel_format}{length}"
    print(f"\n{shape}; {info.color}; {_count(len(info.cuts), 'cut')}")
    if info.rotation:
        print(f"turned by {info.rotation} degrees to stand upright")
    for note in info.notes:
        print(f"note: {note}")
    print(f"{result.n_scored}/{result.n_total} frames scored; model {result.model}")
    for path in filter(None, (options.out, options.trace)):
        print(f"wrote {printable(str(path))}")
    if result.ended_early is not None:
        print(f"ended early: {result.ended_early}", file=sys.stderr)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _found(findings: object) -> str:
    if findings is None:
        return "-"
    assert isinstance(findings, tuple)
    return "; ".join(map(str, findings)) or "none found"


@contextmanager
def _bar() -> Iterator[Advance | None]:
    """Progress in seconds of the video, on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("scoring"), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console(sys.stderr), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("", total=None)

        def advance(point: TracePoint, video: Video) -> None:
            score = "not scored" if point.mos is None else f"MOS {point.mos:.2f}"
            of = "" if video.duration is None else f" of {clock(video.duration)}"
            words = f"{clock(point.seconds)}{of}, {score}"
            bar.update(task, completed=point.seconds, total=video.duration, description=words)

        yield advance
