"""Finding the files of an unpacked archive: names as the archive has them, whatever their case became on the way."""

from __future__ import annotations

from pathlib import Path

from mllm_iqa.errors import DataError

from .records import Kind, Problem


class Archive:
    """The folder a data set was unpacked into, and the problems met while reading it.

    Paths in score files are relative and use forward slashes. Several sets name files in one case and store them in
    another (`I01.BMP`, `i01.bmp`); a name that does not exist as written is looked for ignoring case.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise DataError(f"{root}: not a folder; give the folder the archive was unpacked into")
        self.root = root
        self.problems: list[Problem] = []
        self._listings: dict[Path, dict[str, str]] = {}

    def report(self, kind: Kind, path: Path, detail: str) -> None:
        """Remember a problem and go on."""
        self.problems.append(Problem(kind, path, detail))

    def find(self, *candidates: str) -> Path | None:
        """The first of the relative paths that exists, file or folder; None when none does."""
        for candidate in candidates:
            path = self.root / candidate
            if path.exists():
                return path
            other = self._ignoring_case(candidate)
            if other is not None:
                return other
        return None

    def need(self, *candidates: str) -> Path:
        """As `find`, but a DataError says what was looked for."""
        path = self.find(*candidates)
        if path is None:
            raise DataError(f"{self.root / candidates[0]}: not found" + _instead(candidates[1:]))
        return path

    def place(self, *candidates: str) -> str:
        """The first of the relative paths that exists, as given; the first of all when none does."""
        return next((c for c in candidates if self.find(c) is not None), candidates[0])

    def glob(self, pattern: str) -> list[Path]:
        """The files below the root that match, sorted by path."""
        return sorted(path for path in self.root.glob(pattern) if path.is_file())

    def _ignoring_case(self, relative: str) -> Path | None:
        path = self.root
        for part in Path(relative).parts:
            if path not in self._listings:
                try:
                    self._listings[path] = {entry.name.lower(): entry.name for entry in path.iterdir()}
                except OSError:
                    return None
            name = self._listings[path].get(part.lower())
            if name is None:
                return None
            path = path / name
        return path


def _instead(others: tuple[str, ...]) -> str:
    return f" (nor {', '.join(others)})" if others else ""
