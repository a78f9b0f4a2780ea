"""Both stages of a composed model: the new projector alone, then LoRA, on every projector and class there is."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("open_clip", reason="the extra compose is not installed")

from mllm_iqa.train.composing.command import write
from mllm_iqa.train.composing.compose import compose, family_of, picture_tokens
from mllm_iqa.train.composing.language_model import load_language_model
from mllm_iqa.train.composing.open_clip_tower import convert_tower
from mllm_iqa.train.parts import part_of
from mllm_iqa.train.recipe import read_recipe, recipe_path
from mllm_iqa.train.tuning.merge import merge
from mllm_iqa.train.tuning.recipe import TuneRecipe
from mllm_iqa.train.tuning.run import tune
from PIL import Image
from transformers import AutoModelForImageTextToText

from mllm_iqa import Assistant

pytestmark = [
    pytest.mark.torchvision,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),
]

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("table")
    rng = np.random.default_rng(0)
    with (folder / "scores.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "mos", "dataset", "split"])
        for n, (height, width) in enumerate([(64, 32), (40, 40), (32, 64), (64, 64), (48, 32), (32, 32)] * 2):
            Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{n}.png")
            rows.writerow([folder / f"{n}.png", 1.5 + n / 4, "mine", "val" if n > 7 else "train"])
    return folder / "scores.csv"


def stage(number: int, model: Path, output: Path, table: Path) -> TuneRecipe:
    """A shipped stage for one step of two pictures."""
    changes = [f"train=[{{path: {table}, split: train}}]", f"model={model}", f"output={output}"]
    changes += ["max_pixels=4096", "optimization.epochs=null", "optimization.steps=1", "optimization.batch_size=2"]
    changes += ["optimization.accumulation=1", "optimization.warmup=0", "optimization.precision=fp32"]
    if number == 2:
        changes += [f"valid=[{{path: {table}, split: val}}]", "validation={every: 1}"]
    recipe = read_recipe(recipe_path(f"llava-openclip-{number}"), changes)
    assert isinstance(recipe, TuneRecipe)
    return recipe


def weights(folder: Path) -> dict[str, torch.Tensor]:
    model, report = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    found: dict[str, torch.Tensor] = model.state_dict()
    return found


@pytest.mark.parametrize(
    ("tower", "projector"), [("clip", "mlp"), ("siglip", "mlp"), ("siglip", "shuffle"), ("clipa", "shuffle")]
)
def test_both_stages_take_a_step_and_leave_stock_checkpoints(
    tower: str,
    projector: Any,
    open_clip_tower: Make,
    timm_tower: Make,
    tied_language_model: Path,
    table: Path,
    tmp_path: Path,
) -> None:
    averaged = {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True}
    made = {
        "clip": lambda: open_clip_tower(quick_gelu=True),
        "clipa": lambda: open_clip_tower(**averaged),
        "siglip": lambda: timm_tower(act_layer="gelu_tanh"),
    }[tower]()
    converted = convert_tower(made, name=tower)
    language = load_language_model(str(tied_language_model), picture_tokens(family_of(converted, projector)), seed=0)
    composed = compose(converted, language, projector=projector, seed=0)
    base = write(composed, converted, tmp_path / "composed", parts="tiny + tiny", recipe="test")

    aligned = tune(stage(1, base, tmp_path / "1", table), "llava-openclip-1.yaml")
    before, after = weights(base), weights(aligned)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if part_of(name) == "projector"}

    adapter = tune(stage(2, aligned, tmp_path / "2", table), "llava-openclip-2.yaml")
    whole = merge(adapter, tmp_path / "whole")
    picture = np.full((64, 48, 3), 128, np.uint8)
    scored = [Assistant.load(str(f), device="cpu").score(picture, explain=False).mos for f in (adapter, whole, aligned)]
    assert scored[0] == pytest.approx(scored[1], abs=1e-3)
    assert scored[0] != pytest.approx(scored[2], abs=1e-6)
