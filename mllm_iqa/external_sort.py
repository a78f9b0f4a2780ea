"""Sorting more names than one wants to hold: sorted runs in temporary files, merged while they are read."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice
from typing import IO

HELD = 50_000
"""How many keys are held at a time, about 10 MB of names."""


def externally_sorted(keys: Iterable[list[str]], *, held: int = HELD) -> Iterator[list[str]]:
    """The keys in ascending order, `held` of them in memory at a time.

    Args:
        keys: lists of strings, compared as Python compares them; undecodable bytes of names survive.
        held: at least 1. Fewer keys than this never touch the disk.
    """
    stream = iter(keys)
    run = sorted(islice(stream, held))
    if len(run) < held:
        yield from run
        return
    files: list[IO[str]] = []
    try:
        while run:
            file = tempfile.TemporaryFile("w+", encoding="ascii")  # noqa: SIM115  (closed below, after the merge)
            files.append(file)
            file.writelines(json.dumps(key) + "\n" for key in run)
            file.seek(0)
            run = sorted(islice(stream, held))
        yield from merge(*(map(json.loads, file) for file in files))
    finally:
        for opened in files:
            opened.close()
