"""How well a model's scores agree with people's on pictures it was not tuned on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mllm_iqa.agreement import bootstrap, plcc, srcc
from mllm_iqa.backends.base import Conversation, Turn
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.levels import level_probs, mos_of

from .encode import pictures_of
from .examples import Example


def measured(backend: HuggingFaceBackend, examples: Sequence[Example], max_pixels: int, *, seed: int) -> dict[str, Any]:
    """SRCC and PLCC with 95 % bootstrap intervals, and the mean KL of the soft labels to the predicted levels.

    Scores are read as the library reads them, whole level words included.

    Args:
        backend: of the model.
        examples: each rates one picture; pictures of one data set may differ in size.
        max_pixels: budget of one picture.
        seed: of the bootstrap.

    Returns:
        "srcc" and "plcc" as `Figure` dictionaries, "kl" in nats.
    """
    probs = np.stack([_level_probs(backend, example, max_pixels) for example in examples])
    mos = np.array([example.mos for example in examples], dtype=np.float64)
    labels = np.array([example.word.probs for example in examples if example.word is not None])
    predicted = mos_of(probs)
    names = [example.name for example in examples]
    ratio = np.where(labels > 0, labels, 1.0) / np.maximum(probs, 1e-12)
    return {
        "srcc": bootstrap(lambda i: srcc(predicted[i], mos[i]), names, total=len(names), seed=seed).to_dict(),
        "plcc": bootstrap(lambda i: plcc(predicted[i], mos[i]), names, total=len(names), seed=seed).to_dict(),
        "kl": float((labels * np.log(ratio)).sum(axis=1).mean()),
    }


def _level_probs(backend: HuggingFaceBackend, example: Example, max_pixels: int) -> np.ndarray:
    assert example.word is not None
    *before, answer = example.turns
    prefix = Turn("assistant", answer.text[: example.word.offset])
    conversation = Conversation(pictures_of(example, max_pixels), (*before, prefix))
    return level_probs(backend.continuation_logprobs([conversation], example.word.candidates)[0])
