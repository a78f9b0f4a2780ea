"""Scores of pictures: from five level words, from good against poor (Q-Bench A3), or with findings and explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mllm_iqa.backends.base import Conversation
from mllm_iqa.errors import BackendError
from mllm_iqa.prompt_files import load_prompt
from mllm_iqa.scoring import normalised
from mllm_iqa.types import Failure, Score

from ..task import Loaded, Models

_KEPT = ("mos", "std", "levels", "outside_mass", "interval", "distortions", "explanation", "confidence", "prompt")


def levels(models: Models, loaded: Sequence[Loaded], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Score from the five level words, without explanation; with two pictures the first is the reference."""
    return _scores(models, loaded, explain=False)


def judgment(models: Models, loaded: Sequence[Loaded], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Score, findings and explanation."""
    return _scores(models, loaded, explain=True)


def _scores(models: Models, loaded: Sequence[Loaded], *, explain: bool) -> list[dict[str, Any]]:
    assistant = models.assistant
    alone = [one for one in loaded if len(one.pictures) == 1]
    found = iter(
        assistant.score_many([one.pictures[0] for one in alone], explain=explain, batch_size=max(1, len(alone)))
    )
    answers = []
    for one in loaded:
        if len(one.pictures) == 1:
            result = next(found)
            if isinstance(result, Failure):
                raise BackendError(f"{one.item.id}: {result.error}")
        else:
            reference, picture = one.pictures
            result = assistant.score(picture, reference=reference, explain=explain)
        answers.append(_answer(result))
    return answers


def _answer(score: Score) -> dict[str, Any]:
    values = score.to_dict()
    return {"score": score.mos, "level": score.level, **{key: values[key] for key in _KEPT}}


def good_poor(models: Models, loaded: Sequence[Loaded], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Probability of good against poor after the rating prompt (Q-Bench A3), in [0, 1]: `score`, not a MOS."""
    prompt = load_prompt("rate.v1")
    asked = [Conversation.ask(one.pictures, prompt.question, prompt.answer_prefix) for one in loaded]
    words = [prompt.phrase("level", level=level) for level in ("good", "poor")]
    logprobs = models.assistant.backend.continuation_logprobs(asked, words)
    return [
        {"score": float(probs[0]), "logprobs": [float(value) for value in row]}
        for probs, row in zip(normalised(logprobs), logprobs, strict=True)
    ]
