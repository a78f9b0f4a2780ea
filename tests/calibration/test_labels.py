"""Everything that can be wrong with a table of labels is said in one line."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mllm_iqa.calibration.labels import Label, read_labels, two_scales
from mllm_iqa.errors import DataError


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for i in range(8):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    return tmp_path


def table(folder: Path, rows: list[str], header: str = "image,score") -> Path:
    path = folder / "scores.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def good(n: int = 8) -> list[str]:
    return [f"{i}.png,{i + 1}" for i in range(n)]


def test_the_same_labels_from_every_kind_of_table(pictures: Path) -> None:
    rows = [{"image": f"{i}.png", "score": float(i)} for i in range(6)]
    expected = [Label(pictures / f"{i}.png", float(i)) for i in range(6)]
    csv = table(pictures, [f"{i}.png,{i}" for i in range(6)])
    (pictures / "a.json").write_text(json.dumps(rows))
    (pictures / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (pictures / "a.tsv").write_text("image\tscore\n" + "".join(f"{i}.png\t{i}\n" for i in range(6)))
    pq.write_table(pa.Table.from_pylist(rows), pictures / "a.parquet")
    for path in (csv, *(pictures / f"a.{kind}" for kind in ("json", "jsonl", "tsv", "parquet"))):
        assert read_labels(path) == expected


def test_columns_are_found_or_named(pictures: Path) -> None:
    path = table(pictures, [f"x,{i}.png,{i}" for i in range(5)], header="note,file,dmos")
    assert [label.score for label in read_labels(path)] == [0, 1, 2, 3, 4]
    path = table(pictures, [f"{i}.png,{i},7" for i in range(5)], header="photo,mine,score")
    assert [x.score for x in read_labels(path, image_column="photo", score_column="mine")] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (good(3), "3 labeled pictures are too few"),
        ([f"{i}.png,4" for i in range(8)], "every score is 4"),
        ([*good(6), "6.png,nan"], "row 7 (6.png): the score 'nan' is not a number"),
        ([*good(6), "6.png,inf"], "row 7 (6.png): the score 'inf' is not a number"),
        ([*good(6), "6.png,good"], "the score 'good' is not a number"),
        ([*good(6), "6.png,"], "the score '' is not a number"),
        ([*good(6), ",3"], "row 7 names no picture"),
        ([*good(6), "gone.png,3"], "1 of 7 pictures are not there, the first: "),
        ([*good(6), "0.png,6"], "one picture has two scores, 1 (0.png) and 6 (0.png)"),
        ([], "holds no rows"),
    ],
)
def test_bad_labels_get_one_line(pictures: Path, rows: list[str], said: str) -> None:
    with pytest.raises(DataError) as error:
        read_labels(table(pictures, rows))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_picture_under_two_names_counts_once_or_is_refused(pictures: Path) -> None:
    (pictures / "copy.png").write_bytes((pictures / "0.png").read_bytes())
    assert len(read_labels(table(pictures, [*good(), "copy.png,1"]))) == 8
    with pytest.raises(DataError, match=r"two scores, 1 \(0.png\) and 5 \(copy.png\)"):
        read_labels(table(pictures, [*good(), "copy.png,5"]))


def test_mixed_scales_are_refused(pictures: Path) -> None:
    mixed = [f"{i}.png,{v}" for i, v in enumerate([0.2, 0.4, 0.7, 0.9, 20, 45, 70, 95])]
    with pytest.raises(DataError, match="two scales in one table"):
        read_labels(table(pictures, mixed))
    assert len(read_labels(table(pictures, mixed), limits=(0, 100))) == 8  # one scale, says the user
    with pytest.raises(DataError, match="4 of 8 scores lie outside the range 0 to 1"):
        read_labels(table(pictures, mixed), limits=(0, 1))
    named = [f"{i}.png,{i},{'ab'[i % 2]}" for i in range(8)]
    with pytest.raises(DataError, match=r"the column 'scale' names 2 of them \(a, b\)"):
        read_labels(table(pictures, named, header="image,score,scale"))


@pytest.mark.parametrize("seed", range(20))
def test_one_scale_is_not_taken_for_two(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for scores in (rng.uniform(0, 100, 40), rng.uniform(1, 5, 20), np.r_[rng.normal(10, 2, 20), rng.normal(80, 5, 20)]):
        assert two_scales(scores) is None


def test_unusable_tables(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not found"):
        read_labels(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"has not any of the columns score, mos.*it has image, x; name it with"):
        read_labels(table(pictures, good(), header="image,x"))
    with pytest.raises(DataError, match="has not a column 'y'"):
        read_labels(table(pictures, good()), score_column="y")
    (tmp_path / "x.txt").write_text("a")
    with pytest.raises(DataError, match=r"\.txt is no table"):
        read_labels(tmp_path / "x.txt")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        read_labels(tmp_path / "x.json")
