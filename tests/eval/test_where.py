"""How well damage is found: the area by hand, trivial maps at chance, a perfect map at 1, and the whole command."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mllm_iqa.eval.cli import main
from mllm_iqa.eval.where import Item, _reading, auc, box_iou, center_prior, figures, read_items, uniform

from mllm_iqa.errors import DataError


def test_the_area_by_hand() -> None:
    # Pairs (damaged, clean): 0.9 beats 0.2 and 0.5; 0.5 beats 0.2 and ties with 0.5: 3.5 of 4.
    assert auc(np.array([0.9, 0.5, 0.2, 0.5]), np.array([True, True, False, False])) == 3.5 / 4
    assert np.isnan(auc(np.zeros(3), np.zeros(3, bool)))


def test_boxes_overlap_by_hand() -> None:
    # 2 x 2 and 2 x 2, one column in common: 2 / (4 + 4 - 2).
    assert box_iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(2 / 6)
    assert box_iou((0, 0, 1, 1), (2, 2, 3, 3)) == 0


def item(seed: int, severity: int) -> Item:
    rng = np.random.default_rng(seed)
    mask = np.zeros((64, 80), bool)
    if severity:
        top, left = rng.integers(0, 30, 2)
        mask[top : top + 28, left : left + 36] = True
    return Item(rng.integers(0, 256, (64, 80, 3), np.uint8), mask, f"{seed}.jpg", "noise", "gaussian noise", severity)


def test_trivial_maps_are_at_chance_and_a_perfect_one_is_perfect() -> None:
    items = [item(seed, 3) for seed in range(12)] + [item(90, 0)]
    read = {
        "uniform": [_reading(i, uniform(i.mask.shape), None) for i in items],
        "center": [_reading(i, center_prior(i.mask.shape), None) for i in items],
        "perfect": [_reading(i, i.mask.astype(np.float32), None) for i in items],
    }
    by_name = {f.method: f for f in figures(read)}
    assert by_name["uniform"].auc.value == 0.5
    share = np.mean([i.mask[::4, ::4].mean() for i in items[:12]])
    assert by_name["uniform"].iou.value == pytest.approx(share)  # everything is called damaged
    assert by_name["perfect"].auc.value == by_name["perfect"].iou.value == 1
    assert by_name["center"].auc.n == 12 and by_name["center"].clean_share is None


def write_set(path: Path) -> Path:
    rows = [
        {
            "pixels": i.pixels.tobytes(),
            "mask": np.packbits(i.mask).tobytes(),
            "height": 64,
            "width": 80,
            "source": i.source,
            "family": i.family if i.severity else "none",
            "kind": i.kind,
            "distortion": "x",
            "severity": i.severity,
        }
        for i in (item(0, 3), item(1, 4), item(2, 0))
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_the_whole_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_set(tmp_path / "local.parquet")
    arguments = ["where", str(path), "--out", str(tmp_path / "out"), "--model", "fake", "--no-attribution"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "| uniform | 0.500 " in said and "| tiles | " in said and "n=2/2" in said
    assert (tmp_path / "out" / "where.md").read_text() == said
    assert '"best_iou"' in (tmp_path / "out" / "where.json").read_text()


def test_a_set_can_be_drawn_from(tmp_path: Path) -> None:
    path = write_set(tmp_path / "local.parquet")
    assert [i.severity for i in read_items(path)] == [3, 4, 0]
    assert len(read_items(path, damaged=1, clean=0)) == 1
    assert read_items(path)[0].mask.sum() == item(0, 3).mask.sum()


def test_another_table_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="has the columns pixels"):
        read_items(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="`mllm-iqa data local` writes it"):
        read_items(tmp_path / "none.parquet")
