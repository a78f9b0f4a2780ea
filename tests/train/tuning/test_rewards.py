"""Rewards by hand, answers that cannot be read, and a step of GRPO on a tiny model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mllm_iqa.train.tuning.recipe import RewardRecipe
from mllm_iqa.train.tuning.reward_run import reward_functions, tune_by_rewards
from mllm_iqa.train.tuning.rewards import distortion_rewards, ranking_rewards, score_rewards, severity_rewards

from mllm_iqa.answers import Judgment
from mllm_iqa.checkpoints import read_card
from mllm_iqa.errors import DataError


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
    with pytest.raises(DataError, match="row 1: its distortions are unknown, so the distortion and severity rewards"):
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
