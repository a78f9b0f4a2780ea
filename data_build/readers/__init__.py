"""Public image-quality sets in their original archive layouts, and common table formats, as one kind of record.

`read("kadid10k", folder)` reads a set named in `READERS`; `read_table`, `read_folder`, `read_pyiqa_csv`,
`read_qalign_json`, `read_deqa_json`, `read_llava_json` and `read_hf` read anything else, given its scale. Scores become
MOS on 1..5, higher = better, by a straight line between the ends of the scale; the original value is kept. Nothing is
downloaded.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from mllm_iqa.errors import ConfigError

from .archive import Archive
from .catalogue import READERS, Reader
from .collect import Terms, collect
from .conversations import read_deqa_json, read_llava_json, read_qalign_json
from .hugging_face import read_hf
from .options import Options
from .records import Problem, Rated, RatedPair, Reading, Unrated, describe
from .scale import Scale
from .tables import Columns, read_folder, read_pyiqa_csv, read_table

__all__ = [
    "READERS",
    "Columns",
    "Options",
    "Problem",
    "Rated",
    "RatedPair",
    "Reader",
    "Reading",
    "Scale",
    "Unrated",
    "describe",
    "read",
    "read_deqa_json",
    "read_folder",
    "read_hf",
    "read_llava_json",
    "read_pyiqa_csv",
    "read_qalign_json",
    "read_table",
]


def read(
    name: str, root: Path, *, expected: int | None = None, skip_bad: bool = False, check_images: bool = False
) -> Reading:
    """Read a public set.

    Args:
        name: a key of `READERS`.
        root: the folder its archive was unpacked into.
        expected: entries there must be; None = as many as the whole archive has.
        skip_bad: leave out what is wrong and say so in `Reading.problems`, instead of raising.
        check_images: decode every picture; otherwise they need only be there.

    Raises:
        ConfigError: an unknown name.
        DataError: listing every problem with its path, unless `skip_bad`: missing pictures and references, duplicates,
            scores that are no numbers or outside the scale, unreadable files, a wrong count. Even with `skip_bad` when
            nothing at all could be read.
    """
    if name not in READERS:
        close = get_close_matches(name.lower(), READERS, 1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(READERS)}"
        raise ConfigError(f"unknown data set {name!r}; {hint}")
    reader = READERS[name]
    archive = Archive(root)
    terms = Terms(
        dataset=name,
        scale=reader.scale,
        std_is_spread=reader.std == "raters",
        family=reader.family,
        expected=reader.count if expected is None else expected,
    )
    return collect(reader.parse(archive), archive, terms, skip_bad=skip_bad, check_images=check_images)
