"""Where the worst pictures of a folder are damaged: a small drawing each, made once and kept by content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ..assistant import Assistant
from ..errors import ImageError
from ..heat_map import draw
from ..images import load_image
from ..output_file import replaced_at_end
from ..where import map_of
from .store import MAPS, Row, small_webp

MAP_SIDE = 480


def map_path(home: Path, digest: str) -> Path:
    """Where the map of some content lies."""
    return home / MAPS / f"{digest[:20]}.webp"


def drop_maps(home: Path, rows: Sequence[Row]) -> None:
    """Drop the maps of all but these rows."""
    for path in set((home / MAPS).glob("*.webp")) - {map_path(home, row["sha256"]) for row in rows}:
        path.unlink(missing_ok=True)


def undrawn(home: Path, rows: Sequence[Row]) -> list[Row]:
    """Those of the rows without a map."""
    return [row for row in rows if not map_path(home, row["sha256"]).is_file()]


def draw_maps(
    home: Path,
    folder: Path,
    rows: Sequence[Row],
    assistant: Assistant,
    advance: Callable[[], None] = lambda: None,
) -> None:
    """Draw the maps that are missing, each whole or not at all.

    A picture that went away since it was scored gets none.

    Args:
        home: of the store.
        folder: of the pictures, which the rows' names are relative to.
        rows: scored ones.
        assistant: who says where.
        advance: told after every drawing.
    """
    for row in undrawn(home, rows):
        try:
            picture = load_image(folder / row["name"])
            found = map_of(assistant, picture.pixels)
        except ImageError:
            continue
        (home / MAPS).mkdir(exist_ok=True)
        with replaced_at_end(map_path(home, row["sha256"])) as file:
            file.write(small_webp(draw(found, picture.pixels), MAP_SIDE, quality=80))
        advance()
