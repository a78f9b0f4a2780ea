"""Small material that records are made of, and one shard of it."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mllm_iqa.data_build.records.material import Clean, Material, Preferred, Scored
from mllm_iqa.data_build.records.scenes import Shard, shard_records
from mllm_iqa.data_build.records.schema import Record

Textured = Callable[..., np.ndarray]

SIDE = 64


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory, textured: Textured) -> Material:
    """Four clean photographs, eleven with human scores 1.0, 1.4 ... 5.0 of which one has a reference, and one pair."""
    root = tmp_path_factory.mktemp("material")

    def photo(name: str, seed: int) -> Path:
        path = root / f"{name}.png"
        path.write_bytes(cv2.imencode(".png", textured(SIDE, SIDE, seed)[..., ::-1])[1].tobytes())
        return path

    clean = tuple(Clean(photo(f"clean{n}", n), f"made/clean{n}.png", f"made/c{n}") for n in range(4))
    scored = [
        Scored(photo(f"scored{n}", 20 + n), 1 + 0.4 * n, None, None, "made", f"made/scored{n}.png", f"made/s{n}")
        for n in range(10)
    ]
    scored.append(Scored(photo("scored10", 30), 5.0, 0.4, clean[0].path, "made", "made/scored10.png", "made/s10"))
    pair = Preferred(photo("p1", 40), photo("p2", 41), photo("p3", 42), 0.8, "made/p3.png", "made/p")
    return Material(clean, tuple(scored), (pair,))


@pytest.fixture(scope="session")
def shard() -> Shard:
    return Shard("train", 0, 240, 7, ("en", "zh"), 512)


@pytest.fixture(scope="session")
def records(material: Material, shard: Shard) -> list[Record]:
    """The 240 records of one shard."""
    return shard_records(material, shard)
