"""`mllm-iqa score --run FOLDER`: parts of a table as they are ready, and only what is missing when run again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

from .advice_rules import SHIPPED, load_rules
from .assistant import Assistant
from .calibration import load_calibration
from .containers import Item
from .errors import ConfigError, IqaError
from .inputs import Inputs
from .row_store import RowStore
from .run_folder import PartFormat, RunFolder, claimed, part_row, write_part
from .run_settings import run_settings
from .score_options import ScoreOptions
from .score_stream import Row, judged
from .tally import Tally
from .terminal import error_line

_LEAVE_ROWS_ALONE = frozenset(
    {"output", "run", "batch_size", "allow_failures", "reference"}
)  # the last: not with --run


def part_format(options: ScoreOptions) -> PartFormat:
    """Of the parts, and of the single file where one is asked for: Parquet unless JSON Lines is named.

    Raises:
        ConfigError: another format, which cannot be written in parts.
    """
    if options.format == "jsonl":
        return "jsonl"
    if options.format != "parquet":
        raise ConfigError(f"--run writes parquet or jsonl, not {options.format}")
    return "parquet"


def settings_of(inputs: Inputs, options: ScoreOptions, *, engine: str, device: str) -> dict[str, Any]:
    """What the parts of a run depend on: every option but those known to leave rows alone.

    The arguments are among it, so that no other pictures' rows are replaced.
    """
    others = {key: value for key, value in asdict(options).items() if key not in _LEAVE_ROWS_ALONE}
    calibration = None if options.calibration is None else load_calibration(options.calibration).model_dump()
    return {
        "inputs": list(inputs.arguments),
        **others,
        "advice rules": _advice_digest(options),
        "calibration": calibration,
        **run_settings(model=options.model, adapters=options.transformers.adapters, engine=engine, device=device),
    }


def _advice_digest(options: ScoreOptions) -> str | None:
    """SHA-256 of a user's own rules; the shipped ones are among the prompts."""
    if options.advice is None or options.advice == SHIPPED:
        return None
    load_rules(options.advice)  # so that a file that cannot be used is refused here, in one sentence
    return sha256(Path(options.advice).read_bytes()).hexdigest()


def engine_name(options: ScoreOptions) -> str:
    """The engine by its name; "auto" is a server for a URL, else transformers."""
    if options.engine != "auto":
        return options.engine
    return "openai" if options.model.startswith(("http://", "https://")) else "transformers"


def score_in_parts(
    inputs: Inputs, options: ScoreOptions, load: Callable[[], Assistant], advance: Callable[[], None]
) -> int:
    """Score into the folder `options.run`, taking over what an earlier run of the same settings has scored.

    Returns:
        0 when every picture was scored or failures are allowed, else 1; also 1 when the model broke down on the way.

    Raises:
        IqaError: before anything was scored: an unusable folder, a run of other settings, an unknown model.
    """
    assert options.run is not None
    settings = settings_of(inputs, options, engine=engine_name(options), device=options.device)
    with claimed(options.run, settings, part_format(options)) as run:
        assistant = load()
        tally, started = Tally(), monotonic()
        parts = 0
        try:
            with closing(_store(run)) as store:
                for parts, rows in enumerate(_parts(assistant, inputs, options, run, store, tally, advance), 1):
                    write_part(run.folder, parts - 1, rows, run.format)
        except IqaError as error:
            if tally.total == 0:
                raise
            print(error_line(f"after {tally.total} of {inputs.total} pictures: {error}"), file=sys.stderr)
            print(_go_on(parts, run.folder), file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"interrupted after {tally.total} of {inputs.total} pictures", file=sys.stderr)
            print(_go_on(parts, run.folder), file=sys.stderr)
            raise
        return finished(run, parts, tally, options, monotonic() - started)


def finished(run: RunFolder, parts: int, tally: Tally, options: ScoreOptions, seconds: float) -> int:
    """Complete the folder, write the single file if one is asked for, say how it went; gives the exit status."""
    run.finish(parts, {**tally.to_dict(), "seconds": round(seconds, 3)})
    if options.output is not None:
        run.joined_into(options.output)
    print("\n".join([*tally.lines(seconds), f"{parts} parts in {run.folder}"]), file=sys.stderr)
    print(f"{tally.scored}/{tally.total} scored", file=sys.stderr)
    return 1 if tally.failed and not options.allow_failures else 0


def rows_of(
    assistant: Assistant,
    items: Iterable[Item],
    options: ScoreOptions,
    format: PartFormat,
    *,
    known: Callable[[str], Row | None],
    tally: Tally,
) -> Iterator[Row]:
    """The rows of pictures, in order, counted as they come."""
    for one in judged(
        assistant,
        items,
        explain=options.explain,
        language=options.language,
        batch_size=options.batch_size,
        known=known,
    ):
        row = part_row(one, format)
        if row["error"] is None:
            tally.add_score(row["mos"], known=one.known is not None)
        else:
            tally.add_failure(row["error"])
        yield row


def _parts(
    assistant: Assistant,
    inputs: Inputs,
    options: ScoreOptions,
    run: RunFolder,
    store: RowStore,
    tally: Tally,
    advance: Callable[[], None],
) -> Iterator[list[Row]]:
    """Rows of one part after the other; every score is in the store before its part is asked for."""
    rows: list[Row] = []
    for row in rows_of(assistant, inputs, options, run.format, known=store.get, tally=tally):
        if row["error"] is None:
            store.add(row["sha256"], row)
        rows.append(row)
        advance()
        if len(rows) == options.rows_per_part:
            store.sync()  # whoever finds the part finds its rows in the store, too
            yield rows
            rows = []
    if rows:
        yield rows


def _store(run: RunFolder) -> RowStore:
    """The store of a run that was interrupted; of one that was complete, made again from its parts."""
    if not run.store.exists():
        making = run.store.with_name(f".{run.store.name}.partial")  # a store that is there is whole
        with closing(RowStore(making)) as store:
            for row in run.known_rows():
                store.add(row["sha256"], row)
        making.replace(run.store)
    return RowStore(run.store)


def _go_on(parts: int, folder: Path) -> str:
    return f"{parts} parts are complete in {folder}; the same command goes on from here"
