"""Scored pictures small enough to tune on in a test, and a tiny model of the shipped one's class."""

import csv
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mllm_iqa.train.tuning.recipe import TuneRecipe
from PIL import Image

from mllm_iqa.backends.huggingface import HuggingFaceBackend

sys.path.insert(0, str(Path(__file__).parents[1]))  # for tiny_models

SIZES = ((64, 96), (96, 64), (64, 64), (50, 70))


@pytest.fixture(scope="session")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 12 pictures of several sizes: the brighter, the better."""
    folder = tmp_path_factory.mktemp("scores")
    rng = np.random.default_rng(0)
    with (folder / "scores.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "mos", "std", "dataset", "split"])
        for n in range(12):
            mos = 1.3 + 0.3 * n
            height, width = SIZES[n % 4]
            pixels = np.clip(40 * mos + rng.normal(0, 10, (height, width, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{n}.png")
            split = "val" if n % 3 == 2 else "train"
            table.writerow([folder / f"{n}.png", f"{mos:.2f}", "0.6" if n % 2 else "", "mine", split])
    return folder / "scores.csv"


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny checkpoint of a family, made once; see `tiny_models.MAKERS`."""
    import tiny_models as makers

    folder = tmp_path_factory.mktemp("tiny")

    def made(family: str) -> Path:
        if not (folder / family).exists():
            (folder / family).mkdir()
            makers.MAKERS[family](folder / family)
        return folder / family

    return made


@pytest.fixture(scope="session")
def load(tiny_models: Callable[[str], Path]) -> Callable[[str], HuggingFaceBackend]:
    """A freshly loaded tiny model of a family."""
    return lambda family: HuggingFaceBackend.load(str(tiny_models(family)), device="cpu")


@pytest.fixture
def recipe(scores: Path, tiny_checkpoint: Path, tmp_path: Path) -> Callable[..., TuneRecipe]:
    """A recipe of a few steps of LoRA on the tiny checkpoint; keyword arguments replace its keys."""

    def made(**changes: Any) -> TuneRecipe:
        data: dict[str, Any] = {
            "kind": "tune",
            "name": "tuned",
            "version": "1",
            "model": str(tiny_checkpoint),
            "output": tmp_path / "run",
            "train": [{"path": scores, "split": "train"}],
            "method": "lora",
            "lora": {"rank": 4, "alpha": 8, "dropout": 0.1, "targets": ["language attention", "vision"]},
            "weights": {"text": 0.5, "level": 1.0, "fidelity": 1.0},
            "optimization": {"steps": 4, "batch_size": 2, "learning_rate": 1e-2, "precision": "fp32"},
            "licence": "none",
        }
        return TuneRecipe.model_validate(data | changes)

    return made
