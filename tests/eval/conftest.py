"""A model whose every answer is known, and small test sets whose truth it can read from brightness."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mllm_iqa.eval.predict import predict
from mllm_iqa.eval.task import Models, Task

from mllm_iqa import Assistant
from mllm_iqa.backends.base import Conversation
from mllm_iqa.levels import LEVELS, VALUES
from mllm_iqa.prompt_files import load_prompt

SIDE = 64


class Seeing:
    """A backend that sees how bright a picture is: the last one's mean grey, 0..255, becomes a MOS of 1..5.

    `sign` -1 reverses it, 0 makes it blind. It prefers the brighter of two; every other word is equally likely.
    """

    max_pixels = None
    languages = ("en",)

    def __init__(self, sign: int = 1, *, name: str = "seeing 1", says: str = "A.") -> None:
        self.sign, self.name, self.says = sign, name, says
        self.asked = 0

    def continuation_logprobs(self, conversations: Sequence[Conversation], candidates: Sequence[str]) -> np.ndarray:
        self.asked += len(conversations)
        return np.array([self._row(conversation, list(candidates)) for conversation in conversations])

    def _row(self, conversation: Conversation, candidates: list[str]) -> np.ndarray:
        bright = [float(picture.pixels.mean()) for picture in conversation.pictures]
        compare = load_prompt("compare.v1")
        if candidates == [f" {level}" for level in LEVELS]:
            logits = -((VALUES - (3 + self.sign * (4 * bright[-1] / 255 - 2))) ** 2)
        elif candidates == [" good", " poor"]:
            logits = np.array([self.sign * bright[-1] / 50, 0.0])
        elif candidates == [compare.phrase(key) for key in ("first", "second", "equal")]:
            gap = self.sign * (bright[-2] - bright[-1]) / 10
            logits = np.array([gap, -gap, 0.0])
        else:
            logits = np.zeros(len(candidates))
        return np.asarray(logits - np.log(np.exp(logits).sum()))

    def generate(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> list[str]:
        self.asked += len(conversations)
        return [self.says for _ in conversations]

    def stream(self, conversation: Conversation, *, max_new_tokens: int) -> Iterator[str]:
        yield self.says


def models(sign: int = 1, **fields: Any) -> Models:
    return Models(Assistant(Seeing(sign, **fields)))


@pytest.fixture
def seeing() -> Callable[..., Models]:
    return models


@pytest.fixture(scope="session")
def rated_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty grey pictures of four references, MOS = brightness, as `mllm-iqa data read` writes them."""
    folder = tmp_path_factory.mktemp("rated")
    rows = []
    for n in range(20):
        path = folder / f"{n}.png"
        PIL.Image.new("RGB", (SIDE, SIDE), (10 + 12 * n,) * 3).save(path)
        rows.append(
            {
                "image": str(path),
                "mos": 1 + 4 * n / 19,
                "std": 0.3 + 0.01 * n,
                "original": float(n),
                "original_std": None,
                "reference": str(folder / "0.png"),
                "distortion": "noise" if n % 2 else "blur",
                "level": 1 + n % 5,
                "distribution": None,
                "dataset": "made",
                "split": None,
                "group": f"made/{n // 5}",
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), folder / "set.parquet")
    return folder / "set.parquet"


@pytest.fixture(scope="session")
def raw_choices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LLVisionQA's raw layout: single pictures, in its own field names."""
    folder = tmp_path_factory.mktemp("llvisionqa")
    (folder / "images").mkdir()
    rows = []
    for n in range(6):
        PIL.Image.new("RGB", (SIDE, SIDE), (40 * n, 30, 90)).save(folder / "images" / f"{n}.jpg")
        rows.append(
            {
                "img_path": f"{n}.jpg",
                "question": f"How blurry is this image, number {n}?",
                "candidates": ["Very blurry", "Slightly blurry", "Not blurry at all"][: 2 + n % 2],
                "correct_ans": ["Very blurry", "Slightly blurry"][n % 2],
            }
        )
    (folder / "llvisionqa_dev.json").write_text(json.dumps(rows))
    return folder / "llvisionqa_dev.json"


@pytest.fixture
def predicted(tmp_path: Path) -> Callable[..., Path]:
    """Runs a task to its end and returns the predictions file."""

    def run(task: Task, whom: Models, source: Path, name: str = "predictions.jsonl", **options: Any) -> Path:
        out = tmp_path / name
        for _ in predict(task, whom, task.items(source), out, **{"batch_size": 3, "thumbnails": False} | options):
            pass
        return out

    return run
