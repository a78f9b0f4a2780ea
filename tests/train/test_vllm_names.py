"""The names of a LLaVA's vision tower on disk: those vLLM reads, in every checkpoint that tuning writes."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mllm_iqa.train.tuning.merge import merge
from mllm_iqa.train.tuning.recipe import TuneRecipe
from mllm_iqa.train.tuning.run import tune
from mllm_iqa.train.vllm_names import name_as_vllm_reads
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

sys.path.insert(0, str(Path(__file__).parent))  # for tiny_models

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tiny_models

    folder = tmp_path_factory.mktemp("llava")
    tiny_models.llava(folder)
    return folder


def tower_names(folder: Path) -> set[str]:
    names: set[str] = set()
    for path in folder.glob("*.safetensors"):
        names |= {name for name in load_file(path) if "vision_tower." in name}
    return names


def loaded(folder: Path) -> Any:
    model, found = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not found["missing_keys"] and not found["unexpected_keys"]
    return model.state_dict()


@pytest.mark.parametrize("shards", ["5GB", "100KB"])
def test_transformers_loads_the_same_numbers_under_the_names_of_vllm(llava: Path, tmp_path: Path, shards: str) -> None:
    model = AutoModelForImageTextToText.from_pretrained(llava)
    model.save_pretrained(tmp_path, max_shard_size=shards)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1 or shards == "100KB"
    name_as_vllm_reads(tmp_path)
    names = tower_names(tmp_path)
    assert names
    assert all("vision_tower.vision_model." in name for name in names)
    index = tmp_path / "model.safetensors.index.json"
    if index.exists():
        listed = json.loads(index.read_text("utf8"))["weight_map"]
        assert all(name in load_file(tmp_path / file) for name, file in listed.items())
    again = loaded(tmp_path)
    assert all(torch.equal(tensor, again[name]) for name, tensor in model.state_dict().items())
    written = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    name_as_vllm_reads(tmp_path)
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_other_models_are_left_alone(tiny_checkpoint: Path) -> None:
    before = (tiny_checkpoint / "model.safetensors").stat().st_mtime_ns
    name_as_vllm_reads(tiny_checkpoint)
    assert (tiny_checkpoint / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_tuning_writes_has_them(method: str, llava: Path, tmp_path: Path, scored_table: Path) -> None:
    what = {"lora": {"rank": 4, "alpha": 8, "targets": ["language attention"]}} if method == "lora" else {}
    recipe = TuneRecipe.model_validate(
        {
            "kind": "tune",
            "name": "tuned",
            "version": "1",
            "model": str(llava),
            "output": tmp_path / "run",
            "train": [{"path": scored_table}],
            "method": method,
            "weights": {"text": 1.0, "level": 1.0},
            "optimization": {"steps": 1, "batch_size": 2, "learning_rate": 1e-2, "precision": "fp32"},
            "licence": "none",
        }
        | (what if what else {"parts": ["projector"]})
    )
    folder = tune(recipe, "x.yaml")
    if method == "lora":
        folder = merge(folder, tmp_path / "whole")
    names = tower_names(folder)
    assert names and all("vision_tower.vision_model." in name for name in names)
    before, after = loaded(llava), loaded(folder)
    frozen = [name for name in before if "vision_tower" in name]
    assert frozen and all(torch.equal(before[name], after[name]) for name in frozen)


@pytest.fixture
def scored_table(tmp_path: Path) -> Path:
    from PIL import Image

    rows = ["path,mos"]
    for n in range(4):
        Image.new("RGB", (64, 64), (60 * n,) * 3).save(tmp_path / f"{n}.png")
        rows.append(f"{tmp_path / f'{n}.png'},{1.5 + n / 2}")
    (tmp_path / "scores.csv").write_text("\n".join(rows), "utf8")
    return tmp_path / "scores.csv"
