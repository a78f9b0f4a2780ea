"""Pictures the data tests make for themselves."""

import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def textured() -> Callable[..., np.ndarray]:
    """A function (height, width, seed=0) -> uint8 RGB with fine and coarse detail of its own in every channel."""

    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        image = np.full((height, width, 3), 120.0, np.float32)
        for sigma, strength in ((1.5, 18.0), (12.0, 30.0)):
            field = rng.standard_normal((height, width, 3), dtype=np.float32)
            field = cv2.GaussianBlur(field, (0, 0), sigma)
            image += strength * field / field.std()
        return np.clip(image, 0, 255).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def photo_folders(tmp_path_factory: pytest.TempPathFactory, textured: Callable[..., np.ndarray]) -> dict[str, Path]:
    """Folders "biq2021" and "bsds500" of 64 x 72 photographs whose split and cleanness are known.

    By the hashes of their groups (see test_sources.py), ss01 blocks 0 and 3 are train and val, as are ss03 blocks 0
    and 6; of BSDS500 100075 is train, 8023 and 2018 are val. 2018 is 400 x 530. Clean: ss03_1 (train), ss03_300 (val)
    and all of BSDS500. With human MOS: 9 train, 8 val.
    """
    root = tmp_path_factory.mktemp("photographs")
    folders = {"biq2021": root / "biq2021", "bsds500": root / "bsds500"}
    (folders["biq2021"] / "images").mkdir(parents=True)
    folders["bsds500"].mkdir()

    def write(path: Path, height: int, width: int, seed: int) -> None:
        # Lossless under any name, so that what is read is exactly what was made: the content decides how it is read.
        path.write_bytes(cv2.imencode(".png", textured(height, width, seed)[..., ::-1])[1].tobytes())

    scores = {f"ss01_{n}": n / 10 for n in range(1, 9)} | {"ss03_1": 0.9}
    scores |= {f"ss01_{150 + n}": 0.2 + n / 10 for n in range(6)} | {"ss03_300": 0.9, "ss03_301": 0.3}
    with (folders["biq2021"] / "labels.csv").open("w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        writer.writerow(["image", "mos_0to1", "subset"])
        for seed, (name, score) in enumerate(scores.items()):
            write(folders["biq2021"] / "images" / f"{name}.jpg", 64, 72, seed)
            writer.writerow([f"images/{name}.jpg", score, name[:4]])
    write(folders["bsds500"] / "100075.jpg", 64, 72, 100)
    write(folders["bsds500"] / "8023.jpg", 72, 64, 101)
    write(folders["bsds500"] / "2018.jpg", 400, 530, 102)
    return folders
