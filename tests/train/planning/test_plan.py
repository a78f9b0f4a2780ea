"""Plans from configurations alone: published sizes, tokens as the real processors count them, the command."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mllm_iqa.train.planning.memory import LOGIT_BYTES
from mllm_iqa.train.planning.picture_tokens import patches_per_token, picture_tokens
from mllm_iqa.train.planning.plan import as_text, make_plan
from mllm_iqa.train.planning.shapes import read_config, shape_names, shape_of
from mllm_iqa.train.recipe import RECIPES, read_recipe, recipe_names
from mllm_iqa.train.tuning.recipe import RewardRecipe, TuneRecipe
from transformers import (
    Cohere2VisionConfig,
    GotOcr2ImageProcessorPil,
    Idefics3ImageProcessorPil,
    LlavaImageProcessorPil,
    Qwen2VLImageProcessorPil,
)

from mllm_iqa.cli import main
from mllm_iqa.errors import CheckpointError, ConfigError
from mllm_iqa.registry import NANO

RECIPE = """
kind: tune
name: x
version: "1"
model: {model}
output: out
train: [{{path: scores.csv}}]
weights: {{text: 1.0, level: 1.0}}
licence: none
method: lora
lora: {{rank: 8, alpha: 16, targets: [language attention, language mlp]}}
optimization: {{epochs: 1, batch_size: 2, accumulation: 4, learning_rate: 1.0e-4, gradient_checkpointing: true}}
max_pixels: 262144
"""


def write(folder: Path, *, model: str = str(NANO), right: str = "", wrong: str = "") -> Path:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(model=model).replace(right, wrong) if right else RECIPE.format(model=model), "utf8")
    return path


def planned(**changes: Any) -> TuneRecipe:
    return TuneRecipe.model_validate(yaml.safe_load(RECIPE.format(model=NANO)) | changes)


# As the hub says of each repository's safetensors.
@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("Qwen/Qwen3-VL-4B-Instruct", 4_437_815_808),
        ("Qwen/Qwen3-VL-8B-Instruct", 8_767_123_696),
        ("HuggingFaceTB/SmolVLM-500M-Instruct", 507_482_304),
        ("llava-hf/llava-1.5-7b-hf", 7_063_427_072),
    ],
)
def test_a_shipped_configuration_has_the_published_size(name: str, published: int) -> None:
    assert shape_of(read_config(name)).total == published


def test_every_shipped_configuration_can_be_planned() -> None:
    for name in shape_names():
        recipe = planned(model=f"owner/{name}", method="full", lora=None, parts=["projector"])
        plan = make_plan(recipe, sizes=[(384, 512)], text_tokens=10)
        assert plan.learning == plan.shape.parameters["projector"] > 0
        assert sum(plan.shape.parameters.values()) == plan.shape.total
        assert "other" not in plan.shape.parameters or plan.shape.parameters["other"] < plan.shape.total / 1000
        assert 0 < plan.pictures[0].memory["qlora"].weights < plan.pictures[0].memory["lora"].weights


def test_nano_is_counted_as_it_is() -> None:
    from safetensors import safe_open

    with safe_open(NANO / "model.safetensors", framework="pt") as stored:
        sizes = [int(np.prod(stored.get_slice(name).get_shape())) for name in stored.keys()]  # noqa: SIM118
    assert shape_of(read_config("nano")).total == sum(sizes)


def pixels(height: int, width: int) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


@pytest.mark.parametrize(("height", "width"), [(384, 512), (225, 300), (1080, 1920), (64, 900)])
def test_tokens_are_those_of_the_real_processors(height: int, width: int) -> None:
    qwen = read_config("Qwen/Qwen3-VL-4B-Instruct")
    sizes = {"shortest_edge": 32 * 32, "longest_edge": 262144}
    grid = Qwen2VLImageProcessorPil(patch_size=16, merge_size=2, size=sizes)(pixels(height, width))["image_grid_thw"]
    seen = picture_tokens(qwen, height, width, max_pixels=262144)
    assert seen == int(np.prod(grid[0])) // 4
    assert seen * 32 * 32 <= 262144

    internvl = read_config("OpenGVLab/InternVL3-2B-hf")
    tiles = GotOcr2ImageProcessorPil(size={"height": 448, "width": 448}, crop_to_patches=True)(pixels(height, width))
    assert picture_tokens(internvl, height, width, max_pixels=1) == 256 * len(tiles["pixel_values"])

    smolvlm = read_config("HuggingFaceTB/SmolVLM-500M-Instruct")
    split = Idefics3ImageProcessorPil(size={"longest_edge": 2048}, max_image_size={"longest_edge": 512})
    parts = split(pixels(height, width), return_tensors="np")["pixel_values"]
    assert picture_tokens(smolvlm, height, width, max_pixels=1) == 64 * parts.shape[1]  # (512 / 16 / 4)^2 each

    llava = read_config("llava-hf/llava-1.5-7b-hf")
    shown = LlavaImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
    assert shown(pixels(height, width))["pixel_values"][0].shape == (3, 336, 336)
    assert picture_tokens(llava, height, width, max_pixels=1) == 576  # (336 / 14)^2


def test_merged_patches_count() -> None:
    vision = {"model_type": "siglip_vision_model", "image_size": 64, "patch_size": 8, "hidden_size": 32}
    config = Cohere2VisionConfig(vision_config=vision, text_config={"model_type": "llama"})
    assert patches_per_token(config) == 4
    assert picture_tokens(config, 64, 64, max_pixels=1) == 16  # one tile of 8 x 8 patches, merged two by two
    assert picture_tokens(config, 64, 128, max_pixels=1) == 3 * 16  # two tiles and the whole


def test_a_plan_is_for_the_recipes_batch_and_pictures(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path))
    plan = make_plan(recipe, sizes=[(384, 512), (768, 1024)], text_tokens=100, examples=1001)
    assert plan.steps == 126  # 1001 / (2 x 4), rounded up
    small, large = plan.pictures
    assert small.tokens == 12 * 16  # 384 / 32 x 512 / 32
    assert large.tokens <= 262144 // 32**2
    assert small.memory["lora"].logits == large.memory["lora"].logits  # of the words alone
    assert small.memory["lora"].activations < large.memory["lora"].activations
    assert small.memory["lora"].weights < small.memory["full"].weights
    text = as_text(plan)
    assert "pictures of 512x384: 192 tokens each" in text
    assert "steps per epoch: 126" in text
    assert " * lora: " in text


def test_the_command_prints_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(write(tmp_path))
    assert main(["train", "plan", recipe, "--picture", "512x384", "--examples", "80"]) == 0
    printed = capsys.readouterr().out
    assert "trainable with lora" in printed and "steps per epoch: 10" in printed
    assert main(["train", "--plan", recipe, "--picture", "512x384", "--examples", "80"]) == 0
    assert capsys.readouterr().out == printed
    assert main(["train", "plan", recipe, "--picture", "512"]) == 2
    assert "--picture 512: expected WIDTHxHEIGHT" in capsys.readouterr().err


def test_what_learns_in_full_beside_lora_is_counted() -> None:
    lora = {"rank": 8, "alpha": 16, "targets": ["language mlp"]}
    without, beside = (
        make_plan(planned(lora=lora | more), sizes=[(64, 64)], text_tokens=10) for more in ({}, {"full": ["projector"]})
    )
    assert beside.learning - without.learning == beside.shape.parameters["projector"] > 0
    memory = {plan.learning: plan.pictures[0].memory["lora"] for plan in (without, beside)}
    more = beside.learning - without.learning
    assert memory[beside.learning].weights - memory[without.learning].weights == 4 * more


def test_a_plan_of_rewards_counts_answers() -> None:
    recipe = read_recipe(RECIPES / "grpo-insight.yaml")
    assert isinstance(recipe, RewardRecipe)
    plan = make_plan(recipe, sizes=[(384, 512)], text_tokens=100, examples=160)
    assert plan.steps == 10  # 160 pictures x 8 answers / (16 x 8)
    # 16 answers of at most 512 tokens, in a vocabulary of 151,936.
    assert plan.pictures[0].memory["lora"].logits == LOGIT_BYTES * 16 * 512 * 151936


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_is_planned_by_its_name(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # What llava-openclip starts from does not ship; a published model of its class stands in for it.
    model = ["--set", "model=llava-hf/llava-1.5-7b-hf"] if name.startswith("llava-openclip") else []
    assert main(["train", "--plan", name, *model]) == 0
    printed = capsys.readouterr().out
    recipe = read_recipe(RECIPES / f"{name}.yaml")
    if isinstance(recipe, TuneRecipe):
        assert f" * {recipe.method}: " in printed
    assert "pictures of 512x384: " in printed


def test_what_is_not_here_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="without a download there are InternVL3-2B-hf, Qwen3-VL-4B") as caught:
        read_config("nobody/nothing-at-all")
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="no such recipe"):
        read_recipe(tmp_path / "none.yaml")
    text: Any = read_config("nano").text_config
    with pytest.raises(CheckpointError, match="does not turn pictures and text into text"):
        shape_of(text)
