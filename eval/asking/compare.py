"""Which of two pictures is better, with or without a reference; and is a picture better than its own reference?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mllm_iqa.types import Comparison

from ..task import Loaded, Models


def ask(models: Models, loaded: Sequence[Loaded], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Compare the last two pictures of each item in both orders; a first of three is the reference."""
    return [_answer(models, one) for one in loaded]


def _answer(models: Models, one: Loaded) -> dict[str, Any]:
    *before, a, b = one.pictures
    result = models.assistant.compare(a, b, reference=before[0] if before else None, explain=False)
    return answer_of(result)


def answer_of(result: Comparison) -> dict[str, Any]:
    """What a predictions file keeps of a comparison."""
    return {
        "winner": result.winner,
        "probabilities": result.probabilities,
        "order_flip": result.order_flip,
        "prompt": result.prompt,
    }


def ask_imperfect(models: Models, loaded: Sequence[Loaded], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Compare a picture with its reference as equals, so that it can win; their scores, each alone, beside that."""
    answers = []
    for one in loaded:
        reference, picture = one.pictures
        compared = answer_of(models.assistant.compare(picture, reference, explain=False))
        scores = [models.assistant.score(shown, explain=False).mos for shown in (picture, reference)]
        answers.append({**compared, "score": scores[0], "reference_score": scores[1]})
    return answers
