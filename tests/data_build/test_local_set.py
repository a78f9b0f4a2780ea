"""The set of local damage: masks are what changed, every source is there clean, and the seed decides."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from mllm_iqa.data_build.local_set import write_local_set
from PIL import Image

from mllm_iqa.errors import DataError
from mllm_iqa.taxonomy import FAMILIES


@pytest.fixture
def photographs(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders as the readers expect them: no scored photographs, four clean ones of smooth noise."""
    biq, bsds = tmp_path / "biq", tmp_path / "bsds"
    (biq / "images").mkdir(parents=True)
    (biq / "labels.csv").write_text("image,subset,mos_0to1\n")
    bsds.mkdir()
    rng = np.random.default_rng(0)
    for i in range(8):
        small = rng.integers(0, 256, (10, 14, 3), dtype=np.uint8)
        Image.fromarray(small).resize((140, 100), Image.Resampling.BICUBIC).save(bsds / f"{i}.jpg", quality=98)
    return biq, bsds


def test_masks_are_what_changed(photographs: tuple[Path, Path], tmp_path: Path) -> None:
    out = write_local_set(*photographs, tmp_path / "local.parquet", per_family=1, split="train")
    rows = pq.read_table(out).to_pylist()
    damaged = [row for row in rows if row["severity"] > 0]
    clean = {row["source"]: row for row in rows if row["severity"] == 0}
    assert [row["family"] for row in damaged] == list(FAMILIES)
    assert {row["severity"] for row in damaged} == {2, 3, 4, 5}
    for row in damaged:
        shape = row["height"], row["width"]
        mask = np.unpackbits(np.frombuffer(row["mask"], np.uint8))[: shape[0] * shape[1]].reshape(shape) > 0
        before, after = (np.frombuffer(r["pixels"], np.uint8).reshape(*shape, 3) for r in (clean[row["source"]], row))
        assert 0.03 <= mask.mean() < 0.6
        assert np.array_equal(before[~mask], after[~mask]) and (before[mask] != after[mask]).any()
    assert all(not any(row["mask"]) for row in clean.values())
    again = write_local_set(*photographs, tmp_path / "again.parquet", per_family=1, split="train")
    assert pq.read_table(again).equals(pq.read_table(out))


def test_without_sources_it_says_so(photographs: tuple[Path, Path], tmp_path: Path) -> None:
    biq, bsds = photographs
    for path in sorted(bsds.glob("*.jpg"))[1:]:
        path.unlink()
    with pytest.raises(DataError, match=r"no (val|train) photographs"):
        for split in ("val", "train"):
            write_local_set(biq, bsds, tmp_path / "x.parquet", per_family=1, split=split)
