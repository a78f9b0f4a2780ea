"""Where is the damage? The part of the picture from word probabilities, and a box from what the model writes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mllm_iqa.answers import Unparsable
from mllm_iqa.backends.base import Conversation
from mllm_iqa.prompt_files import load_prompt
from mllm_iqa.scoring import normalised

from ..task import Loaded, Models

_TOKENS = 64
_BOX = re.compile(r"\[\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*,\s*(-?\d+)\s*\]")


def ask(models: Models, loaded: Sequence[Loaded], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The most probable part (a key of the prompt `where`), what was said, and its box or why there is none."""
    prompt = load_prompt("where.v1")
    parts = [key.removeprefix("part/") for key in prompt.phrases if key.startswith("part/")]
    answers = []
    for one in loaded:
        kind = one.item.ask["kind"]
        question, prefix = prompt.question.format(kind=kind), prompt.answer_prefix.format(kind=kind)
        named = Conversation.ask(one.pictures, question, prefix)
        words = [prompt.phrase("region", region=prompt.phrase(f"part/{part}")) for part in parts]
        probs = normalised(models.assistant.backend.continuation_logprobs([named], words))[0]
        boxed = Conversation.ask(one.pictures, prompt.phrase("box_request", question=question), prefix)
        said = models.assistant.backend.generate([boxed], max_new_tokens=_TOKENS)[0]
        box = parse_box(said)
        read = {"problem": box.reason} if isinstance(box, Unparsable) else {"box": list(box)}
        best = int(probs.argmax())
        answers.append({"part": parts[best], "probability": float(probs[best]), "said": said, **read})
    return answers


def parse_box(text: str) -> tuple[int, int, int, int] | Unparsable:
    """The one box [left, top, right, bottom] of a text, in thousandths, or why there is none."""
    found = _BOX.findall(text)
    if len(found) != 1:
        return Unparsable("no box" if not found else f"{len(found)} boxes")
    left, top, right, bottom = (int(value) for value in found[0])
    if not (0 <= left < right <= 1000 and 0 <= top < bottom <= 1000):
        return Unparsable(f"[{left}, {top}, {right}, {bottom}] is no box between 0 and 1000")
    return left, top, right, bottom
