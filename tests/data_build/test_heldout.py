"""The test set of whole pictures: counts, severities, and that only validation photographs are in it."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from mllm_iqa.data_build.distortions import DISTORTIONS, DQ495K
from mllm_iqa.data_build.heldout import HEIGHT, SCHEMA, WIDTH, write_heldout
from mllm_iqa.data_build.sources import read_rgb

from mllm_iqa.errors import DataError
from mllm_iqa.taxonomy import FAMILIES

PER_FAMILY = 2
# Clean photographs of the validation split (see `photo_folders`). ss03_301 is no clean one, ss01_150 is not edited.
SOURCES = {"8023.jpg", "2018.jpg", "ss03_300.jpg"}


@pytest.fixture(scope="module")
def path(photo_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("heldout") / "new" / "heldout.parquet"
    assert write_heldout(**photo_folders, out=out, per_family=PER_FAMILY) == out
    return out


@pytest.fixture(scope="module")
def rows(path: Path) -> list[dict[str, Any]]:
    assert pq.read_schema(path) == SCHEMA
    return pq.read_table(path).to_pylist()


def pixels_of(row: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(row["pixels"], np.uint8).reshape(row["height"], row["width"], 3)


def test_every_family_has_as_many_ladders_as_asked_for(rows: list[dict[str, Any]]) -> None:
    damaged = [r for r in rows if r["severity"] > 0]
    assert len(damaged) == len(FAMILIES) * PER_FAMILY * 5
    ladders: dict[tuple[str, str, str], list[int]] = {}
    for r in damaged:
        ladders.setdefault((r["family"], r["source"], r["distortion"]), []).append(r["severity"])
    assert len(ladders) == len(FAMILIES) * PER_FAMILY
    assert all(severities == [1, 2, 3, 4, 5] for severities in ladders.values())
    assert {f: sum(family == f for family, *_ in ladders) for f in FAMILIES} == dict.fromkeys(FAMILIES, PER_FAMILY)


def test_the_implementations_of_a_family_take_turns(rows: list[dict[str, Any]]) -> None:
    used = {f: {r["distortion"] for r in rows if r["family"] == f} for f in FAMILIES}
    for family, names in used.items():
        there = [name for name in DQ495K if DISTORTIONS[name].family == family]
        assert names == set(there[:PER_FAMILY])


def test_labels_agree_with_the_taxonomy(rows: list[dict[str, Any]]) -> None:
    for r in rows:
        if r["severity"]:
            distortion = DISTORTIONS[r["distortion"]]
            assert (r["kind"], r["family"]) == (distortion.kind, distortion.family)
        else:
            assert (r["kind"], r["family"], r["distortion"]) == ("none", "none", "none")


def test_only_clean_validation_photographs_are_in_it(rows: list[dict[str, Any]]) -> None:
    assert {r["source"] for r in rows} == SOURCES
    # 24 ladders over three sources in turn.
    share = [sum(r["source"] == s for r in rows if r["severity"] == 1) for s in SOURCES]
    assert share == [8, 8, 8]


def test_each_source_also_stands_there_undistorted_once(
    rows: list[dict[str, Any]], photo_folders: dict[str, Path]
) -> None:
    clean = [r for r in rows if r["severity"] == 0]
    assert sorted(r["source"] for r in clean) == sorted(SOURCES)
    for r in clean:
        folder = photo_folders["biq2021"] / "images" if r["source"].startswith("ss") else photo_folders["bsds500"]
        photo = read_rgb(folder / r["source"])
        if r["source"] == "2018.jpg":
            # 400 x 530: the middle 384 x 512, i.e. 8 rows and 9 columns less on each side.
            assert (r["height"], r["width"]) == (HEIGHT, WIDTH) == (384, 512)
            photo = photo[8:-8, 9:-9]
        assert np.array_equal(pixels_of(r), photo)


def test_a_distorted_picture_has_the_size_of_its_source_and_differs_from_it(rows: list[dict[str, Any]]) -> None:
    clean = {r["source"]: pixels_of(r) for r in rows if r["severity"] == 0}
    for r in rows:
        if r["severity"]:
            assert pixels_of(r).shape == clean[r["source"]].shape
            assert not np.array_equal(pixels_of(r), clean[r["source"]]), (r["distortion"], r["severity"])


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not(
    path: Path, photo_folders: dict[str, Path], tmp_path: Path
) -> None:
    again = write_heldout(**photo_folders, out=tmp_path / "again.parquet", per_family=1, seed=1)
    train = write_heldout(**photo_folders, out=tmp_path / "train.parquet", per_family=1, split="train")
    assert not set(pq.read_table(train)["source"].to_pylist()) & set(pq.read_table(again)["source"].to_pylist())
    once_more = write_heldout(**photo_folders, out=tmp_path / "more.parquet", per_family=1, seed=1)
    other = write_heldout(**photo_folders, out=tmp_path / "other.parquet", per_family=1, seed=2)
    assert again.read_bytes() == once_more.read_bytes()
    assert again.read_bytes() != other.read_bytes()


def test_too_few_validation_photographs_are_an_error_that_counts_them(
    photo_folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="only 3 val sources for 4 per family"):
        write_heldout(**photo_folders, out=tmp_path / "heldout.parquet", per_family=4)
    assert not list(tmp_path.iterdir())


def test_the_second_implementations_make_a_set_of_the_same_form(photo_folders: dict[str, Path], tmp_path: Path) -> None:
    out = write_heldout(**photo_folders, out=tmp_path / "second.parquet", per_family=1, second=True)
    rows = pq.read_table(out, schema=SCHEMA).to_pylist()
    assert {r["family"] for r in rows} == {*FAMILIES, "none"}
    assert all(r["distortion"].startswith("second.") for r in rows if r["severity"])


def test_a_set_to_choose_settings_on_shares_no_photograph_with_a_test_set(
    photo_folders: dict[str, Path], path: Path, tmp_path: Path
) -> None:
    other = write_heldout(**photo_folders, out=tmp_path / "one.parquet", per_family=1)
    used = {row["source"] for row in pq.read_table(other).to_pylist()}
    with pytest.raises(DataError, match="only 0 val sources"):
        write_heldout(**photo_folders, out=tmp_path / "none.parquet", per_family=1, without=[path])
    table = pq.read_table(path)
    mine = table.filter(pc.equal(table["source"], "8023.jpg"))
    pq.write_table(mine, tmp_path / "mine.parquet")
    rest = write_heldout(
        **photo_folders, out=tmp_path / "rest.parquet", per_family=1, without=[tmp_path / "mine.parquet"]
    )
    assert used == SOURCES
    assert {row["source"] for row in pq.read_table(rest).to_pylist()} == SOURCES - {"8023.jpg"}


def test_a_test_set_to_leave_out_that_is_not_there_is_an_error(photo_folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.parquet: not found"):
        write_heldout(**photo_folders, out=tmp_path / "x.parquet", per_family=1, without=[tmp_path / "gone.parquet"])
