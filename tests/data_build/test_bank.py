"""Building a small bank from made-up photographs: layout, labels, separation of the splits, and being killed."""

import csv
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from mllm_iqa.data_build.bank import GROUP, SCHEMA, BankPlan, build_bank, shard_rows
from mllm_iqa.data_build.severity import CLEAN_MOS

from mllm_iqa.errors import DataError

Textured = Callable[..., np.ndarray]

PLAN = BankPlan(sizes=((32, 6), (48, 2)), groups_per_shard=6, seed=3)
FILES = {
    "photos.parquet",
    *(f"train-32px-{n:04d}.parquet" for n in range(6)),
    *(f"train-48px-{n:04d}.parquet" for n in range(2)),
    # A twentieth of 6 and of 2 is less than one: one each.
    "val-32px-0000.parquet",
    "val-48px-0000.parquet",
}


@dataclass(frozen=True, slots=True)
class Sources:
    """Folders of made-up photographs; the blue channel of each photograph is one constant, its mark."""

    biq2021: Path
    bsds500: Path
    split_of_mark: dict[int, str]


def write_photo(path: Path, image: np.ndarray, mark: int) -> None:
    marked = image.copy()
    marked[..., 2] = mark
    # Lossless, so that the mark survives, under whatever name: the content decides how it is read.
    path.write_bytes(cv2.imencode(".png", marked[..., ::-1])[1].tobytes())


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory, textured: Textured) -> Sources:
    root = tmp_path_factory.mktemp("sources")
    bsds500, biq2021 = root / "bsds500", root / "biq2021"
    bsds500.mkdir()
    (biq2021 / "images").mkdir(parents=True)
    split_of_mark = {}
    # By their hashes (see test_sources.py): 100075 and 100080 are train, 8023 and 2018 val.
    for n, (name, split) in enumerate([("100075", "train"), ("100080", "train"), ("8023", "val"), ("2018", "val")]):
        write_photo(bsds500 / f"{name}.jpg", textured(80, 90, n), 20 + 10 * n)
        split_of_mark[20 + 10 * n] = split
    with (biq2021 / "labels.csv").open("w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        writer.writerow(["image", "mos_0to1", "subset"])
        # Best edited photographs are clean sources; a good but unedited and a bad edited one are not.
        for n, (name, score) in enumerate([("ss03_1", 0.9), ("ss03_60", 0.85), ("ss01_1", 0.95), ("ss03_120", 0.4)]):
            write_photo(biq2021 / "images" / f"{name}.jpg", textured(80, 80, 10 + n), 100 + 10 * n)
            writer.writerow([f"images/{name}.jpg", score, name[:4]])
    return Sources(biq2021, bsds500, split_of_mark)


@pytest.fixture(scope="module")
def bank(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bank") / "new"
    written = list(build_bank(sources.biq2021, sources.bsds500, out, plan=PLAN, workers=1))
    assert {p.name for p in written} == FILES
    assert len(written) == len(FILES)
    return out


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.glob("*.parquet")}


def rows_of(folder: Path, pattern: str) -> list[dict[str, object]]:
    return [row for path in sorted(folder.glob(pattern)) for row in pq.read_table(path).to_pylist()]


def pixels_of(row: dict[str, object]) -> np.ndarray:
    data = row["pixels"]
    assert isinstance(data, bytes)
    return np.frombuffer(data, np.uint8).reshape(row["height"], row["width"], 3)


def test_the_bank_holds_what_was_planned_and_nothing_else(bank: Path) -> None:
    assert {p.name for p in bank.iterdir()} == FILES | {"plan.json"}
    for path in bank.glob("*px-*.parquet"):
        table = pq.read_table(path)
        assert table.schema == SCHEMA
        assert table.num_rows == PLAN.groups_per_shard * GROUP
        side = int(path.name.split("-")[1].removesuffix("px"))
        assert {(r["height"], r["width"], len(r["pixels"])) for r in table.to_pylist()} == {
            (side, side, side * side * 3)
        }


def test_a_group_is_three_draws_and_their_reference(bank: Path) -> None:
    rows = rows_of(bank, "train-32px-*")
    assert [r["is_reference"] for r in rows] == [False, False, False, True] * (len(rows) // 4)
    # Groups are numbered through all shards of a size: 6 shards of 6.
    assert [r["group"] for r in rows] == [n for n in range(36) for _ in range(4)]
    for reference in rows[3::4]:
        assert (reference["kinds"], reference["severities"]) == ([], [])
        assert reference["mos"] == pytest.approx(CLEAN_MOS)
    assert len({str(r["kinds"]) for r in rows}) > 10
    assert all(len(r["kinds"]) == len(r["severities"]) for r in rows)  # type: ignore[arg-type]


def test_an_undistorted_crop_shows_what_its_reference_shows(bank: Path) -> None:
    rows = rows_of(bank, "*-32px-*")
    same = [
        np.array_equal(pixels_of(rows[i]), pixels_of(rows[i // 4 * 4 + 3]))
        for i in range(len(rows))
        if not rows[i]["is_reference"] and not rows[i]["kinds"]
    ]
    assert len(same) > 3
    assert all(same)


def test_distorted_crops_are_worse_than_their_reference(bank: Path) -> None:
    for row in rows_of(bank, "*px-*"):
        if row["kinds"]:
            assert 1 <= float(row["mos"]) < CLEAN_MOS  # type: ignore[arg-type]


def test_each_split_shows_its_own_photographs_only(bank: Path, sources: Sources) -> None:
    # Undistorted references keep the mark of the photograph they were cut from.
    seen = {
        split: {int(pixels_of(r)[0, 0, 2]) for r in rows_of(bank, f"{split}-*") if r["is_reference"]}
        for split in ("train", "val")
    }
    assert seen["train"].isdisjoint(seen["val"])
    for split, marks in seen.items():
        of_bsds500 = {m for m, s in sources.split_of_mark.items() if s == split}
        assert marks & set(sources.split_of_mark) == of_bsds500
    # Of BIQ2021 the two best edited photographs, not the unedited one (120) and not the bad one (130).
    assert (seen["train"] | seen["val"]) - set(sources.split_of_mark) == {100, 110}


def test_no_crop_stands_in_two_shards(bank: Path) -> None:
    rows = [r for r in rows_of(bank, "*px-*") if r["kinds"]]
    assert len({r["pixels"] for r in rows}) == len(rows)


def test_the_photo_table_holds_the_scored_photographs(bank: Path, sources: Sources) -> None:
    rows = pq.read_table(bank / "photos.parquet").to_pylist()
    assert [(Path(r["path"]).name, r["mos"], r["dataset"], r["subset"]) for r in rows] == [
        ("ss03_1.jpg", pytest.approx(4.6), "biq2021", "ss03"),
        ("ss03_60.jpg", pytest.approx(4.4), "biq2021", "ss03"),
        ("ss01_1.jpg", pytest.approx(4.8), "biq2021", "ss01"),
        ("ss03_120.jpg", pytest.approx(2.6), "biq2021", "ss03"),
    ]
    assert all(Path(r["path"]).is_absolute() and Path(r["path"]).is_file() for r in rows)
    assert {r["split"] for r in rows} <= {"train", "val"}


def test_a_shard_is_a_function_of_seed_size_and_number(textured: Textured) -> None:
    images = [textured(80, 80), textured(90, 80, 1)]

    def pixels(size: int = 32, seed: int = 0, number: int = 0) -> list[object]:
        return [r["pixels"] for r in shard_rows(images, size, 2, seed, number)]

    first = pixels()
    assert first == pixels()
    assert set(first).isdisjoint(pixels(seed=1))
    assert set(first).isdisjoint(pixels(number=1))


BUILD = """
import os
import signal
import sys
from pathlib import Path
from mllm_iqa.data_build.bank import BankPlan, build_bank
if __name__ == "__main__":
    plan = BankPlan(sizes=((32, 6), (48, 2)), groups_per_shard=6, seed=3)
    for n, path in enumerate(build_bank(*map(Path, sys.argv[1:]), plan=plan, workers=1)):
        if n == 2:
            os.killpg(0, signal.SIGKILL)  # the worker too
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="kills a process group, which this system does not have")
def test_a_killed_build_goes_on_and_ends_with_the_same_bytes(bank: Path, sources: Sources, tmp_path: Path) -> None:
    script, out = tmp_path / "build.py", tmp_path / "bank"
    script.write_text(BUILD, "utf8")
    command = [sys.executable, str(script), str(sources.biq2021), str(sources.bsds500), str(out)]
    ended = subprocess.run(command, capture_output=True, start_new_session=True, timeout=120)
    assert ended.returncode == -signal.SIGKILL, ended.stderr

    left = digests(out)
    assert 2 <= len(left) - 1 < len(FILES) - 1, "nothing was left to resume"
    whole = digests(bank)
    assert left.items() <= whole.items(), "a file stood under its name before it was complete"
    kept = {p.name: p.stat().st_mtime_ns for p in out.glob("*px-*.parquet")}

    written = list(build_bank(sources.biq2021, sources.bsds500, out, plan=PLAN, workers=2))
    assert {p.name for p in written} == FILES
    assert digests(out) == whole
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept, "a finished shard was written again"


def test_missing_folders_are_named(sources: Sources, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels\.csv: not found"):
        list(build_bank(tmp_path / "absent", sources.bsds500, tmp_path / "out", plan=PLAN))
    with pytest.raises(DataError, match=r"absent: no \.jpg files"):
        list(build_bank(sources.biq2021, tmp_path / "absent", tmp_path / "out", plan=PLAN))


def test_a_split_without_sources_is_refused(sources: Sources, textured: Textured, tmp_path: Path) -> None:
    bsds500, biq2021 = tmp_path / "bsds500", tmp_path / "biq2021"
    bsds500.mkdir()
    (biq2021 / "images").mkdir(parents=True)
    write_photo(bsds500 / "100075.jpg", textured(80, 80), 20)  # train
    write_photo(biq2021 / "images" / "ss01_1.jpg", textured(80, 80), 30)  # not clean
    (biq2021 / "labels.csv").write_text("image,mos_0to1,subset\nimages/ss01_1.jpg,0.5,ss01\n", "utf8")
    with pytest.raises(DataError, match="do not fill both splits"):
        list(build_bank(biq2021, bsds500, tmp_path / "out", plan=PLAN))
