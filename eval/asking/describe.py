"""A description of the picture, and what a judge model says of it beside a golden one (Q-Bench A2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.base import Conversation
from mllm_iqa.errors import BackendError
from mllm_iqa.prompt_files import load_prompt
from mllm_iqa.scoring import normalised

from ..task import Loaded, Models

ASPECTS = ("completeness", "preciseness", "relevance")
_TOKENS = 192


def ask(models: Models, loaded: Sequence[Loaded], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The text, and with a judge the expected mark of each aspect, 0..2, from the probabilities of 0, 1 and 2."""
    prompt = load_prompt("describe.v1")
    asked = [Conversation.ask(one.pictures, prompt.question) for one in loaded]
    return _marked(models, loaded, models.assistant.backend.generate(asked, max_new_tokens=_TOKENS))


def explanation(models: Models, loaded: Sequence[Loaded], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The same of the explanation that comes with a score, for models that write no others."""
    texts = []
    for one in loaded:
        text = models.assistant.score(one.pictures[0]).explanation
        if text is None:
            raise BackendError(f"{models.assistant.backend.name} writes no explanations")
        texts.append(text)
    return _marked(models, loaded, texts)


def _marked(models: Models, loaded: Sequence[Loaded], texts: Sequence[str]) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = [{"text": text.strip()} for text in texts]
    if models.judge is not None:
        for answer, one in zip(answers, loaded, strict=True):
            answer["marks"] = marks(models.judge, answer["text"], one)
    return answers


def marks(judge: Assistant, text: str, one: Loaded) -> dict[str, float]:
    """Expected marks of a text beside the golden one; the judge sees the pictures too."""
    prompt = load_prompt("judge_description.v1")
    golden = one.item.truth["description"]
    values = [prompt.phrase("mark", mark=str(mark)) for mark in range(3)]
    found = {}
    for aspect in ASPECTS:
        question = prompt.phrase(f"{aspect}/question", golden=golden, text=text)
        asked = Conversation.ask(one.pictures, question, prompt.answer_prefix)
        probs = normalised(judge.backend.continuation_logprobs([asked], values))[0]
        found[aspect] = float(probs @ [0.0, 1.0, 2.0])
    return found
