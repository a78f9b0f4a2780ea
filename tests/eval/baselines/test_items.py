"""Pictures with a known quality, read from tables."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mllm_iqa.eval.baselines.items import photo_items, sample, synthetic_items, table_items
from PIL import Image

from mllm_iqa.errors import DataError


def save(path: Path, value: int) -> None:
    Image.fromarray(np.full((32, 40, 3), value, np.uint8)).save(path)


def test_a_table_is_read_relative_to_itself(tmp_path: Path) -> None:
    for name, value in (("a.png", 1), ("b.png", 2), ("r.png", 3)):
        save(tmp_path / name, value)
    (tmp_path / "t.csv").write_text("path,mos,reference\na.png,3.5,r.png\nb.png,2,\n")
    a, b = table_items(tmp_path / "t.csv")
    assert (a.truth, a.group, int(a.pixels()[0, 0, 0])) == (3.5, "r.png", 1)
    assert a.reference is not None and int(a.reference()[0, 0, 0]) == 3
    assert (b.truth, b.group, b.reference) == (2.0, "b.png", None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,score\na.png,1\n", "no column mos"),
        ("path,mos\n", "no rows"),
        ("path,mos\na.png,\n", "row 1: mos must be a finite number"),
        ("path,mos\na.png,nan\n", "row 1: mos must be a finite number"),
        ("path,mos\na.png,1\na.png,2\n", "names a.png 2 times"),
    ],
)
def test_a_table_that_cannot_be_trusted_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=reason):
        table_items(tmp_path / "t.csv")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        table_items(tmp_path / "t.csv")
    (tmp_path / "t.xlsx").write_text("")
    with pytest.raises(DataError, match=r"\.csv or \.parquet"):
        table_items(tmp_path / "t.xlsx")


def test_a_heldout_set_brings_its_references(tmp_path: Path) -> None:
    def row(severity: int, distortion: str) -> dict[str, object]:
        pixels = np.full((4, 5, 3), 10 * severity, np.uint8).tobytes()
        return {
            "pixels": pixels,
            "height": 4,
            "width": 5,
            "source": "s",
            "distortion": distortion,
            "severity": severity,
        }

    rows = [row(0, "none"), row(1, "blur"), row(4, "blur")]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "h.parquet")
    items = synthetic_items(tmp_path / "h.parquet")
    assert [(i.key, i.truth, i.group) for i in items] == [("s/blur/1", -1, "s"), ("s/blur/4", -4, "s")]
    assert items[1].pixels().shape == (4, 5, 3) and items[1].pixels()[0, 0, 0] == 40
    assert items[1].reference is not None and items[1].reference()[0, 0, 0] == 0


def test_photographs_are_those_of_the_validation_split(tmp_path: Path) -> None:
    rows = [{"path": "a", "mos": 2.0, "split": "train"}, {"path": "b", "mos": 3.0, "split": "val"}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    assert [(i.key, i.truth) for i in photo_items(tmp_path / "p.parquet")] == [("b", 3.0)]
    pq.write_table(pa.Table.from_pylist(rows[:1]), tmp_path / "p.parquet")
    with pytest.raises(DataError, match="split 'val'"):
        photo_items(tmp_path / "p.parquet")


def test_a_sample_is_the_same_every_time(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,mos\n" + "".join(f"{i}.png,{i}\n" for i in range(50)))
    items = table_items(tmp_path / "t.csv")
    drawn = [i.key for i in sample(items, 10)]
    assert drawn == [i.key for i in sample(items, 10)]
    assert len(set(drawn)) == 10 and drawn == sorted(drawn, key=lambda k: float(k[:-4]))
    assert sample(items, None) == items
