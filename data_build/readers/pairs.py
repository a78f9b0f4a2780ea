"""Parsers of the sets that compare two versions of a reference, and of the unrated set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from mllm_iqa.errors import DataError

from .archive import Archive
from .entries import Entry, PairEntry
from .full_reference import KADID_TYPES
from .records import Split
from .score_files import csv_rows, csv_table

_SPLITS: tuple[Split, ...] = ("train", "val", "test")


def bapps(archive: Archive) -> Iterator[PairEntry]:
    """BAPPS, the 2AFC part: `2afc/<split>/<kind>/{ref,p0,p1,judge}/<number>`; `judge` is the share that chose p1.

    The other part (just noticeable differences) has no reference and no preference and is not read. The group is the
    triple itself: which patches come from one photograph is not in the archive.
    """
    base = archive.place("dataset/2afc", "2afc")
    for split in _SPLITS:
        for path in archive.glob(f"{base}/{split}/*/judge/*.npy"):
            folder = f"{base}/{split}/{path.parent.parent.name}"
            name = f"{path.stem}.png"
            chose_second = _judgement(archive, path)
            if chose_second is None:
                continue
            yield PairEntry(
                first=f"{folder}/p0/{name}",
                second=f"{folder}/p1/{name}",
                reference=f"{folder}/ref/{name}",
                prefers_first=1 - chose_second,
                split=split,
                group=f"{split}/{path.parent.parent.name}/{path.stem}",
            )


def pieapp(archive: Archive) -> Iterator[PairEntry]:
    """PieAPP: one `labels/<split>/<reference>_pairwise_labels.csv` per reference.

    The columns are read by position: reference, A, B, share of raters who preferred A, and the same as estimated from
    all votes, which stands in where a pair was never shown. In the test part A may be the reference itself.
    """
    for split in _SPLITS:
        for path in archive.glob(f"labels/{split}/*_pairwise_labels.csv"):
            try:
                rows = list(csv_rows(path))[1:]
            except DataError as error:
                archive.report("unreadable score file", path, str(error).removeprefix(f"{path}: "))
                continue
            for row in rows:
                if len(row) < 4:
                    archive.report("unreadable score", path, f"expected a reference, A, B and a preference, got {row}")
                    continue
                stem = PurePosixPath(row[0]).stem
                first, second = (_pieapp_picture(split, stem, row[0], name) for name in row[1:3])
                preference = row[3] or (row[4] if len(row) > 4 else "")
                yield PairEntry(first, second, f"reference_images/{split}/{row[0]}", preference, split, stem)


def kadis700k(archive: Archive) -> Iterator[Entry]:
    """KADIS-700k, the distorted pictures: five levels of one distortion per reference, in `dist_imgs/`.

    The archive ships the references, `kadis700k_ref_imgs.csv` (`ref_im`, `dist_type_1`) and code; `dist_imgs/` exists
    only once that code has run. Not certain: whether a copy also used `dist_type_2`; it is not read.
    """
    path = archive.need("kadis700k_ref_imgs.csv")
    for row in csv_table(path, ("ref_im", "dist_type_1")):
        name, kind = row["ref_im"], row["dist_type_1"]
        if not kind.isdigit() or not 1 <= int(kind) <= len(KADID_TYPES):
            archive.report("unreadable score", path, f"unknown distortion number {kind!r} of {name}")
            continue
        for level in range(1, 6):
            # The authors' code cuts the name at its first dot.
            stem = f"dist_imgs/{name.split('.')[0]}_{int(kind):02d}_{level:02d}"
            yield Entry(
                image=archive.place(*(f"{stem}.{extension}" for extension in ("bmp", "png", "jpg"))),
                reference=f"ref_imgs/{name}",
                distortion=KADID_TYPES[int(kind) - 1],
                level=level,
                group=name,
            )


def kadis700k_references(archive: Archive) -> Iterator[Entry]:
    """KADIS-700k, the undistorted pictures in `ref_imgs/`."""
    for row in csv_table(archive.need("kadis700k_ref_imgs.csv"), ("ref_im",)):
        yield Entry(image=f"ref_imgs/{row['ref_im']}" if row["ref_im"] else "", group=row["ref_im"])


def _judgement(archive: Archive, path: Path) -> float | None:
    try:
        return float(np.asarray(np.load(path, allow_pickle=False), dtype=np.float64).reshape(-1)[0])
    except (OSError, ValueError, EOFError, IndexError) as error:
        archive.report("unreadable score file", path, f"cannot be read: {error}")
        return None


def _pieapp_picture(split: Split, stem: str, reference: str, name: str) -> str:
    if name == reference:
        return f"reference_images/{split}/{name}"
    return f"distorted_images/{split}/{stem}/{name}"
