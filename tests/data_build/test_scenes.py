"""Scenes written beside a tiny bank: which pictures stand together, what is said of them, and going on after a stop."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mllm_iqa.data_build.bank import GROUP, SCHEMA, shard_rows, write_photos
from mllm_iqa.data_build.scenes import PHOTO_ROUNDS, PHOTOS_PER_SCENE, build_scenes
from mllm_iqa.data_build.sources import Photo, Split

from mllm_iqa.errors import DataError
from mllm_iqa.levels import SEVERITIES

Textured = Callable[..., np.ndarray]
Scene = dict[str, Any]

GROUPS = 5
PHOTOS: tuple[tuple[Split, int], ...] = (("train", 2 * PHOTOS_PER_SCENE + 1), ("val", PHOTOS_PER_SCENE))
SHARDS = ("train-32px-0000", "train-32px-0001", "val-32px-0000")
FILES = {
    *(f"instruct-{shard}.parquet" for shard in SHARDS),
    "instruct-train-photos.parquet",
    "instruct-val-photos.parquet",
}


def write_bank(folder: Path, textured: Textured) -> Path:
    """Two train shards and one val shard of five groups, and a table of 17 train and 8 val photographs, mixed."""
    folder.mkdir()
    for shard in SHARDS:
        seed, number = int(shard.startswith("val")), int(shard[-1])
        rows = list(shard_rows([textured(80, 80)], 32, GROUPS, seed, number))
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / f"{shard}.parquet")
    photos = []
    for n in range(sum(count for _, count in PHOTOS)):
        path = folder.parent / f"photo-{n}.png"
        cv2.imwrite(str(path), textured(40, 40, n))
        split: Split = "val" if n % 3 == 0 and n < 24 else "train"
        # Every second one is of the edited subset; those of at least 4.2 there count as clean.
        photos.append(Photo(path, 1 + n % 5, "biq2021", "ss03" if n % 2 else "ss01", split))
    write_photos(photos, folder / "photos.parquet")
    return folder


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory, textured: Textured) -> Path:
    folder = write_bank(tmp_path_factory.mktemp("scenes") / "bank", textured)
    assert {path.name for path in build_scenes(folder, seed=7)} == FILES
    return folder


def scenes_of(path: Path) -> list[Scene]:
    return [{**row, "conversations": json.loads(row["conversations"])} for row in pq.read_table(path).to_pylist()]


def photo_rows(bank: Path) -> list[dict[str, Any]]:
    return pq.read_table(bank / "photos.parquet").to_pylist()


def test_every_shard_and_split_has_its_file_and_nothing_else_is_left(bank: Path) -> None:
    assert {p.name for p in bank.iterdir()} == FILES | {f"{s}.parquet" for s in SHARDS} | {"photos.parquet"}


@pytest.mark.parametrize("name", sorted(FILES))
def test_indices_are_valid(bank: Path, name: str) -> None:
    pictures = "photos.parquet" if "photos" in name else name.removeprefix("instruct-")
    rows = pq.read_metadata(bank / pictures).num_rows
    scenes = scenes_of(bank / name)
    assert scenes
    for scene in scenes:
        assert len(set(scene["images"])) == len(scene["images"])
        assert set(scene["images"]) <= set(range(rows))
        assert scene["conversations"]
        for c in scene["conversations"]:
            assert c["images"]
            assert set(c["images"]) <= set(range(len(scene["images"])))


@pytest.mark.parametrize("shard", SHARDS)
def test_a_crop_scene_is_a_region_and_a_crop_of_the_next(bank: Path, shard: str) -> None:
    rows = pq.read_table(bank / f"{shard}.parquet").to_pylist()
    scenes = scenes_of(bank / f"instruct-{shard}.parquet")
    assert len(scenes) == GROUPS
    for n, scene in enumerate(scenes):
        *mine, other = scene["images"]
        assert mine == list(range(n * GROUP, (n + 1) * GROUP))
        # The next region's (after the last comes the first), and not its undistorted reference.
        assert rows[other]["group"] == rows[(n + 1) % GROUPS * GROUP]["group"]
        assert not rows[other]["is_reference"]


def test_what_is_said_of_a_crop_is_what_was_done_to_it(bank: Path) -> None:
    rows = pq.read_table(bank / f"{SHARDS[0]}.parquet").to_pylist()
    told = 0
    for scene in scenes_of(bank / f"instruct-{SHARDS[0]}.parquet"):
        for c in scene["conversations"]:
            row = rows[scene["images"][c["images"][-1]]]
            if c["task"] == "distortion.v1":
                told += 1
                items = [f"{k} ({SEVERITIES[s - 1]})" for k, s in zip(row["kinds"], row["severities"], strict=True)]
                assert c["answer"] == f"The image shows {' and '.join(items) or 'no visible distortion'}."
            if c["task"] == "rate.v1":
                assert np.array(c["probs"]) @ [5, 4, 3, 2, 1] == pytest.approx(row["mos"], abs=1e-6)
    assert told > GROUPS


@pytest.mark.parametrize(("split", "count"), PHOTOS)
def test_a_photo_scene_shows_photographs_of_its_split(bank: Path, split: str, count: int) -> None:
    rows = photo_rows(bank)
    mine = {i for i, row in enumerate(rows) if row["split"] == split}
    assert len(mine) == count
    scenes = scenes_of(bank / f"instruct-{split}-photos.parquet")
    per_round = count // PHOTOS_PER_SCENE
    assert len(scenes) == PHOTO_ROUNDS * per_round
    orders = set()
    for r in range(PHOTO_ROUNDS):
        shown = [i for scene in scenes[r * per_round : (r + 1) * per_round] for i in scene["images"]]
        assert len(shown) == per_round * PHOTOS_PER_SCENE
        assert len(set(shown)) == len(shown), "a photograph stands twice in one round"
        assert set(shown) <= mine
        orders.add(tuple(shown))
    assert len(orders) == PHOTO_ROUNDS, "two rounds show the same scenes"


def test_photographs_are_rated_with_their_human_mos_and_compared_with_a_neighbour(bank: Path) -> None:
    rows = photo_rows(bank)
    for scene in scenes_of(bank / "instruct-train-photos.parquet"):
        rated = [c for c in scene["conversations"] if c["task"] == "rate.v1"]
        assert [c["images"] for c in rated] == [[k] for k in range(PHOTOS_PER_SCENE)]
        for k, c in enumerate(rated):
            assert np.array(c["probs"]) @ [5, 4, 3, 2, 1] == pytest.approx(rows[scene["images"][k]]["mos"], abs=1e-6)
        pairs = [c["images"] for c in scene["conversations"] if c["task"] == "compare.v1"]
        assert pairs == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_only_clean_photographs_are_asked_for_distortions(bank: Path) -> None:
    rows = photo_rows(bank)
    clean = {i for i, row in enumerate(rows) if row["subset"] == "ss03" and row["mos"] >= 4.2}
    asked: Counter[int] = Counter()
    for split, _ in PHOTOS:
        for scene in scenes_of(bank / f"instruct-{split}-photos.parquet"):
            for c in scene["conversations"]:
                if c["task"] in ("distortion.v1", "presence.v1"):
                    asked[scene["images"][c["images"][0]]] += 1
                    if c["task"] == "distortion.v1":
                        assert c["answer"] == "The image shows no visible distortion."
    assert clean
    assert set(asked) <= clean
    assert sum(asked.values()) > 0


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.glob("instruct-*.parquet")}


def test_files_are_a_function_of_bank_and_seed(bank: Path, tmp_path: Path, textured: Textured) -> None:
    again = write_bank(tmp_path / "bank", textured)
    list(build_scenes(again, seed=7))
    shards = [f"instruct-{s}.parquet" for s in SHARDS]
    assert [contents(again)[s] for s in shards] == [contents(bank)[s] for s in shards]
    for name in FILES:
        (again / name).unlink()
    list(build_scenes(again, seed=8))
    assert all(contents(again)[name] != contents(bank)[name] for name in FILES)


def test_a_build_that_was_stopped_goes_on(bank: Path) -> None:
    whole = contents(bank)
    for name in ("instruct-train-32px-0001.parquet", "instruct-val-photos.parquet"):
        (bank / name).unlink()
    (bank / "instruct-train-32px-0001.partial").write_bytes(b"half a file")
    kept = {p: p.stat().st_mtime_ns for p in bank.glob("instruct-*.parquet")}
    written = [p.name for p in build_scenes(bank, seed=7)]
    assert set(written) == FILES
    assert contents(bank) == whole
    assert {p: p.stat().st_mtime_ns for p in kept} == kept, "a finished file was written again"
    assert not list(bank.glob("*.partial"))


def test_a_folder_without_a_bank_is_refused_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no bank here; build it first"):
        list(build_scenes(tmp_path))
