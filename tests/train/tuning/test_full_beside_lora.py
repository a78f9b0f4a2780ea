"""A component that learns in full beside LoRA: found in every architecture, saved with the adapter, merged with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mllm_iqa.train.parts import part_of
from mllm_iqa.train.tuning.merge import merge
from mllm_iqa.train.tuning.recipe import TuneRecipe
from mllm_iqa.train.tuning.run import tune
from mllm_iqa.train.tuning.what_learns import whole_modules, with_lora
from safetensors.torch import load_file

from mllm_iqa import Assistant
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.errors import ConfigError

Recipes = Callable[..., TuneRecipe]
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

BESIDE = {"rank": 4, "alpha": 8, "targets": ["language attention"], "full": ["projector"]}


@pytest.mark.parametrize("family", ["qwen3_vl", "qwen2_5_vl", "llava", "idefics3", "internvl"])
def test_all_of_the_projector_learns_and_nothing_else_but_lora(
    family: str, load: Callable[[str], HuggingFaceBackend]
) -> None:
    model = load(family).model
    expected = {name for name, _ in model.named_parameters() if part_of(name) == "projector"}
    wrapped = with_lora(model, ["language attention"], whole=["projector"], rank=4, alpha=8, dropout=0.0)
    learning = {name: p for name, p in wrapped.named_parameters() if p.requires_grad}
    whole = {name for name in learning if "lora_" not in name}
    plain = {name.removeprefix("base_model.model.").replace("modules_to_save.default.", "") for name in whole}
    assert plain == expected
    assert {part_of(name) for name in learning} == {"language attention", "projector"}


def test_the_largest_modules_are_named_and_lists_are_not(load: Callable[[str], HuggingFaceBackend]) -> None:
    model = load("qwen3_vl").model
    assert whole_modules(model, ["projector"]) == ["model.visual.merger", "model.visual.deepstack_merger_list.0"]
    assert whole_modules(load("llava").model, ["vision", "projector"]) == [
        "model.vision_tower",
        "model.multi_modal_projector",
    ]
    with pytest.raises(ConfigError, match="has no vision; it has: language, projector"):
        blind = torch.nn.ModuleDict({"language_model": model.model.language_model, "merger": model.model.visual.merger})
        whole_modules(blind, ["vision"])


@pytest.mark.parametrize(("family", "method"), [("qwen3_vl", "lora"), ("llava", "lora"), ("qwen3_vl", "qlora")])
def test_merging_changes_no_score(
    family: str,
    method: str,
    recipe: Recipes,
    tiny_models: Callable[[str], Path],
    scores: Path,
    tmp_path: Path,
) -> None:
    if method == "qlora":
        pytest.importorskip("bitsandbytes", reason="needs bitsandbytes, which the extra quantize installs")
    base = tiny_models(family)
    steps: dict[str, Any] = {"steps": 2, "batch_size": 2, "learning_rate": 1e-2, "precision": "fp32", "warmup": 0}
    adapter = tune(recipe(model=str(base), method=method, lora=BESIDE, optimization=steps), "x.yaml")
    saved = load_file(adapter / "adapter_model.safetensors")
    before = load_file(base / "model.safetensors")
    moved = [name for name in saved if part_of(name) == "projector" and "lora_" not in name]
    assert moved
    for name in moved:
        # transformers saves some models under older names, which end alike.
        (old,) = (tensor for key, tensor in before.items() if name.endswith(key.removeprefix("model.")))
        assert not torch.equal(saved[name], old.float()), name
    whole = merge(adapter, tmp_path / "whole")
    one, other = (Assistant.load(str(folder), device="cpu") for folder in (adapter, whole))
    scored = [[x.score(scores.parent / f"{n}.png", explain=False).mos for n in range(4)] for x in (one, other)]
    np.testing.assert_allclose(scored[0], scored[1], atol=1e-3)
    untuned = Assistant.load(str(base), device="cpu")
    assert abs(untuned.score(scores.parent / "0.png", explain=False).mos - scored[0][0]) > 1e-4


def test_in_bfloat16_what_learns_is_kept_in_float32_and_measured(recipe: Recipes, scores: Path) -> None:
    steps = {"steps": 1, "batch_size": 2, "learning_rate": 1e-2, "precision": "bf16"}
    plan = recipe(
        lora=BESIDE | {"targets": ["language mlp"], "full": ["projector", "vision"]},
        optimization=steps,
        test=[{"path": scores, "split": "val"}],
    )
    saved = load_file(tune(plan, "x.yaml") / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}


def test_a_component_learns_in_one_way(recipe: Recipes) -> None:
    with pytest.raises(ValueError, match="projector is under targets and under full"):
        recipe(lora=BESIDE | {"targets": ["projector"]})
