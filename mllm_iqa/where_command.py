"""`mllm-iqa where`: a picture in; where it is damaged out, as text, JSON, a drawing, numbers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from .assistant import Assistant
from .errors import ConfigError
from .heat_map import png_of
from .images import load_image
from .output_file import check_output, replaced_at_end
from .terminal import console, printable, show_table, spinner
from .transformers_options import TransformersOptions
from .where import TILE_SIDE, Method, QualityMap, map_of


@dataclass(frozen=True, slots=True)
class WhereOptions:
    """What the command line says; see its help."""

    out: Path | None = None
    array: Path | None = None
    as_json: bool = False
    method: Method = "tiles"
    side: int | None = None
    stride: int | None = None
    max_pixels: int | None = None
    boxes: bool = True
    model: str = "nano"
    engine: str = "auto"
    device: str = "auto"
    dtype: str = "auto"
    transformers: TransformersOptions = field(default_factory=TransformersOptions)


def where(path: Path, options: WhereOptions) -> int:
    """Find where a picture is damaged and write what was asked for; returns 0.

    Raises:
        IqaError: an unreadable picture, an output that cannot be written, an unknown model.
    """
    for output, suffix in ((options.out, ".png"), (options.array, ".npy")):
        if output is not None:
            if output.suffix.lower() != suffix:
                raise ConfigError(f"{output}: the name must end in {suffix}")
            check_output(output, inputs=[path])
    picture = load_image(path, name=printable(str(path)))
    with spinner(f"loading {options.model}"):
        assistant = Assistant.load(
            options.model,
            engine=options.engine,
            device=options.device,
            dtype=options.dtype,
            options=options.transformers,
        )
    side = TILE_SIDE if options.side is None else options.side
    stride = max(1, side // 2) if options.stride is None else options.stride
    with _bar() as advance:
        found = map_of(
            assistant,
            picture,
            method=options.method,
            side=side,
            stride=stride,
            max_pixels=options.max_pixels,
            advance=advance,
        )
    if options.out is not None:
        with replaced_at_end(options.out) as file:
            file.write(png_of(found, picture.pixels, boxes=options.boxes))
    if options.array is not None:
        with replaced_at_end(options.array) as file:
            np.save(file, found.at_full_size(), allow_pickle=False)
    if options.as_json:
        print(json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False, indent=2))
    else:
        _show(found, options)
    return 0


def _show(found: QualityMap, options: WhereOptions) -> None:
    on = console()
    print(found.image.name)
    if found.method == "attribution":
        print("attribution: 1 where the score is lowered most; it names no distortions")
    elif found.regions is None:
        print(f"{found.model} tells no distortions; the map shows how far the score of each part falls")
    elif not found.regions:
        print("no part of it is damaged")
    else:
        print(f"{found.damaged_share:.0%} of it damaged")
        rows = [
            [r.kind, r.severity_word, f"{r.probability:.2f}", ", ".join(map(str, r.box)), f"{r.share:.0%}"]
            for r in found.regions
        ]
        show_table(["distortion", "severity", "p", "left, top, right, bottom", "share"], rows, on=on)
    how = f"{found.tiles} tiles of {found.side} px, {found.stride} px apart" if found.tiles else "one gradient"
    missed = f"; {found.unread} tiles got no score" if found.unread else ""
    print(f"{found.image.width}x{found.image.height} pixels; {how}{missed}; model {found.model}")
    for path in filter(None, (options.out, options.array)):
        print(f"wrote {printable(str(path))}")


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None] | None]:
    """Progress on stderr where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("reading tiles"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console(sys.stderr), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task("tiles", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
