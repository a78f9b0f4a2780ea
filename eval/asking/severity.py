"""How severe is a distortion that the question names? Read as a word after the kind, in the distortion prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mllm_iqa.backends.base import Conversation
from mllm_iqa.levels import SEVERITIES
from mllm_iqa.prompt_files import load_prompt
from mllm_iqa.scoring import normalised, severity_of

from ..task import Loaded, Models


def ask(models: Models, loaded: Sequence[Loaded], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Severity 1..5 and the probabilities of the five words, slight first."""
    prompt = load_prompt("distortion.v1")
    asked = [
        Conversation.ask(one.pictures, prompt.question, prompt.answer_prefix).continued(
            prompt.phrase("kind", kind=one.item.ask["kind"]) + prompt.phrase("before_severity")
        )
        for one in loaded
    ]
    words = [prompt.phrase("severity", severity=word) for word in SEVERITIES]
    probs = normalised(models.assistant.backend.continuation_logprobs(asked, words))
    return [{"severity": severity_of(row), "probabilities": [float(p) for p in row]} for row in probs]
