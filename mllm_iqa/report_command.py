"""`mllm-iqa report` and `mllm-iqa watch`: a folder's scores, brought up to date once or kept so."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from os.path import relpath
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from . import __version__
from .assistant import Assistant
from .engines import Engine
from .errors import ConfigError, ImageError
from .gallery.maps import draw_maps, drop_maps, undrawn
from .gallery.page import Heading, worst_of, write_page
from .gallery.scan import Found, scan
from .gallery.store import PAGE, Change, FolderStore, Row, opened
from .gallery.watch import Settling
from .run_settings import run_settings
from .terminal import console, printable, spinner
from .transformers_options import TransformersOptions


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What the command line asks for.

    Attributes:
        output: folder of the report; None = NAME-report in the current folder.
        explain, language, batch_size: see `Assistant.score_many`.
        embed: whether everything is inside the page; None = where pictures are few.
        maps: show where the worst pictures are damaged.
        model, engine, device, dtype, transformers: see `Assistant.load`, which calls the last one `options`.
    """

    output: Path | None
    explain: bool
    language: str
    batch_size: int
    embed: bool | None
    model: str
    engine: Engine
    device: str
    dtype: str
    transformers: TransformersOptions = field(default_factory=TransformersOptions)
    maps: bool = False


def report(folder: Path, options: ReportOptions) -> int:
    """Bring the report of a folder up to date.

    Returns:
        0, or 1 when a picture could not be scored.

    Raises:
        IqaError: no such folder, no picture in it, a report that cannot be written, an unknown model.
    """
    home = _home(folder, options)
    found = scan(folder, leave_out=home)
    if not found and not home.is_dir():
        raise ImageError(f"{folder}: the folder holds no picture")
    with _store(home, options) as store:
        assistant = _loaded(options) if _work(store, found) else None
        with _progress("scoring", len(found) - _known(store, found)) as advance:
            change = _updated(store, found, assistant, options, lambda row: advance())
        if options.maps:
            _draw_maps(store, folder, assistant, options)
        _write(store, folder, options)
        failed = sum(row["error"] is not None for row in store.rows.values())
    print(f"{home / PAGE}")
    print(
        f"{change.scored} scored, {change.kept} unchanged, {change.moved} moved or copied, {change.gone} gone, "
        f"{failed} of {len(found)} failed",
        file=sys.stderr,
    )
    return 1 if failed else 0


def watch(folder: Path, options: ReportOptions, *, interval_seconds: float, once_quiet: bool = False) -> int:
    """Keep the report of a folder up to date until interrupted; a line of JSON on stdout for every new score.

    Args:
        folder: may be empty, and may be gone for a while.
        options: see `ReportOptions`.
        interval_seconds: between two looks; a file is judged once it was the same in two.
        once_quiet: end when everything is scored and nothing changes.

    Returns:
        0: being interrupted is how it ends.
    """
    home = _home(folder, options)
    scan(folder, leave_out=home)  # no such folder is an error now, and not later
    with _store(home, options) as store, _terminated():
        assistant = _loaded(options)
        settling = Settling()
        total = 0
        print(f"watching {folder}; the report is {home / PAGE}; stop with Ctrl-C", file=sys.stderr)
        try:
            while True:
                found = _looked(folder, home)
                if found is not None:
                    ready = settling.look(found, known=store.rows)
                    change = _updated(store, ready, assistant, options, _say) if _due(store, ready) else None
                    if change is not None and change.any:
                        total += change.scored
                        _write(store, folder, options)
                    elif not (home / PAGE).is_file():
                        _write(store, folder, options)
                    if once_quiet and change is None and settling.settled:
                        break
                time.sleep(interval_seconds)
        except KeyboardInterrupt:
            _write(store, folder, options)
        print(f"stopped; {total} scored, {len(store.rows)} pictures in the report", file=sys.stderr)
    return 0


def _looked(folder: Path, home: Path) -> list[Found] | None:
    """What the folder holds; None while it is gone, so that a disk taken out does not empty the report."""
    try:
        return scan(folder, leave_out=home)
    except ImageError:
        return None


def _due(store: FolderStore, ready: list[Found]) -> bool:
    states = {one.name: one.state for one in ready}
    rows = {name: (row["bytes"], row["mtime_ns"]) for name, row in store.rows.items()}
    return states != rows


def _home(folder: Path, options: ReportOptions) -> Path:
    home = Path(f"{folder.resolve().name or 'folder'}-report") if options.output is None else options.output
    if home.resolve() == folder.resolve():
        raise ConfigError(f"--output {home} is the folder of the pictures; name another one, inside it or elsewhere")
    return home


@contextmanager
def _store(home: Path, options: ReportOptions) -> Iterator[FolderStore]:
    engine = options.engine if options.engine != "auto" else "openai" if "://" in options.model else "transformers"
    settings: dict[str, Any] = {
        **run_settings(
            model=options.model, adapters=options.transformers.adapters, engine=engine, device=options.device
        ),
        "explain": options.explain,
        "language": options.language,
        "dtype": options.dtype,
        "quantize": options.transformers.quantize,
    }
    with opened(home, settings) as store:
        if store.outdated:
            print(
                f"{store.outdated} scores were made otherwise (model, prompts, options); scoring anew", file=sys.stderr
            )
        yield store


def _loaded(options: ReportOptions) -> Assistant:
    with spinner(f"loading {options.model}"):
        return Assistant.load(
            options.model,
            engine=options.engine,
            device=options.device,
            dtype=options.dtype,
            options=options.transformers,
        )


def _known(store: FolderStore, found: list[Found]) -> int:
    return sum(1 for one in found if store.unchanged(one) is not None)


def _work(store: FolderStore, found: list[Found]) -> bool:
    """Whether a model is needed."""
    return _known(store, found) < len(found)


def _updated(
    store: FolderStore,
    found: list[Found],
    assistant: Assistant | None,
    options: ReportOptions,
    tell: Callable[[Row], None],
) -> Change:
    return store.update(
        assistant,
        found,
        explain=options.explain,
        language=options.language,
        batch_size=options.batch_size,
        tell=tell,
    )


def _write(store: FolderStore, folder: Path, options: ReportOptions) -> None:
    link = quote(relpath(folder.resolve(), store.home.resolve()), errors="replace") + "/"
    title = printable(f"Picture quality: {folder.resolve().name}")
    heading = Heading(title, link, datetime.now().astimezone(), __version__)
    write_page(store.home, store.sorted_rows(), heading, embed=options.embed)


def _draw_maps(store: FolderStore, folder: Path, assistant: Assistant | None, options: ReportOptions) -> None:
    worst = worst_of([row for row in store.sorted_rows() if row["error"] is None])
    drop_maps(store.home, worst)
    missing = len(undrawn(store.home, worst))
    if missing:
        with _progress("mapping", missing) as advance:
            draw_maps(store.home, folder, worst, assistant or _loaded(options), advance)


def _say(row: Row) -> None:
    what = {key: row[key] for key in ("name", "mos", "level", "error")}
    print(json.dumps(what, ensure_ascii=False), flush=True)


@contextmanager
def _progress(what: str, total: int) -> Iterator[Callable[[], None]]:
    if total < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(sys.stderr), transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


@contextmanager
def _terminated() -> Iterator[None]:
    """Let a termination signal end the watch as Ctrl-C does."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
