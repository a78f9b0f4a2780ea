"""Two processes on a CPU (gloo) learn what one learns from the same examples."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from mllm_iqa.train.tuning.recipe import TuneRecipe

pytestmark = pytest.mark.slow


def losses(recipe: TuneRecipe, folder: Path, *launcher: str) -> list[float]:
    path = folder / f"{recipe.output.name}.yaml"
    path.write_text(yaml.safe_dump(json.loads(recipe.model_dump_json(exclude_none=True))), "utf8")
    command = [sys.executable, "-m", *launcher, "mllm_iqa", "train", str(path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    state = max((recipe.output).glob("checkpoint-*"), key=lambda p: int(p.name.split("-")[1]))
    rows = json.loads((state / "trainer_state.json").read_text("utf8"))["log_history"]
    return [row["loss"] for row in rows if "loss" in row]


def test_two_processes_give_the_losses_of_one_at_equal_global_batch(
    recipe: Callable[..., TuneRecipe], tmp_path: Path
) -> None:
    # Without dropout, which each process draws for itself. One process accumulates what two see at once; the ranking's
    # pairs lie within a forward pass in both.
    lora = {"rank": 4, "alpha": 8, "targets": ["language attention", "vision"]}
    steps = {"steps": 3, "batch_size": 2, "learning_rate": 1e-2, "warmup": 0, "precision": "fp32"}
    two = recipe(lora=lora, optimization=steps, output=tmp_path / "two")
    one = recipe(lora=lora, optimization=steps | {"accumulation": 2}, output=tmp_path / "one")
    launcher = ("torch.distributed.run", "--nproc-per-node", "2", "-m")
    # Float32 sums in another order, through three steps of Adam.
    assert losses(two, tmp_path, *launcher) == pytest.approx(losses(one, tmp_path), rel=1e-3)
