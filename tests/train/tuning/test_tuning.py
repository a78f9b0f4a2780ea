"""Tuning a tiny model: batches, accumulation, resuming after a kill, the result and what is refused."""

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mllm_iqa.train.tuning import run
from mllm_iqa.train.tuning.ablation import ablate, as_table
from mllm_iqa.train.tuning.collate import Collator
from mllm_iqa.train.tuning.merge import merge
from mllm_iqa.train.tuning.objective import LossWeights, batch_loss
from mllm_iqa.train.tuning.recipe import TuneRecipe
from mllm_iqa.train.tuning.run import tune
from mllm_iqa.train.tuning.sources import read_all
from PIL import Image

from mllm_iqa import Assistant
from mllm_iqa.backends.base import Conversation
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.checkpoints import read_card, write_card
from mllm_iqa.errors import CheckpointError, ConfigError, DataError
from mllm_iqa.images import load_image
from mllm_iqa.levels import LEVELS

Recipes = Callable[..., TuneRecipe]
ALL = LossWeights(text=0.5, level=1.0, fidelity=1.0, severity=1.0, human_std=0.5)

# torch warns that a CPU has no pinned memory, and the Trainer of what it will rename.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def level_logprobs(backend: HuggingFaceBackend, picture: Path) -> np.ndarray:
    question = Conversation.ask(
        [load_image(picture)], "How would you rate the quality of this image?", "The quality of the image is"
    )
    return backend.continuation_logprobs([question], [f" {level}" for level in LEVELS])[0]


def history(recipe: TuneRecipe) -> list[dict[str, float]]:
    state = max(recipe.output.glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    rows = json.loads((state / "trainer_state.json").read_text("utf8"))["log_history"]
    return [{k: v for k, v in row.items() if k in ("step", "loss", "text", "level")} for row in rows if "loss" in row]


# Batches

FAMILIES = ("qwen3_vl", "qwen2_5_vl", "llava", "idefics3", "internvl")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_says_what_its_examples_say_alone(
    family: str, load: Callable[[str], HuggingFaceBackend], recipe: Recipes
) -> None:
    # Pictures of several sizes: other numbers of tokens, tiles and padding, and yet the same losses.
    backend = load(family)
    examples = read_all(recipe()).train[:4]
    collate = Collator(backend, backend.max_pixels, ["mine"])

    def loss_of(chosen: list[Any], weights: LossWeights) -> tuple[float, torch.Tensor]:
        batch = collate(chosen)
        targets = batch.pop("targets")
        with torch.no_grad():
            logits = backend.model(**batch, logits_to_keep=targets.keep, use_cache=False).logits
        return float(batch_loss(logits, targets, weights)[0]), logits

    additive = LossWeights(text=0.5, level=1.0, fidelity=0.0, severity=1.0, human_std=0.5)
    together, _ = loss_of(examples, additive)
    alone = [loss_of([example], additive)[0] for example in examples]
    assert together == pytest.approx(sum(alone) / 4, rel=1e-5)
    assert len({round(x, 3) for x in alone}) == 4, "the examples differ"


@pytest.mark.parametrize("family", FAMILIES)
def test_training_reads_the_level_where_scoring_does(
    family: str, load: Callable[[str], HuggingFaceBackend], recipe: Recipes
) -> None:
    backend = load(family)
    example = read_all(recipe()).train[0]
    batch = Collator(backend, backend.max_pixels, ["mine"])([example])
    targets = batch.pop("targets")
    with torch.no_grad():
        logits = backend.model(**batch, logits_to_keep=targets.keep, use_cache=False).logits
    read = torch.log_softmax(logits[0, targets.word_at[0]].float(), -1)[targets.word_first[0]]
    assert isinstance(example.pictures[0], Path)
    np.testing.assert_allclose(read.numpy(), level_logprobs(backend, example.pictures[0]), atol=1e-4)


def test_only_the_answer_is_learned(load: Callable[[str], HuggingFaceBackend], recipe: Recipes) -> None:
    backend = load("qwen3_vl")
    batch = Collator(backend, backend.max_pixels, ["mine"])(read_all(recipe()).train[:1])
    targets = batch["targets"]
    learned = targets.labels[0][targets.labels[0] != -100].tolist()
    # The prefix and the end of the turn; the level word is the soft label's.
    assert backend.tokenizer.decode(learned) == "The quality of the image is.<|im_end|>\n"
    assert backend.tokenizer.decode(targets.word_first[0]) == " excellent good fair poor bad"
    assert targets.soft_probs[0].sum() == pytest.approx(1)


def test_a_level_word_of_many_tokens_is_learned_and_cannot_be_ranked(
    tiny_models: Callable[[str], Path], recipe: Recipes, tmp_path: Path
) -> None:
    import tiny_models as makers

    makers.qwen3_vl(tmp_path / "letters", words=False)
    plan = recipe(model=str(tmp_path / "letters"), weights={"text": 1.0, "level": 1.0})
    result = tune(plan.model_copy(update={"optimization": plan.optimization.model_copy(update={"steps": 1})}), "x.yaml")
    assert read_card(result) is not None
    with pytest.raises(DataError, match="two level words begin with the same token, so no score can be read"):
        tune(recipe(model=str(tmp_path / "letters"), output=tmp_path / "other"), "x.yaml")


# Runs


def test_tuning_lowers_the_loss_and_leaves_an_adapter_that_scores(recipe: Recipes, scores: Path) -> None:
    plan = recipe(
        optimization={"steps": 12, "batch_size": 4, "learning_rate": 2e-2, "precision": "fp32"},
        valid=[{"path": scores, "split": "val"}],
        test=[{"path": scores, "split": "val"}],
        validation={"every": 4, "patience": 5},
    )
    folder = tune(plan, "x.yaml")
    losses = [row["loss"] for row in history(plan)]
    assert len(losses) == 12
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])
    card = read_card(folder)
    assert card is not None
    assert (card.name, card.base_model, card.prompts) == ("tuned", "tiny 0", ("rate.v1",))
    assert card.results["validation"]["step"] in (4, 8, 12)  # type: ignore[index]
    assert {"srcc", "plcc", "kl"} == set(card.results["test before"]) == set(card.results["test after"])  # type: ignore[call-overload]
    assert card.results["test after"]["kl"] < card.results["test before"]["kl"]  # type: ignore[index]
    assert not list(folder.glob("*.bin")), "no pickles in what is handed on"
    picture = scores.parent / "2.png"
    tuned, base = (
        Assistant.load(name, device="cpu").score(picture, explain=False) for name in (str(folder), plan.model)
    )
    assert tuned.model == "tuned 1"
    assert tuned.mos != pytest.approx(base.mos, abs=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_merging_changes_no_score(recipe: Recipes, scores: Path, tmp_path: Path, dtype: str) -> None:
    adapter = tune(recipe(), "x.yaml")
    whole = merge(adapter, tmp_path / "whole", dtype=dtype)
    assert not (whole / "adapter_config.json").exists()
    one, other = (Assistant.load(str(folder), device="cpu") for folder in (adapter, whole))
    for n in range(4):
        a, b = (x.score(scores.parent / f"{n}.png", explain=False) for x in (one, other))
        assert a.mos == pytest.approx(b.mos, abs=1e-6 if dtype == "float32" else 1e-3)
    with pytest.raises(ConfigError, match="already holds a model"):
        merge(adapter, whole)


# In a process of its own, as a fork would inherit this one's threads. It is killed at the end of step 5.
_KILLED = """
import os, signal, sys
import torch
from transformers import TrainerCallback
from mllm_iqa.train.tuning import run
from mllm_iqa.train.tuning.recipe import TuneRecipe

class Kill(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == 5:
            os.kill(os.getpid(), signal.SIGKILL)

trainer_of = run.make_trainer

def with_kill(*arguments, **options):
    trainer = trainer_of(*arguments, **options)
    trainer.add_callback(Kill())
    return trainer

run.make_trainer = with_kill
torch.set_num_threads(int(sys.argv[2]))
run.tune(TuneRecipe.model_validate_json(sys.argv[1]), "x.yaml")
"""


def test_a_killed_run_goes_on_with_the_same_losses(recipe: Recipes, tmp_path: Path) -> None:
    # Killed between states and within an epoch; dropout, order and optimizer must come back as they were.
    plan = recipe(save_every=3, optimization=recipe().optimization.model_dump() | {"steps": 6})
    killed = plan.model_copy(update={"output": tmp_path / "killed"})

    threads = str(torch.get_num_threads())
    process = subprocess.run(
        [sys.executable, "-c", _KILLED, killed.model_dump_json(), threads], capture_output=True, text=True, timeout=300
    )
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert run.last_state(killed.output) == str(killed.output / "checkpoint-3")
    (killed.output / "checkpoint-5").mkdir()  # a state cut off while it was written
    tune(killed, "x.yaml")
    tune(plan, "x.yaml")
    assert history(killed) == history(plan)
    assert [row["step"] for row in history(plan)] == [1, 2, 3, 4, 5, 6]


def test_full_tuning_moves_the_parts_it_names_alone(recipe: Recipes, tiny_checkpoint: Path) -> None:
    from safetensors.torch import load_file

    folder = tune(recipe(method="full", lora=None, parts=["projector"]), "x.yaml")
    before, after = (load_file(path / "model.safetensors") for path in (tiny_checkpoint, folder))
    moved = {name for name in before if not torch.equal(before[name].float(), after[name])}
    assert moved
    assert all("merger" in name for name in moved)
    assert Assistant.load(str(folder), device="cpu").score(np.zeros((64, 64, 3), np.uint8), explain=False).mos > 0


def test_accumulation_takes_the_step_of_one_batch(recipe: Recipes, tmp_path: Path) -> None:
    # Without the ranking, whose pairs lie within a pass; without dropout, which is drawn for each pass.
    base = {"weights": {"text": 0.5, "level": 1.0}, "lora": {"rank": 4, "alpha": 8, "targets": ["language attention"]}}
    steps = {"steps": 3, "learning_rate": 1e-2, "warmup": 0, "precision": "fp32"}
    one = recipe(**base, optimization=steps | {"batch_size": 4})
    two = recipe(**base, output=tmp_path / "two", optimization=steps | {"batch_size": 2, "accumulation": 2})
    for plan in (one, two):
        tune(plan, "x.yaml")
    for a, b in zip(history(one), history(two), strict=True):
        # Another order of summation in float32.
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)


def test_gradient_checkpointing_changes_nothing_but_memory(recipe: Recipes, tmp_path: Path) -> None:
    plain = recipe()
    saving = recipe(
        output=tmp_path / "saving", optimization=plain.optimization.model_dump() | {"gradient_checkpointing": True}
    )
    for plan in (plain, saving):
        tune(plan, "x.yaml")
    assert [r["loss"] for r in history(plain)] == pytest.approx([r["loss"] for r in history(saving)], rel=1e-4)


def test_a_quantized_base_learns(recipe: Recipes) -> None:
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes, which the extra quantize installs")
    plan = recipe(method="qlora", lora={"rank": 4, "alpha": 8, "targets": ["language attention"]})
    assert (tune(plan, "x.yaml") / "adapter_model.safetensors").is_file()


# Refusals


def test_a_paged_optimizer_without_cuda_is_refused(recipe: Recipes) -> None:
    if torch.cuda.is_available():
        pytest.skip("CUDA is here")
    plan = recipe(optimization=recipe().optimization.model_dump() | {"optimizer": "paged-adamw-8bit"})
    with pytest.raises(ConfigError, match="paged-adamw-8bit needs CUDA, which is not here; use adamw"):
        tune(plan, "x.yaml")


def test_a_loss_that_is_not_finite_names_the_records(recipe: Recipes, scores: Path) -> None:
    # The first step moves the weights out of every range.
    plan = recipe(optimization={"steps": 3, "batch_size": 2, "learning_rate": 1e30, "warmup": 0, "precision": "fp32"})
    with pytest.raises(DataError, match=r"^step \d: the loss is (nan|inf) \(.*\); the records of the batch: .*row \d"):
        tune(plan, "x.yaml")


def test_a_folder_of_other_settings_is_refused(recipe: Recipes) -> None:
    tune(recipe(), "x.yaml")
    with pytest.raises(ConfigError, match="holds a run whose seed was 0, not 1; name another output folder"):
        tune(recipe(seed=1), "x.yaml")


def test_an_adapter_of_another_base_is_refused(recipe: Recipes, tiny_checkpoint: Path) -> None:
    adapter = tune(recipe(), "x.yaml")
    card = read_card(adapter)
    assert card is not None
    write_card(adapter, card.model_copy(update={"base_sha256": {"model.safetensors": "0" * 64}}))
    with pytest.raises(CheckpointError, match="belongs to tiny 0, not to tiny 0: the weights differ"):
        HuggingFaceBackend.load(str(adapter), device="cpu")


def test_an_adapter_that_does_not_fit_is_refused(recipe: Recipes, tiny_models: Callable[[str], Path]) -> None:
    adapter = tune(recipe(), "x.yaml")
    (adapter / "card.json").unlink()
    config = json.loads((adapter / "adapter_config.json").read_text("utf8"))
    config["base_model_name_or_path"] = str(tiny_models("llava"))
    (adapter / "adapter_config.json").write_text(json.dumps(config), "utf8")
    with pytest.raises(CheckpointError, match="does not fit"):
        HuggingFaceBackend.load(str(adapter), device="cpu")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["path", "mos"]], "no rows"),
        ([["path", "score"], ["a.png", "3"]], "is neither records .* nor a table .*; its columns are: path, score"),
        ([["path", "mos"], ["a.png", "7"]], "row 1: mos '7' is not a number from 1 to 5; bring scores to that scale"),
        ([["path", "mos"], ["a.png", "bad"]], "row 1: mos: 'bad' is not a number"),
        ([["path", "mos"], ["b.png", "3"]], "row 1: no picture at .*b.png"),
        ([["path", "mos"], ["a.png", "3"]], "train: 1 examples have a human score .*; at least 3 are needed"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    rows: list[list[str]], message: str, recipe: Recipes, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[str(tmp_path / c) if c.endswith("png") else c for c in row] for row in rows])
    with pytest.raises(DataError, match=message):
        read_all(recipe(train=[{"path": tmp_path / "table.csv"}]))


def test_an_empty_split_and_a_shared_picture_are_refused(recipe: Recipes, scores: Path) -> None:
    with pytest.raises(DataError, match="no rows of split 'test'"):
        read_all(recipe(train=[{"path": scores, "split": "test"}]))
    shared = {"valid": [{"path": scores, "split": "train"}], "validation": {"every": 2}}
    with pytest.raises(DataError, match=r"0\.png is also in the training set"):
        read_all(recipe(**shared))


# The comparison of labels and losses


def test_an_ablation_runs_every_variant_and_skips_what_is_done(recipe: Recipes, scores: Path) -> None:
    test = [{"path": scores, "split": "val"}]
    plan = recipe(test=test, optimization=recipe().optimization.model_dump() | {"steps": 3})
    rows = ablate(plan, "x.yaml", seeds=[0])
    assert [row.variant for row in rows] == ["hard levels", "soft labels", "soft labels + fidelity"]
    assert len({float(row.kl[0]) for row in rows}) == 3, "each was trained in its own way"
    table = as_table(rows)
    assert table.splitlines()[0] == "| labels and loss | SRCC | PLCC | KL to the human distribution |"
    cards = {path: path.stat().st_mtime_ns for path in plan.output.glob("*/result/card.json")}
    assert len(cards) == 3
    assert as_table(ablate(plan, "x.yaml", seeds=[0])) == table
    assert cards == {path: path.stat().st_mtime_ns for path in plan.output.glob("*/result/card.json")}
    with pytest.raises(ConfigError, match="an ablation needs pictures to measure on; give test"):
        ablate(recipe(), "x.yaml", seeds=[0])
