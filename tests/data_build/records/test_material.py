"""Splitting what records are made of: nothing of one split stands in another."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from mllm_iqa.data_build.readers.records import Rated, RatedPair, Reading, Unrated
from mllm_iqa.data_build.readers.records_file import write_parquet
from mllm_iqa.data_build.records.material import Gathered, gather
from mllm_iqa.data_build.records.reading import read_reading
from mllm_iqa.data_build.sources import read_biq2021, read_bsds500

from mllm_iqa.errors import ConfigError, DataError

Textured = Callable[..., np.ndarray]


@pytest.fixture
def rated(tmp_path: Path, textured: Textured) -> list[Rated]:
    """Thirty pictures, each its own group, without an official split."""
    found = []
    for n in range(30):
        path = tmp_path / f"{n}.png"
        path.write_bytes(cv2.imencode(".png", textured(64, 64, 200 + n))[1].tobytes())
        found.append(
            Rated(path, 1 + n / 10, 0.3, 25.0 + n, 7.5, None, None, None, (0.25, 0.75), "lab", None, f"lab/{n}")
        )
    return found


def written(records: list[Rated], folder: Path) -> Path:
    write_parquet(Reading("lab", rated=tuple(records)), folder / "lab.parquet")
    return folder / "lab.parquet"


def groups(gathered: Gathered) -> dict[str, set[str]]:
    return {
        split: {item.group for item in (*there.clean, *there.scored, *there.preferred)}
        for split, there in gathered.splits.items()
    }


def test_what_the_shipped_model_was_tested_with_is_test(photo_folders: dict[str, Path]) -> None:
    gathered = gather(photo_folders["biq2021"], photo_folders["bsds500"], [])
    photos = read_biq2021(photo_folders["biq2021"]) + read_bsds500(photo_folders["bsds500"])
    val = {f"{photo.dataset}/{photo.path.name}" for photo in photos if photo.split == "val"}
    there = {split: {item.source for item in (*m.clean, *m.scored)} for split, m in gathered.splits.items()}
    assert there["test"] == val
    assert there["train"] | there["val"] == {f"{p.dataset}/{p.path.name}" for p in photos} - val
    assert {item.source for item in gathered.splits["test"].clean} == {
        *("bsds500/8023.jpg", "bsds500/2018.jpg", "biq2021/ss03_300.jpg")
    }
    assert {item.std for item in gathered.splits["train"].scored} == {None}


def test_no_group_stands_in_two_splits(rated: list[Rated], tmp_path: Path) -> None:
    twice = [replace(one, group=f"lab/{n // 2}") for n, one in enumerate(rated)]
    gathered = gather(None, None, [written(twice, tmp_path)])
    by_split = groups(gathered)
    assert set.union(*by_split.values()) == {f"lab/{n}" for n in range(15)}
    assert sum(map(len, by_split.values())) == 15
    assert {one.std for one in gathered.splits["train"].scored} == {0.3}


def test_an_official_split_is_kept_and_one_that_cuts_a_group_is_refused(rated: list[Rated], tmp_path: Path) -> None:
    named = [replace(one, split="test" if n < 5 else "val" if n < 9 else "train") for n, one in enumerate(rated)]
    by_split = groups(gather(None, None, [written(named, tmp_path)]))
    assert by_split["test"] == {f"lab/{n}" for n in range(5)}
    assert by_split["val"] == {f"lab/{n}" for n in range(5, 9)}
    cut = [named[0], replace(named[20], group="lab/0")]
    with pytest.raises(DataError, match=r"lab\.parquet: lab/0 stands in test and in train; give it one split"):
        gather(None, None, [written(cut, tmp_path)])


@pytest.mark.parametrize("copy", ["reencoded", "mirrored"])
def test_a_near_duplicate_of_a_test_picture_is_left_out(copy: str, rated: list[Rated], tmp_path: Path) -> None:
    image = cv2.imread(str(rated[0].image))
    image = image[:, ::-1] if copy == "mirrored" else image
    rated[10].image.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1].tobytes())
    named = [replace(one, split="test" if n < 5 else "train") for n, one in enumerate(rated)]
    gathered = gather(None, None, [written(named, tmp_path)])
    assert gathered.left_out == 1
    assert groups(gathered)["train"] == {f"lab/{n}" for n in range(5, 30)} - {"lab/10"}
    assert len(groups(gathered)["test"]) == 5


def test_the_next_frame_of_a_burst_is_left_out_with_its_group(
    rated: list[Rated], textured: Textured, tmp_path: Path
) -> None:
    scene = textured(80, 80, 50)
    for one, corner in ((rated[4], 0), (rated[5], 2)):
        frame = scene[corner : corner + 72, corner : corner + 72]
        one.image.write_bytes(cv2.imencode(".png", frame)[1].tobytes())
    named = [replace(one, split="test" if n < 5 else "train", group=f"lab/{n // 5}") for n, one in enumerate(rated)]
    gathered = gather(None, None, [written(named, tmp_path)])
    assert groups(gathered) == {"test": {"lab/0"}, "val": set(), "train": {"lab/2", "lab/3", "lab/4", "lab/5"}}


# The files of `data read`


def test_a_reading_survives_its_file(rated: list[Rated], tmp_path: Path) -> None:
    assert read_reading(written(rated, tmp_path)) == Reading("lab", rated=tuple(rated))
    image = rated[0].image
    for reading in (
        Reading("lab", pairs=(RatedPair(image, image, image, 0.4, "lab", "val", "lab/1"),)),
        Reading("lab", unrated=(Unrated(image, None, "blur", 2, "lab", "lab/1"),)),
    ):
        write_parquet(reading, tmp_path / "other.parquet")
        assert read_reading(tmp_path / "other.parquet") == reading


def test_pairs_become_material_and_unrated_pictures_are_refused(rated: list[Rated], tmp_path: Path) -> None:
    image = rated[0].image
    write_parquet(Reading("lab", pairs=(RatedPair(image, image, image, 0.4, "lab", "train", "lab/1"),)), tmp_path / "p")
    assert [pair.prefers_first for pair in gather(None, None, [tmp_path / "p"]).splits["train"].preferred] == [0.4]
    write_parquet(Reading("lab", unrated=(Unrated(image, None, None, None, "lab", "lab/1"),)), tmp_path / "u")
    with pytest.raises(DataError, match="lab has no scores; records need rated pictures or pairs"):
        gather(None, None, [tmp_path / "u"])


def test_nothing_to_read_and_files_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to make records of; name --biq2021, --bsds500 or --reading"):
        gather(None, None, [])
    with pytest.raises(DataError, match=r"absent\.parquet: cannot be read"):
        read_reading(tmp_path / "absent.parquet")
