"""`mllm-iqa dedupe-best`: groups of pictures that show the same, the best of each, and how sure the choice is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from .assistant import Assistant
from .best_of_bursts import Deduped, Group, Transfer, best_of_bursts, put
from .engines import Engine
from .errors import ConfigError, ImageError
from .gallery.scan import scan
from .terminal import console, printable, spinner
from .transformers_options import TransformersOptions

_VERDICTS = {
    "clear": "clear: the direct comparison agrees in both orders",
    "uncertain": "uncertain: within what the model can tell; look yourself",
    "equal files": "the best two are the same file twice",
}


@dataclass(frozen=True, slots=True)
class DedupeOptions:
    """What the command line asks for.

    Attributes:
        to: where the best ones are put; None = nowhere.
        how: in what way.
        singles: whether pictures that resemble no other are put there too.
        as_json: print JSON.
        model, engine, device, dtype, transformers: see `Assistant.load`, which calls the last one `options`.
    """

    to: Path | None
    how: Transfer
    singles: bool
    as_json: bool
    model: str
    engine: Engine
    device: str
    dtype: str
    transformers: TransformersOptions = field(default_factory=TransformersOptions)


def dedupe_best(folder: Path, options: DedupeOptions) -> int:
    """Print the groups of a folder, and put the best pictures elsewhere where that is asked for.

    Returns:
        0, or 1 when a picture could not be read or put.

    Raises:
        IqaError: no such folder, no picture in it, an unknown model, a target inside the folder.
    """
    if options.singles and options.to is None:
        raise ConfigError("--singles goes with --to")
    found = scan(folder)
    if not found:
        raise ImageError(f"{folder}: the folder holds no picture")
    if options.to is not None:
        put(folder, (), options.to, how=options.how)  # refuses a target before the work
    with spinner(f"loading {options.model}"):
        assistant = Assistant.load(
            options.model,
            engine=options.engine,
            device=options.device,
            dtype=options.dtype,
            options=options.transformers,
        )
    with _progress() as advance:
        result = best_of_bursts(assistant, found, advance=advance)
    if options.as_json:
        print(json.dumps(result.to_dict(), ensure_ascii=False, allow_nan=False, indent=2))
    else:
        print("\n".join(lines_of(result)))
    faults = [f"{failure.name}: {failure.error}" for failure in result.failures]
    if options.to is not None:
        names = [group.best for group in result.groups] + (list(result.singles) if options.singles else [])
        there, more = put(folder, names, options.to, how=options.how)
        faults += more
        print(f"{there} of {len(names)} pictures are in {options.to}", file=sys.stderr)
    for fault in faults:
        print(f"failed: {printable(fault)}", file=sys.stderr)
    return 1 if faults else 0


def lines_of(result: Deduped) -> list[str]:
    """The groups for people."""
    lines: list[str] = []
    for number, group in enumerate(result.groups, 1):
        lines += [*_group_lines(number, group), ""]
    uncertain = sum(group.verdict == "uncertain" for group in result.groups)
    lines.append(
        f"{len(result.groups)} groups, {uncertain} of them uncertain; {len(result.singles)} pictures resemble no other"
    )
    return [*lines, f"model {result.model}"]


def _group_lines(number: int, group: Group) -> list[str]:
    said = "" if group.probability is None else f" (probability {group.probability:.2f})"
    lines = [f"group {number}: {len(group.pictures)} pictures, margin {group.margin:.2f}"]
    for place, one in enumerate(group.pictures):
        lines.append(f"  {'keep' if place == 0 else '    '}  {one.mos:.2f}  {printable(one.name)}")
    return [*lines, f"  {_VERDICTS[group.verdict]}{said}"]


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    if not sys.stderr.isatty():
        yield lambda what, done, of: None
        return
    with console(sys.stderr).status("reading") as status:
        yield lambda what, done, of: status.update(f"{what} {done} of {of}")
