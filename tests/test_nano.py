"""The shipped model: it loads as stock code loads it, is deterministic, and its words never contradict its numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mllm_iqa.assistant import Assistant
from mllm_iqa.checkpoints import read_card, verify
from mllm_iqa.levels import LEVELS, VALUES
from mllm_iqa.prompt_files import effect_sentences
from mllm_iqa.registry import NANO
from mllm_iqa.scoring import contradictions
from mllm_iqa.types import Failure, Score

EXAMPLES = Path(__file__).parents[1] / "mllm_iqa" / "examples"
COFFEE, BLURRED, CAT = EXAMPLES / "coffee.jpg", EXAMPLES / "coffee_out_of_focus.jpg", EXAMPLES / "cat.jpg"


@pytest.fixture(scope="module")
def nano() -> Assistant:
    return Assistant.load("nano", device="cpu")


def made_pictures(count: int) -> Iterator[np.ndarray]:
    """Crops of the examples under damage made here, of three sizes."""
    sources = [np.asarray(Image.open(p).convert("RGB")) for p in (COFFEE, CAT)]
    for n in range(count):
        rng = np.random.default_rng(n)
        image = sources[n % 2]
        side = (96, 128, 200)[n % 3]
        top, left = (int(rng.integers(s - side)) for s in image.shape[:2])
        crop = image[top : top + side, left : left + side].astype(np.float32)
        if n % 4 == 1:
            crop += rng.normal(0, 40, crop.shape)
        if n % 4 == 2:
            crop = np.repeat(np.repeat(crop[::4, ::4], 4, axis=0), 4, axis=1)[:side, :side]
        if n % 4 == 3:
            crop = crop * 0.3
        yield np.clip(crop, 0, 255).astype(np.uint8)


def test_card_is_true_and_weights_are_small() -> None:
    card = read_card(NANO)
    assert card is not None
    verify(NANO, card)
    assert sum(p.stat().st_size for p in NANO.iterdir()) <= 40e6
    assert card.results and card.interval is not None


def test_loads_with_plain_transformers() -> None:
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(NANO)
    assert model.config.model_type == "qwen3_vl"
    assert model.config.text_config.head_dim in (32, 64)
    assert 5e6 <= sum(p.numel() for p in model.parameters()) <= 16e6


def test_result_is_true_to_itself(nano: Assistant) -> None:
    score = nano.score(COFFEE)
    probs = np.array([score.levels[word] for word in LEVELS])
    assert probs.sum() == pytest.approx(1, abs=1e-9)
    assert score.mos == pytest.approx(float(probs @ VALUES))
    assert score.interval.low <= score.mos <= score.interval.high
    assert "BIQ2021" in score.interval.source
    assert score.outside_mass < 0.05
    assert score.explanation is not None and score.explanation.startswith(f"The quality of the image is {score.level}.")
    assert json.loads(json.dumps(score.to_dict()))["level"] == score.level


def test_out_of_focus_is_worse_and_named(nano: Assistant) -> None:
    sharp, soft = nano.score(COFFEE), nano.score(BLURRED)
    assert sharp.mos > soft.mos + 0.5
    assert soft.distortions is not None and "blur" in [f.family for f in soft.distortions]


def test_compare_prefers_the_sharp_one_in_both_places(nano: Assistant) -> None:
    forward, backward = nano.compare(COFFEE, BLURRED), nano.compare(BLURRED, COFFEE)
    assert (forward.winner, backward.winner) == ("a", "b")
    assert forward.probability == pytest.approx(backward.probability, abs=1e-5)
    assert forward.explanation is not None and "first image is better" in forward.explanation


def test_batch_size_and_order_change_nothing(nano: Assistant) -> None:
    pictures = list(made_pictures(16))
    alone = [nano.score(p) for p in pictures]
    fresh = Assistant.load("nano", device="cpu")
    together = list(fresh.score_many(pictures[::-1], batch_size=16))[::-1]
    for a, b in zip(alone, together, strict=True):
        assert isinstance(b, Score)
        assert a.mos == pytest.approx(b.mos, abs=1e-3)
        assert a.explanation == b.explanation


def test_two_processes_agree(nano: Assistant) -> None:
    command = [sys.executable, "-m", "mllm_iqa", "score", str(CAT), "--format", "json", "--device", "cpu"]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(2)]
    assert runs[0] == runs[1]
    rows = runs[0] if isinstance(runs[0], list) else [runs[0]]
    assert rows[0]["mos"] == pytest.approx(nano.score(CAT).mos, abs=1e-3)


def test_text_never_contradicts_the_number(nano: Assistant) -> None:
    for score in nano.score_many(made_pictures(60), batch_size=12):
        assert not isinstance(score, Failure)
        assert score.explanation is not None and score.distortions is not None
        kinds = [f.kind for f in score.distortions]
        words = set(score.explanation.lower().replace(".", " ").replace(",", " ").split())
        assert words & set(LEVELS) == {score.level}
        wrong = [
            w
            for w in contradictions(score.explanation, score.level, kinds)
            if w not in {f.severity_word for f in score.distortions}
        ]
        assert wrong == []
        assert all(f"{f.kind} ({f.severity_word})" in score.explanation for f in score.distortions)
        own = [effect_sentences([(f.kind, f.severity)]) for f in score.distortions]
        assert all(any(sentence in score.explanation for sentence in sentences) for sentences in own)
        others = effect_sentences(None).difference(*own)
        assert not any(sentence in score.explanation for sentence in others)


def test_chat_answers_and_refuses(nano: Assistant) -> None:
    answer = "".join(nano.chat([BLURRED], [{"role": "user", "content": "What is wrong with this image?"}]))
    assert answer.startswith("The image shows") and answer.endswith(".")
    refusal = "".join(nano.chat([CAT], [{"role": "user", "content": "Tell me a joke."}]))
    assert "only judge image quality" in refusal
