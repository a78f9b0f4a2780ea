"""The scorer that stands where Q-Align's stood."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from mllm_iqa.assistant import Assistant
from mllm_iqa.drop_in import QualityScorer
from mllm_iqa.errors import ConfigError, ImageError

EXAMPLES = Path(__file__).resolve().parents[1] / "mllm_iqa" / "examples"


def test_it_gives_the_scores_as_a_tensor() -> None:
    assistant = Assistant.load("nano", device="cpu")
    images = [Image.open(EXAMPLES / f"{name}.jpg") for name in ("coffee", "coffee_out_of_focus")]
    scores = QualityScorer(assistant).score(images, task_="quality", input_="image")
    assert scores.dtype == torch.float32
    assert scores.tolist() == pytest.approx([assistant.score(i, explain=False).mos for i in images], abs=1e-5)
    assert scores[0] > scores[1]
    assert QualityScorer(assistant)(images).tolist() == scores.tolist()


def test_other_tasks_are_refused() -> None:
    scorer = QualityScorer("fake")
    with pytest.raises(ConfigError, match="aesthetics"):
        scorer.score([], task_="aesthetics")
    with pytest.raises(ConfigError, match="video"):
        scorer.score([], input_="video")


def test_a_broken_picture_is_named() -> None:
    with pytest.raises(ImageError, match="picture 0"):
        QualityScorer("fake").score([b"nothing"])
