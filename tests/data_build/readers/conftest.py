"""Archives that the reader tests unpack for themselves: empty pictures, true names and scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A folder that files are put into; paths are relative to it."""

    root: Path

    def picture(self, *names: str) -> None:
        """Empty files: readers look for pictures, and open them only when asked to."""
        for name in names:
            self._new(name).touch()

    def text(self, name: str, content: str) -> Path:
        path = self._new(name)
        path.write_text(content, encoding="utf-8")
        return path

    def mat(self, name: str, **variables: Any) -> None:
        """A MATLAB file; lists of strings become cell arrays, as MATLAB writes them."""
        from scipy.io import savemat

        def cells(value: Any) -> Any:
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                return np.atleast_2d(value)
            array = np.empty((1, len(value)), dtype=object)
            array[0, :] = value
            return array

        savemat(str(self._new(name)), {key: cells(value) for key, value in variables.items()})

    def sheet(self, name: str, sheet: str, rows: Sequence[Sequence[Any]], *, top: int = 0, left: int = 0) -> None:
        """A workbook with an empty first sheet, and a sheet whose table starts after `top` rows and `left` columns."""
        import openpyxl

        book = openpyxl.Workbook()
        page = book.active if sheet == "first" else book.create_sheet(sheet)
        for _ in range(top):
            page.append([None, "a note"])
        for row in rows:
            page.append([*[None] * left, *row])
        book.save(self._new(name))

    def _new(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@pytest.fixture
def unpacked(tmp_path: Path) -> Unpacked:
    return Unpacked(tmp_path / "archive")
