"""A miniature of the whole run: all stages, a second run that finds everything done, and the checkpoint in use."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mllm_iqa.train.nano import pretrain_vision as vision_stage
from mllm_iqa.train.nano import run as stages
from mllm_iqa.train.nano.recipe import NanoRecipe
from mllm_iqa.train.nano.run import train_nano
from mllm_iqa.train.nano.teacher import FEATURES
from safetensors.torch import load_file, save_file

from mllm_iqa import Assistant
from mllm_iqa.checkpoints import read_card, sha256_of, write_card
from mllm_iqa.prompt_files import load_prompt

STEPS = 2


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up teacher weights: four channels wide, but for the last layer, whose features are distilled."""
    rng = np.random.default_rng(0)
    table = {"conv1/kernel": rng.standard_normal((3, 3, 3, 4))}
    for i in range(1, 13):
        table[f"conv_dw_{i}/depthwise_kernel"] = rng.standard_normal((3, 3, 4, 1))
        table[f"conv_pw_{i}/kernel"] = rng.standard_normal((1, 1, 4, FEATURES if i == 12 else 4))
    for bn in ("conv1_bn", *(f"conv_{kind}_{i}_bn" for i in range(1, 13) for kind in ("dw", "pw"))):
        width = FEATURES if bn == "conv_pw_12_bn" else 4
        for name, value in (("gamma", 1.0), ("beta", 0.5), ("moving_mean", 0.0), ("moving_variance", 2.0)):
            table[f"{bn}/{name}"] = np.full(width, value)
    path = tmp_path_factory.mktemp("teacher") / "fake.npz"
    np.savez(path, **{k: v.astype(np.float32) for k, v in table.items()})  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module", autouse=True)
def small_batches() -> Iterator[None]:
    """Batches of the sorts the real mix has, a twentieth as large; the caller's threads are given back."""
    threads = cv2.getNumThreads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vision_stage, "MIX", (("synthetic", 96, 6, 0.5), ("photo", 256, 2, 0.5)))
        patch.setattr(stages, "CROPS_FIRST", (("synthetic", "96px", 1, 0.5), ("whole photos", "96px", 1, 0.5)))
        patch.setattr(stages, "WHOLE_PICTURES", (("synthetic", "160x224px", 1, 0.5), ("whole photos", "96px", 1, 0.5)))
        yield
    cv2.setNumThreads(threads)


@pytest.fixture(scope="module")
def recipe(tiny_bank: Path, teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> NanoRecipe:
    stage = {"steps": STEPS, "learning_rate": 1e-3, "warmup": 1}
    return NanoRecipe.model_validate(
        {
            "name": "miniature",
            "version": "0",
            "bank": tiny_bank,
            "teacher": teacher,
            "output": tmp_path_factory.mktemp("run"),
            "seed": 8,
            "max_pixels": 128 * 128,
            "vision": stage,
            "instruct": stage,
            "whole": stage,
        }
    )


@pytest.fixture(scope="module")
def checkpoint(recipe: NanoRecipe) -> Path:
    return train_nano(recipe, "miniature.yaml")


def log_of(recipe: NanoRecipe, stage: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in (recipe.output / stage / "log.jsonl").read_text("utf8").splitlines()]


def test_all_stages_took_their_steps_on_both_sorts_of_batches(recipe: NanoRecipe, checkpoint: Path) -> None:
    for stage, crops in (("vision", "synthetic"), ("instruct", "crop"), ("whole", "crop")):
        rows = log_of(recipe, stage)
        assert [row["step"] for row in rows] == list(range(STEPS))
        assert all(np.isfinite(list(row.values())).all() for row in rows)
        # With this seed one batch of each sort.
        assert {key.split("_")[0] for row in rows for key in row} >= {crops, "photo"}
    photo = next(row for row in log_of(recipe, "vision") if "photo_teacher" in row)
    assert photo["photo_teacher"] > 0


def test_the_tower_of_the_first_stage_goes_into_the_second(recipe: NanoRecipe, checkpoint: Path) -> None:
    vision = torch.load(recipe.output / "vision" / "state.pt", weights_only=True)["model"]
    final = torch.load(recipe.output / "instruct" / "state.pt", weights_only=True)["model"]
    tower = {k: v for k, v in vision.items() if k.startswith("visual.")}
    assert len(tower) > 50
    for name, before in tower.items():
        after = final[f"model.{name}"]
        # Two steps of at most 3e-4 (0.3 of the rate) on what is of order 1 / 50, so still recognisably the same.
        assert (after - before).abs().max() < 2e-3, name
    assert any(not torch.equal(final[f"model.{name}"], before) for name, before in tower.items()), "it is not trained"


def test_a_second_run_finds_all_done_and_writes_the_same_checkpoint(recipe: NanoRecipe, checkpoint: Path) -> None:
    before = {p.name: p.read_bytes() for p in checkpoint.iterdir()}
    assert train_nano(recipe, "miniature.yaml") == checkpoint
    assert {p.name: p.read_bytes() for p in checkpoint.iterdir()} == before
    assert [len(log_of(recipe, stage)) for stage in ("vision", "instruct", "whole")] == [STEPS] * 3


def test_the_card_names_the_recipe(checkpoint: Path, recipe: NanoRecipe) -> None:
    card = read_card(checkpoint)
    assert card is not None
    assert (card.name, card.version, card.max_pixels) == ("miniature", "0", recipe.max_pixels)
    assert card.recipe == "miniature.yaml: 2 vision steps, 2 crop instruction steps, 2 whole-picture instruction steps"


def test_a_run_goes_on_from_a_checkpoint(recipe: NanoRecipe, checkpoint: Path, tmp_path: Path) -> None:
    went_on = {"start": checkpoint, "output": tmp_path / "run", "vision": None, "instruct": None}
    out = train_nano(NanoRecipe.model_validate(recipe.model_dump() | went_on), "more.yaml")
    card = read_card(out)
    assert card is not None
    assert card.recipe == "more.yaml: 2 whole-picture instruction steps, from miniature 0"
    before, after = (load_file(folder / "model.safetensors") for folder in (checkpoint, out))
    assert before.keys() == after.keys()
    moved = [float((after[name].float() - before[name].float()).abs().max()) for name in before]
    assert 0 < max(moved) < 0.01, "two steps of 1e-3 at most, from the checkpoint's weights"
    assert (out / "tokenizer.json").read_bytes() == (checkpoint / "tokenizer.json").read_bytes()


def test_a_run_goes_on_from_the_mean_of_several_checkpoints(
    recipe: NanoRecipe, checkpoint: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(checkpoint, other)
    weights = load_file(checkpoint / "model.safetensors")
    further = {name: value + 0.04 for name, value in weights.items()}
    save_file(further, other / "model.safetensors", metadata={"format": "pt"})
    card = read_card(checkpoint)
    assert card is not None
    changed = {"version": "1", "sha256": {"model.safetensors": sha256_of(other / "model.safetensors")}}
    write_card(other, card.model_copy(update=changed))
    went_on = {"start": [checkpoint, other], "output": tmp_path / "run", "vision": None, "instruct": None}
    out = train_nano(NanoRecipe.model_validate(recipe.model_dump() | went_on), "more.yaml")
    made = read_card(out)
    assert made is not None
    assert made.recipe == "more.yaml: 2 whole-picture instruction steps, from the mean of miniature 0, miniature 1"
    after = load_file(out / "model.safetensors")
    assert after.keys() == weights.keys()
    moved = max(float((after[name].float() - weights[name].float() - 0.02).abs().max()) for name in weights)
    assert moved < 0.005, "two steps of 1e-3 at most, from the mean"


def test_the_checkpoint_scores_and_explains_a_picture(checkpoint: Path) -> None:
    assistant = Assistant.load(str(checkpoint), device="cpu")
    picture = np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)
    result = assistant.score(picture)
    assert result.model == "miniature 0"
    assert 1 <= result.mos <= 5
    assert sum(result.levels.values()) == pytest.approx(1)
    assert result.explanation is not None
    assert result.explanation.startswith(f"{load_prompt('rate.v1').answer_prefix} {result.level}.")
    assert result.to_dict() == assistant.score(picture).to_dict()
    # Two steps are enough to learn that a level word comes next at all: it is one of a thousand tokens.
    assert result.outside_mass < 1 - 5 / 1024
