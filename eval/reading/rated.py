"""Tables that `mllm-iqa data read` wrote: rated pictures, rated pairs, and sets of versions of one reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mllm_iqa.errors import ConfigError, DataError
from mllm_iqa.images import ImageSource

from ..items import Item
from .files import field, picture, read_rows


def _split(rows: list[dict[str, Any]], options: Mapping[str, Any], source: Path) -> list[dict[str, Any]]:
    """The rows of the wanted official split: "test" where the set has one, all rows where it has none."""
    wanted = options.get("split", "test")
    if wanted == "all" or all(row.get("split") is None for row in rows):
        return rows
    kept = [row for row in rows if row.get("split") == wanted]
    if not kept:
        raise DataError(f"{source}: no rows of the split {wanted!r}")
    return kept


def read_rated(source: Path, options: Mapping[str, Any]) -> list[Item]:
    """Rated pictures: `image, mos` on 1..5, and where there are any `std, distribution, reference, distortion, level`.

    Options: `reference` (bool) shows the reference first; `split` is the official split, or "all".

    Raises:
        DataError: a row without picture or score, or without the reference that the task shows.
    """
    items = []
    for number, row in enumerate(_split(read_rows(source), options, source)):
        where = f"{source}: row {number}"
        shown: tuple[ImageSource, ...] = (picture(field(row, "image", where), source, where),)
        if options.get("reference", False):
            shown = (picture(field(row, "reference", where), source, where), *shown)
        truth = {key: row[key] for key in ("mos", "std", "distribution") if row.get(key) is not None}
        if "mos" not in truth:
            raise DataError(f"{where}: no mos; expected a table of rated pictures from `mllm-iqa data read`")
        tags = {key: str(row[key]) for key in ("dataset", "distortion", "level") if row.get(key) is not None}
        group = str(row.get("group") or row["image"])
        items.append(Item(f"{number:06d}", shown, group, truth, {}, tags))
    return items


def read_pairs(source: Path, options: Mapping[str, Any]) -> list[Item]:
    """Rated pairs: `first, second, reference, prefers_first`. Option `reference` (bool) shows the reference first."""
    items = []
    for number, row in enumerate(_split(read_rows(source), options, source)):
        where = f"{source}: row {number}"
        names = ("reference", "first", "second") if options.get("reference", False) else ("first", "second")
        shown = tuple(picture(field(row, name, where), source, where) for name in names)
        truth = {"prefers_first": float(field(row, "prefers_first", where))}
        if not 0 <= truth["prefers_first"] <= 1:
            raise DataError(f"{where}: prefers_first must lie in [0, 1], got {truth['prefers_first']}")
        tags = {key: str(row[key]) for key in ("dataset",) if row.get(key) is not None}
        items.append(Item(f"{number:06d}", shown, str(row.get("group") or number), truth, {}, tags))
    return items


def read_sets(source: Path, options: Mapping[str, Any]) -> list[Item]:
    """Sets of `size` rated pictures of one group, in the order of the table.

    Raises:
        ConfigError: a size under 2. DataError: no group has so many pictures.
    """
    size = int(options.get("size", 4))
    if size < 2:
        raise ConfigError(f"a ranking needs sets of at least 2 pictures, got {size}")
    by_group: dict[str, list[dict[str, Any]]] = {}
    for row in _split(read_rows(source), options, source):
        by_group.setdefault(str(row.get("group")), []).append(row)
    items = []
    for group, rows in by_group.items():
        for start in range(0, len(rows) - size + 1, size):
            chosen = rows[start : start + size]
            where = f"{source}: group {group}"
            shown = tuple(picture(field(row, "image", where), source, where) for row in chosen)
            truth = {"mos_each": [float(field(row, "mos", where)) for row in chosen]}
            items.append(Item(f"{group}/{start // size}", shown, group, truth, {}, {"size": str(size)}))
    if not items:
        raise DataError(f"{source}: no group has {size} pictures to rank")
    return items
