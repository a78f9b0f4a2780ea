"""A benchmark of our own: records about held-out photographs, or about any clean ones, for `mllm-iqa eval`.

Same pictures and words as the records of `build`, but every question is one that is evaluated, and a photograph is a
file of its own group, so that a few photographs are enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from mllm_iqa.errors import DataError
from mllm_iqa.images import FORMATS

from .build import SHARD_RECORDS
from .files import write_records
from .material import Clean, Material, gather
from .scenes import Shard, shard_records
from .schema import Record

MEASURED = frozenset(
    {"rate", "choice", "distortion", "distortion_one", "distortion_two", "severity", "compare", "compare_reference"}
    | {"rank", "where", "assess", "steps"}
)
"""Tasks of records that `mllm-iqa eval` measures."""

SHIPPED = ("cat.jpg", "coffee.jpg")
"""Undistorted example pictures of the package."""

_MAX_SIDE = 512
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


def material_of(photos: Sequence[Path]) -> Material:
    """Photographs that are taken to be undistorted, each a group of its own; the shipped two where none is named.

    Raises:
        DataError: a folder without pictures, or a file that is not there.
    """
    paths = [file for path in photos for file in _pictures(path)]
    if not photos:
        folder = Path(str(files("mllm_iqa") / "examples"))
        paths = [folder / name for name in SHIPPED]
    return Material(clean=tuple(Clean(path, f"photos/{path.name}", f"photos/{path.stem}") for path in paths))


def _pictures(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix.lower() in _SUFFIXES)
        if not found:
            raise DataError(f"{path}: holds no pictures ({', '.join(FORMATS[:3])} ...)")
        return found
    if not path.is_file():
        raise DataError(f"{path}: no such picture or folder")
    return [path]


def held_out(biq2021: Path | None, bsds500: Path | None, *, workers: int = 2) -> Material:
    """The photographs that the shipped model was tested with; errors as `gather`."""
    return gather(biq2021, bsds500, (), workers=workers).splits["test"]


def write_benchmark(material: Material, out: Path, *, count: int, seed: int = 0) -> int:
    """Write records of the test split in English; returns how many of `count` are of tasks that are measured.

    The same material, count and seed give the same bytes.
    """
    kept: list[Record] = []
    for number, start in enumerate(range(0, count, SHARD_RECORDS)):
        size = min(SHARD_RECORDS, count - start)
        shard = Shard("test", number, size, seed, ("en",), _MAX_SIDE)
        kept += [record for record in shard_records(material, shard) if record.task in MEASURED]
    return write_records(kept, out)
