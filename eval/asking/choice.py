"""Multiple choice: letters under every rotation of the options, the options' own words, and a generated answer."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from mllm_iqa.answers import Unparsable
from mllm_iqa.backends.base import Conversation
from mllm_iqa.errors import DataError
from mllm_iqa.prompt_files import load_prompt
from mllm_iqa.scoring import normalised

from ..choice_answers import parse_choice
from ..task import Loaded, Models

_TOKENS = 32


def ask(models: Models, loaded: Sequence[Loaded], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Answers in every way.

    Each answer holds:
        letter: probabilities of the options, in the order of the test set, for each rotation of the options; rotation
            r shows option i at place (i + r) mod n.
        text: log-probability of each option's words after the question that lists them, in nats.
        said, choice or problem: what was generated, and the option it names or why it names none.
    """
    return [_answer(models, one) for one in loaded]


def _answer(models: Models, one: Loaded) -> dict[str, Any]:
    question, options = one.item.ask["question"], list(one.item.ask["options"])
    count, backend = len(options), models.assistant.backend
    if count > len(string.ascii_uppercase):
        raise DataError(f"{one.item.id}: {count} options, more than there are letters")
    letters = list(string.ascii_uppercase[:count])
    rotations = [options[-r:] + options[:-r] if r else options for r in range(count)]
    asked = [Conversation.ask(one.pictures, lettered(question, shown)) for shown in rotations]
    probs = normalised(backend.continuation_logprobs(asked, letters))
    by_option = [[float(row[(i + r) % count]) for i in range(count)] for r, row in enumerate(probs)]
    # The closing words keep an option from being the beginning of another.
    prompt = load_prompt("choice_text.v1")
    listed = reduce(lambda before, item: prompt.phrase("join", before=before, item=item), options)
    words = [prompt.phrase("answer", option=option) for option in options]
    in_words = Conversation.ask(one.pictures, prompt.phrase("form", question=question, options=listed))
    text = backend.continuation_logprobs([in_words], words)[0]
    said = backend.generate([asked[0]], max_new_tokens=_TOKENS)[0]
    parsed = parse_choice(said, options)
    read = {"problem": parsed.reason} if isinstance(parsed, Unparsable) else {"choice": parsed}
    return {"letter": by_option, "text": [float(value) for value in text], "said": said, **read}


def lettered(question: str, options: Sequence[str]) -> str:
    """A question in Q-Bench's form."""
    prompt = load_prompt("choice.v1")
    lines = [
        prompt.phrase("option", letter=letter, option=option)
        for letter, option in zip(string.ascii_uppercase, options, strict=False)
    ]
    return prompt.phrase("form", question=question, options="\n".join(lines))
