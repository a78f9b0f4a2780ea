"""Which files of a folder that changes are whole: those that were the same at two looks in a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .scan import Found


class Settling:
    """What the last look saw. A file still being written changes its size or time from look to look."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[int, int]] = {}
        self.settled = False  # whether nothing changed between the last two looks

    def look(self, found: Iterable[Found], *, known: Mapping[str, Mapping[str, Any]]) -> list[Found]:
        """The files to be in the report now: those that hold still.

        One that is in the report and is being changed stays there as it was. One that is gone stays for one look more:
        if it was renamed, its new name holds still by then, and its content is still known.

        Args:
            found: everything the folder holds now.
            known: rows of the report by name, with the `bytes` and `mtime_ns` of the file when it was judged.
        """
        now = {one.name: one for one in found}
        ready = []
        for one in now.values():
            row = known.get(one.name)
            judged_as = None if row is None else (row["bytes"], row["mtime_ns"])
            if one.state in (judged_as, self._before.get(one.name)):
                ready.append(one)
            elif judged_as is not None:
                ready.append(Found(one.name, one.path, *judged_as))
        for name, row in known.items():
            if name not in now and name in self._before:
                ready.append(Found(name, "", row["bytes"], row["mtime_ns"]))
        self.settled = {name: one.state for name, one in now.items()} == self._before
        self._before = {name: one.state for name, one in now.items()}
        return ready
