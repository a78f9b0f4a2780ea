"""Every shipped recipe is valid, true to its paper, and takes one step on a tiny model of its class."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from mllm_iqa.train.nano.recipe import NanoRecipe
from mllm_iqa.train.recipe import read_recipe, recipe_names, recipe_path
from mllm_iqa.train.tuning.recipe import RewardRecipe, TuneRecipe
from mllm_iqa.train.tuning.run import tune
from safetensors.torch import load_file

from mllm_iqa.checkpoints import read_card
from mllm_iqa.cli import main
from mllm_iqa.errors import ConfigError

TUNING = [name for name in recipe_names() if name != "nano"]
CLASS_OF = {
    "nano-lora": "qwen3_vl",
    "qwen3-vl-4b-lora": "qwen3_vl",
    "qwen3-vl-8b-qlora": "qwen3_vl",
    "internvl-lora": "internvl",
    "smolvlm-lora": "idefics3",
    "llava-openclip-1": "llava",
    "llava-openclip-2": "llava",
    "q-align-full": "qwen3_vl",
    "q-align-lora": "qwen3_vl",
    "deqa-full": "qwen3_vl",
    "deqa-lora": "qwen3_vl",
}
PAPER = ("q-align-full", "q-align-lora", "deqa-full", "deqa-lora")


def read(name: str, *changes: str) -> Any:
    return read_recipe(recipe_path(name), changes)


@pytest.mark.parametrize("name", TUNING)
def test_a_shipped_recipe_is_valid_and_its_check_reads_its_pictures(
    name: str, scores: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(read(name), TuneRecipe | RewardRecipe)
    changes = ["--set", f"train=[{{path: {scores}, split: train}}]"]
    if getattr(read(name), "valid", ()):
        changes += ["--set", f"valid=[{{path: {scores}, split: val}}]"]
    assert main(["train", name, "--check", *changes]) == 0
    assert capsys.readouterr().out.endswith(f"{name}.yaml: valid\n")


@pytest.mark.parametrize("name", PAPER)
def test_paper_equivalent_settings_are_those_published(name: str) -> None:
    # Q-Align and DeQA-Score: lr 2e-5 full, 2e-4 LoRA of rank 128 and alpha 256, three epochs, cosine, warm-up 0.03.
    recipe = read(name)
    o = recipe.optimization
    assert (o.epochs, o.schedule, o.warmup, o.weight_decay, o.precision) == (3, "cosine", 0.03, 0.0, "bf16")
    assert o.learning_rate == (2e-5 if recipe.method == "full" else 2e-4)
    if recipe.lora is not None:
        assert (recipe.lora.rank, recipe.lora.alpha, recipe.lora.dropout) == (128, 256, 0.05)
    weights = recipe.weights
    if name.startswith("deqa"):
        assert (recipe.labels, weights.text, weights.level, weights.fidelity) == ("soft", 0.05, 0.05, 1.0)
    else:
        assert (recipe.labels, weights.text, weights.level, weights.fidelity) == ("hard", 1.0, 1.0, 0.0)
    assert recipe.source is not None


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", CLASS_OF)
def test_a_recipe_takes_a_step_on_a_tiny_model_of_its_class(
    name: str, scores: Path, tiny_models: Callable[[str], Path], tmp_path: Path
) -> None:
    if name == "qwen3-vl-8b-qlora":
        pytest.importorskip("bitsandbytes", reason="needs bitsandbytes, which the extra quantize installs")
    recipe = read(
        name,
        f"train=[{{path: {scores}, split: train}}]",
        "valid=[]",
        "validation=null",
        f"model={tiny_models(CLASS_OF[name])}",
        f"output={tmp_path / 'run'}",
        "optimization.epochs=null",
        "optimization.steps=1",
        "optimization.warmup=0",  # whose first step would be of size 0
        "optimization.batch_size=2",
        "optimization.accumulation=1",
        # What only an accelerator has; bf16 runs here, slowly.
        "optimization.optimizer=adamw",
    )
    folder = tune(recipe, f"{name}.yaml")
    assert read_card(folder) is not None
    if recipe.method != "full":
        # LoRA's second matrix is 0 until a step is taken.
        weights = load_file(folder / "adapter_model.safetensors")
        assert all(float(weights[key].abs().max()) > 0 for key in weights if "lora_B" in key)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_the_command_prints_the_result_alone(
    scores: Path, tiny_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = [f"train=[{{path: {scores}}}]", f"model={tiny_checkpoint}", f"output={tmp_path / 'run'}"]
    changes += ["optimization={steps: 1, batch_size: 2, learning_rate: 1.0e-3, precision: fp32}"]
    assert main(["train", "nano-lora", *(word for change in changes for word in ("--set", change))]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'run' / 'result'}\n"
    assert main(["train", "merge", str(tmp_path / "run" / "result"), str(tmp_path / "whole")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'whole'}\n"


def test_every_shipped_tuning_recipe_takes_its_step() -> None:
    assert {*CLASS_OF, "grpo-ranking", "grpo-insight"} == set(TUNING)


def test_the_examples_for_accelerate_are_what_it_reads(tmp_path: Path) -> None:
    from accelerate.commands.config import config_args

    folder = recipe_path("nano").parent / "accelerate"
    assert sorted(p.stem for p in folder.glob("*.yaml")) == ["deepspeed-zero3", "fsdp"]
    for path in folder.glob("*.yaml"):
        config = config_args.load_config_from_file(str(path))
        assert config.num_processes == yaml.safe_load(path.read_text("utf8"))["num_processes"]


# Settings from the command line, and mistakes


def test_settings_replace_those_of_the_file() -> None:
    recipe = read("nano-lora", "seed=3", "optimization.epochs=1", "lora.targets=[vision]")
    assert (recipe.seed, recipe.optimization.epochs, recipe.lora.targets) == (3, 1, ("vision",))
    assert isinstance(read("nano"), NanoRecipe)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("sede=1", "sede: unknown key, did you mean seed?"),
        ("optimization.learning_rte=1", "optimization.learning_rte: unknown key, did you mean learning_rate?"),
        ("train=[{path: a, spilt: train}]", "train.0.spilt: unknown key, did you mean split?"),
        ("lora.rank=0", "lora.rank: Input should be greater than 0"),
        ("lora.targets=[atention]", "lora.targets.0: Input should be 'language attention'"),
        ("lora=null", "lora must be given for the methods lora and qlora"),
        ("method=full", "lora must be given for the methods lora and qlora, and only for them"),
        ("optimization.steps=5", "give either epochs or steps"),
        ("weights={text: 0, level: 0}", "at least one weight must be above 0"),
        ("validation={every: 5}", "valid and validation go together"),
        ("kind=tnue", "kind: 'tnue' is none of nano, tune, reward"),
        ("seed", "give it as key=value"),
    ],
)
def test_a_mistake_is_named(change: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read("nano-lora", change)
    assert message in str(caught.value)


def test_an_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"nano-lroa: no such recipe; the shipped ones are: deqa-full, .*nano-lora"):
        read("nano-lroa")
