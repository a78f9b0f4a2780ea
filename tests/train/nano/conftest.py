"""A bank small enough to train on in a test."""

from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mllm_iqa.data_build.bank import SCHEMA, Size, label, shard_rows, write_photos
from mllm_iqa.data_build.scenes import build_scenes
from mllm_iqa.data_build.sources import Photo


@pytest.fixture(scope="session")
def tiny_bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank with scenes: one train shard of four groups for each of a few sizes, sixteen train photographs."""
    folder = tmp_path_factory.mktemp("tiny-bank")
    rng = np.random.default_rng(0)

    def textured(side: int) -> np.ndarray:
        noise = cv2.GaussianBlur(rng.standard_normal((side, side, 3), dtype=np.float32), (0, 0), 3.0)
        return np.clip(120 + 35 * noise / noise.std(), 0, 255).astype(np.uint8)

    sizes: tuple[Size, ...] = (96, 128, 256, (160, 224))
    for size in sizes:
        rows = list(shard_rows([textured(300)], size, 4, 0, 0))
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / f"train-{label(size)}-0000.parquet")
    photos = []
    for n in range(16):
        path = folder / f"photo-{n}.png"
        cv2.imwrite(str(path), textured(280))
        photos.append(Photo(path, 1.2 + n / 5, "biq2021", "ss01", "train"))
    write_photos(photos, folder / "photos.parquet")
    list(build_scenes(folder))
    return folder
