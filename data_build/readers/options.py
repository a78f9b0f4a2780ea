"""How a reader of a common format is told its name, count and strictness, and how it hands its entries on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from .archive import Archive
from .collect import Terms, collect
from .entries import Entry
from .records import Reading
from .scale import Scale


@dataclass(frozen=True, slots=True)
class Options:
    """How to read, the same for every format.

    Attributes:
        dataset: name for the records; None = the stem of the file or folder.
        expected: number of entries there must be; None = any.
        skip_bad, check_images: as in `read`.
    """

    dataset: str | None = None
    expected: int | None = None
    skip_bad: bool = False
    check_images: bool = False


DEFAULTS = Options()


def collect_below(
    path: Path,
    entries: Callable[[Archive], Iterable[Entry]],
    scale: Scale,
    media_root: Path | None,
    options: Options,
) -> Reading:
    """Check the entries of a file or folder, whose pictures lie below `media_root` (None = the folder of the file)."""
    archive = Archive(path.parent if media_root is None else media_root)
    name = path.stem if options.dataset is None else options.dataset
    terms = Terms(dataset=name, scale=scale, std_is_spread=True, family=name, expected=options.expected)
    skip_bad, check_images = options.skip_bad, options.check_images
    return collect(entries(archive), archive, terms, skip_bad=skip_bad, check_images=check_images)
