"""Rewards by hand, answers that cannot be read, and a step of GRPO on a tiny model."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mllm_iqa.train.recipe import read_recipe, recipe_path
from mllm_iqa.train.tuning.recipe import RewardRecipe, TuneRecipe
from mllm_iqa.train.tuning.reward_run import reward_functions, tune_by_rewards
from mllm_iqa.train.tuning.rewards import distortion_rewards, ranking_rewards, score_rewards, severity_rewards
from mllm_iqa.train.tuning.run import tune
from PIL import Image

from mllm_iqa.answers import Judgment
from mllm_iqa.checkpoints import read_card
from mllm_iqa.errors import DataError
from mllm_iqa.levels import LEVELS
from mllm_iqa.prompt_files import load_prompt


def says(mos: float, kind: str | None = None, severity: int | None = None) -> Judgment:
    return Judgment(mos, kind, severity)


def test_score_distortion_and_severity_rewards() -> None:
    answers = [says(3.3), says(3.36), says(2.8, "jitter", 2), says(3.0, "jitter", 4), None]
    assert score_rewards(answers, [3.0] * 5, tolerance=0.35) == [1, 0, 1, 1, 0]
    assert distortion_rewards(answers, [None, "jitter", "jitter", "jitter", None]) == [1, 0, 1, 1, 0]
    assert severity_rewards(answers, [None, "jitter", "jitter", "jitter", None], [None, 2, 2, 2, None]) == [
        1,
        0,
        1,
        0,
        0,
    ]


def test_ranking_reward_by_hand() -> None:
    # Picture a: ratings 4 and 2, mean 3, variance 1. Picture b: 3 and 3, variance 0. The width is 1 for all.
    # People put a above b, p = 1. q = 4: p_hat = Phi(4 - 3) = .841345, reward sqrt = .917249. q = 2: sqrt(.158655) =
    # .398315. For b, p = 0: q = 3, p_hat = Phi(3 - 3) = .5, reward sqrt(.5) = .707107.
    answers = [says(4), says(2), says(3), says(3)]
    found = ranking_rewards(answers, [4, 4, 2, 2], pictures=list("aabb"), datasets=["d"] * 4)
    assert found == pytest.approx([0.917249, 0.398315, 0.707107, 0.707107], abs=1e-6)


def test_ranking_rewards_the_right_order_and_nothing_that_cannot_be_read() -> None:
    right = ranking_rewards([says(5), says(1)], [4, 2], pictures=["a", "b"], datasets=["d", "d"])
    wrong = ranking_rewards([says(1), says(5)], [4, 2], pictures=["a", "b"], datasets=["d", "d"])
    tied = ranking_rewards([says(3), says(3)], [4, 2], pictures=["a", "b"], datasets=["d", "d"])
    assert right == pytest.approx([1, 1])
    assert wrong == pytest.approx([0, 0], abs=1e-6)
    assert tied == pytest.approx([0.5**0.5] * 2)
    half = ranking_rewards([says(5), None, says(1)], [4, 4, 2], pictures=["a", "a", "b"], datasets=["d"] * 3)
    assert half == pytest.approx([1, 0, 1])
    assert ranking_rewards([says(5), says(1)], [4, 2], pictures=["a", "b"], datasets=["d", "e"]) == [0, 0]
    assert ranking_rewards([None, None], [4, 2], pictures=["a", "b"], datasets=["d", "d"]) == [0, 0]


@pytest.fixture
def recipe(scores: Path, tiny_models: Callable[[str], Path], tmp_path: Path) -> Callable[..., RewardRecipe]:
    def made(**changes: Any) -> RewardRecipe:
        data: dict[str, Any] = {
            "kind": "reward",
            "name": "rewarded",
            "version": "1",
            "model": str(tiny_models("llava")),
            "output": tmp_path / "run",
            "train": [{"path": scores, "limit": 4}],
            "lora": {"rank": 4, "alpha": 8, "targets": ["language attention"]},
            "rewards": {"ranking": 1.0, "score": 0.5},
            "answers": 2,
            "max_new_tokens": 4,
            "kl": 0.01,
            "optimization": {"steps": 1, "batch_size": 4, "learning_rate": 1e-3, "precision": "fp32"},
            "licence": "none",
        }
        return RewardRecipe.model_validate(data | changes)

    return made


def test_rewards_are_called_as_trl_calls_them_and_log_what_cannot_be_read(
    recipe: Callable[..., RewardRecipe], tmp_path: Path
) -> None:
    functions = reward_functions(recipe(), tmp_path / "unparsable.jsonl")
    assert list(functions) == ["ranking", "score"]
    answer = json.dumps({"rating": 4.0, "distortion": "none", "severity": "none"})
    completions = [[{"role": "assistant", "content": text}] for text in (answer, "4 out of 5", answer)]
    columns = {"mos": [4.1, 4.1, 2.0], "picture": ["a", "a", "b"], "dataset": ["d"] * 3, "prompts": None}
    assert functions["score"](completions, **columns) == [1, 0, 0]
    # Equal ratings: p_hat = .5 for all that can be read.
    assert functions["ranking"](completions, **columns) == pytest.approx([0.5**0.5, 0, 0.5**0.5])
    (line,) = (tmp_path / "unparsable.jsonl").read_text("utf8").splitlines()
    assert json.loads(line) == {"picture": "a", "reason": "does not end in a JSON object", "answer": "4 out of 5"}


def test_distortion_rewards_need_known_distortions(recipe: Callable[..., RewardRecipe]) -> None:
    with pytest.raises(
        DataError, match=r"row \d+: its distortions are unknown, so the distortion and severity rewards"
    ):
        tune_by_rewards(recipe(rewards={"distortion": 1.0}), "x.yaml")


@pytest.mark.filterwarnings("ignore")
def test_a_step_of_grpo_leaves_an_adapter(recipe: Callable[..., RewardRecipe]) -> None:
    pytest.importorskip("trl", reason="needs trl, which the extra reward installs")
    folder = tune_by_rewards(recipe(), "x.yaml")
    assert (folder / "adapter_model.safetensors").is_file()
    card = read_card(folder)
    assert card is not None
    assert card.prompts == ("judge.v1",)
    # A random model says nothing that can be read: every answer is logged and rewarded 0.
    lines = (folder.parent / "unparsable.jsonl").read_text("utf8").splitlines()
    assert len(lines) == 4
    assert card.results["last step"]["reward"] == 0  # type: ignore[index]


# The shipped recipes, each for one real step on a tiny model of its class


RATED = "The quality of the image is"
ANSWER = json.dumps({"rating": 3.0, "distortion": "jitter", "severity": "moderate"})


def written(folder: Path, question: str, answer: str, **label: Any) -> Path:
    """Four records of gray pictures with moderate jitter, MOS 2.6, 2.8, 3.0 and 3.2."""
    rows = []
    for n in range(4):
        image = io.BytesIO()
        Image.new("RGB", (64, 64), (60 * n,) * 3).save(image, "PNG")
        asked = [{"type": "image", "text": None}, {"type": "text", "text": question}]
        said = [{"type": "text", "text": answer}]
        found = {"mos": 2.6 + n / 5, "std": 0.5, "findings": [{"image": 0, "kind": "jitter", "severity": 2}]}
        row = {"id": f"{n}", "prompts": [], "images": [{"bytes": image.getvalue(), "path": None}], "answer": found}
        row |= {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}
        row |= {"sources": [f"lab/{n}.png"], "split": "train"}
        rows.append(row | label)
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "train-00000.parquet")
    return folder


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the recipes learn from."""
    label = {"read_at": len(RATED), "candidates": [f" {level}" for level in LEVELS], "probs": [0.0, 0.0, 1.0, 0.0, 0.0]}
    return written(tmp_path_factory.mktemp("rated") / "records", "How good?", f"{RATED} fair.", **label)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory, tiny_models: Callable[[str], Path]) -> Path:
    """A tiny Qwen3-VL that has learned to say one answer in the form of `judge.v1` about any picture."""
    folder = tmp_path_factory.mktemp("judge")
    unlabeled: dict[str, Any] = {"read_at": -1, "candidates": [""], "probs": [0.0]}
    records = written(folder / "records", load_prompt("judge.v1").question, ANSWER, **unlabeled)
    plan = {
        "kind": "tune",
        "name": "judge",
        "version": "1",
        "model": str(tiny_models("qwen3_vl")),
        "output": folder / "run",
        "train": [{"path": records}],
        "method": "full",
        "parts": ["language"],
        "weights": {"text": 1.0, "level": 0.0},
        "optimization": {"steps": 60, "batch_size": 1, "learning_rate": 3e-3, "precision": "fp32"},
        "licence": "none",
    }
    return tune(TuneRecipe.model_validate(plan), "judge.yaml")


def one_step(name: str, model: Path, records: Path, output: Path) -> RewardRecipe:
    """A shipped recipe, but for its model, its size and how freely it samples."""
    changes = [f"train=[{{path: {records}, split: train}}]", f"model={model}", f"output={output}", "temperature=0.01"]
    step = "optimization={steps: 1, batch_size: 4, learning_rate: 1.0e-4, warmup: 0, precision: fp32}"
    recipe = read_recipe(recipe_path(name), [*changes, step, "answers=2", "max_new_tokens=60", "max_pixels=4096"])
    assert isinstance(recipe, RewardRecipe)
    return recipe


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "reward"),
    [
        # All pictures are rated 3.0, so nothing separates them: sqrt(.5) each, by the hand-derived test above.
        ("grpo-ranking", 0.5**0.5),
        # Within 0.35 of 2.8, 3.0 and 3.2 but not of 2.6 (see below for the mean); the kind counts 0.25, severity 0.75.
        ("grpo-insight", None),
    ],
)
def test_a_shipped_recipe_rewards_what_can_be_read(
    name: str, reward: float | None, judge: Path, rated: Path, tmp_path: Path
) -> None:
    pytest.importorskip("trl", reason="needs trl, which the extra reward installs")
    folder = tune_by_rewards(one_step(name, judge, rated, tmp_path / "run"), f"{name}.yaml")
    assert (tmp_path / "run" / "unparsable.jsonl").read_text("utf8") == "", "every answer could be read"
    card = read_card(folder)
    assert card is not None
    last: Any = card.results["last step"]
    if reward is None:
        # Two of the four pictures are asked, two answers each.
        assert last["rewards/distortion/mean"] == last["rewards/severity/mean"] == 1
        assert last["rewards/score/mean"] in (0.5, 1.0)
        reward = last["rewards/score/mean"] + 0.25 + 0.75
    assert last["reward"] == pytest.approx(reward, abs=1e-3)
    assert (folder / "adapter_model.safetensors").is_file()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["grpo-ranking", "grpo-insight"])
def test_a_shipped_recipe_rewards_nothing_that_cannot_be_read(
    name: str, tiny_models: Callable[[str], Path], rated: Path, tmp_path: Path
) -> None:
    pytest.importorskip("trl", reason="needs trl, which the extra reward installs")
    folder = tune_by_rewards(one_step(name, tiny_models("qwen3_vl"), rated, tmp_path / "run"), f"{name}.yaml")
    lines = [json.loads(x) for x in (tmp_path / "run" / "unparsable.jsonl").read_text("utf8").splitlines()]
    assert len(lines) == 4
    assert all(line["reason"] and "record" in line["picture"] for line in lines)
    card = read_card(folder)
    assert card is not None
    assert card.results["last step"]["reward"] == 0  # type: ignore[index]
