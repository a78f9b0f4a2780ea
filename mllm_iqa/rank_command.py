"""`mllm-iqa rank`: pictures or folders in, an order out, with how far to trust it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .anchoring import Anchored, anchored_scores, read_anchors
from .assistant import Assistant
from .comparing import OutcomeStore, outcome_store
from .engines import Engine
from .errors import ConfigError, ImageError
from .inputs import find
from .rank_folders import FolderRanking, rank_folders
from .rank_pictures import MAX_RANKED, Advance, Start, rank_pictures
from .run_folder import claimed
from .run_settings import run_settings
from .terminal import console, printable, show_anchored, show_folder_ranking, show_ranking, spinner
from .transformers_options import TransformersOptions
from .types import Failure, Ranking

_SAY_SECONDS = 10.0  # between progress lines where stderr is no terminal


@dataclass(frozen=True, slots=True)
class RankOptions:
    """What the command line asks for.

    Attributes:
        comparisons: budget; None = the default of what is ranked.
        start: see `rank_pictures`.
        anchors: "package", or a CSV file; None = rank by comparing with each other.
        run: folder that keeps outcomes; None = none.
        as_json: print JSON instead of a table.
        model, engine, device, dtype, transformers: see `Assistant.load`, which calls the last one `options`.
    """

    comparisons: int | None
    start: Start
    anchors: str | None
    run: Path | None
    as_json: bool
    model: str
    engine: Engine
    device: str
    dtype: str
    transformers: TransformersOptions = field(default_factory=TransformersOptions)


def rank(arguments: Sequence[str], options: RankOptions) -> int:
    """Rank what the arguments stand for: folders where they are two or more folders and nothing else, else pictures.

    Returns:
        0, or 1 when a picture could not be read; the others are ranked.

    Raises:
        IqaError: before anything was compared.
    """
    folders = len(arguments) > 1 and all(os.path.isdir(argument) for argument in arguments)
    if folders and options.anchors is not None:
        raise ConfigError("--anchors scores pictures; name pictures or one folder of them")
    if options.anchors is not None and (options.comparisons is not None or options.start != "none"):
        raise ConfigError("--anchors compares every picture with every anchor; leave --comparisons and --start out")
    if folders and options.start != "none":
        raise ConfigError("--start scores goes with pictures, not with folders")
    anchors = None if options.anchors is None else read_anchors(options.anchors)
    items = [] if folders else list(find(arguments))
    if not folders and anchors is None and not 2 <= len(items) <= MAX_RANKED:
        raise ImageError(f"a ranking takes 2 to {MAX_RANKED} pictures, got {len(items)}")
    with _kept(options) as store:
        with spinner(f"loading {options.model}"):
            assistant = Assistant.load(
                options.model,
                engine=options.engine,
                device=options.device,
                dtype=options.dtype,
                options=options.transformers,
            )
        result: Ranking | FolderRanking | Anchored
        with progress() as advance:
            if folders:
                result = rank_folders(
                    assistant, arguments, comparisons=options.comparisons, store=store, advance=advance
                )
            elif anchors is not None:
                result = anchored_scores(assistant, items, anchors, store=store, advance=advance)
            else:
                result = rank_pictures(
                    assistant,
                    items,
                    comparisons=options.comparisons,
                    start=options.start,
                    store=store,
                    advance=advance,
                )
    _print(result, as_json=options.as_json)
    return _said(result.failures)


def _print(result: Ranking | FolderRanking | Anchored, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False, indent=2))
    elif isinstance(result, FolderRanking):
        show_folder_ranking(result, on=console())
    elif isinstance(result, Anchored):
        show_anchored(result, on=console())
    else:
        show_ranking(result, on=console())


def _said(failures: Sequence[Failure]) -> int:
    for failure in failures:
        print(f"failed: {printable(failure.error)}", file=sys.stderr)
    return 1 if failures else 0


@contextmanager
def _kept(options: RankOptions) -> Iterator[OutcomeStore | None]:
    """The store of outcomes in the folder of --run; a folder made with another model is refused."""
    if options.run is None:
        yield None
        return
    engine = options.engine if options.engine != "auto" else "openai" if "://" in options.model else "transformers"
    settings: dict[str, Any] = {
        "command": "rank",
        **run_settings(
            model=options.model,
            adapters=options.transformers.adapters,
            engine=engine,
            device=options.device,
        ),
        "dtype": options.dtype,
        "quantize": options.transformers.quantize,
    }
    with claimed(options.run, settings, "jsonl") as folder, outcome_store(folder.store) as store:
        yield store


@contextmanager
def progress() -> Iterator[Advance]:
    """A bar on stderr; a line now and then where that is no terminal."""
    if sys.stderr.isatty():
        columns = (TextColumn("comparing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console(sys.stderr), transient=True, redirect_stdout=False) as bar:
            task = bar.add_task("comparing", total=None)
            yield lambda done, of: bar.update(task, completed=done, total=of)
        return
    yield _lines()


def _lines() -> Callable[[int, int], None]:
    said = monotonic()

    def advance(done: int, of: int) -> None:
        nonlocal said
        if monotonic() - said >= _SAY_SECONDS:
            said = monotonic()
            print(f"{done} of {of} comparisons", file=sys.stderr)

    return advance
