"""Nine prompting modes (Wu et al., ECCV 2024): single, double, multiple stimulus x standard, examples, reasoning first.

Every mode ends in word probabilities, never in a text that must be parsed; each gives a strength per picture of a set.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from mllm_iqa.backends.base import Backend, Conversation
from mllm_iqa.images import Picture, load_image
from mllm_iqa.levels import LEVELS, level_probs, mos_of
from mllm_iqa.prompt_files import load_prompt
from mllm_iqa.scoring import normalised

from ..task import Loaded, Models

STIMULI = ("single", "double", "multiple")
MANNERS = ("standard", "examples", "reasoning")
_REASONING_TOKENS = 96
_EXAMPLES = (("cat.jpg", "good"), ("coffee_out_of_focus.jpg", "poor"))
"""Shipped pictures that no test set holds, and the level each is shown as."""


@cache
def _examples(max_pixels: int | None) -> tuple[Picture, ...]:
    folder = files("mllm_iqa") / "examples"
    return tuple(load_image((folder / name).read_bytes(), name=name, max_pixels=max_pixels) for name, _ in _EXAMPLES)


def ask(models: Models, loaded: Sequence[Loaded], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Strengths of the pictures of each set, by mode: "single/standard" and so on."""
    assistant = models.assistant
    manners = tuple(options.get("manners", MANNERS))
    answers = []
    for one in loaded:
        found: dict[str, Any] = {}
        for manner in manners:
            examples = _examples(assistant.max_pixels) if manner == "examples" else ()
            for stimulus, strengths in (("single", _single), ("double", _double), ("multiple", _multiple)):
                found[f"{stimulus}/{manner}"] = strengths(assistant.backend, one.pictures, manner, examples)
        answers.append(found)
    return answers


def _single(backend: Backend, pictures: Sequence[Picture], manner: str, examples: Sequence[Picture]) -> list[float]:
    """MOS of each picture from the level words."""
    words = [load_prompt("stimulus.v1").phrase("level", level=level) for level in LEVELS]
    asked = [_asked(backend, "single", manner, (*examples, picture), 1) for picture in pictures]
    return [float(mos) for mos in mos_of(level_probs(backend.continuation_logprobs(asked, words)))]


def _double(backend: Backend, pictures: Sequence[Picture], manner: str, examples: Sequence[Picture]) -> list[float]:
    """Mean probability of each picture to win, over all others and both orders."""
    prompt = load_prompt("stimulus.v1")
    words = [prompt.phrase(key) for key in (("third", "fourth") if examples else ("first", "second"))]
    wins = np.zeros(len(pictures))
    for i, j in itertools.permutations(range(len(pictures)), 2):
        asked = _asked(backend, "double", manner, (*examples, pictures[i], pictures[j]), 2)
        first, second = normalised(backend.continuation_logprobs([asked], words))[0]
        wins[i] += first
        wins[j] += second
    return [float(w) / (2 * (len(pictures) - 1)) for w in wins]


def _multiple(backend: Backend, pictures: Sequence[Picture], manner: str, examples: Sequence[Picture]) -> list[float]:
    """Probability of each picture to be the best, averaged over the given and the reversed order."""
    prompt, count = load_prompt("stimulus.v1"), len(pictures)
    words = [prompt.phrase("number", number=str(n + 1)) for n in range(count)]
    found = np.zeros(count)
    for order in (list(range(count)), list(reversed(range(count)))):
        shown = (*examples, *(pictures[i] for i in order))
        probs = normalised(backend.continuation_logprobs([_asked(backend, "multiple", manner, shown, count)], words))[0]
        for place, i in enumerate(order):
            found[i] += probs[place] / 2
    return [float(p) for p in found]


def _asked(backend: Backend, stimulus: str, manner: str, shown: Sequence[Picture], count: int) -> Conversation:
    """The conversation up to the word that is read; reasoning, where wanted, is generated first."""
    prompt = load_prompt("stimulus.v1")
    good, bad = (level for _, level in _EXAMPLES)
    question = prompt.phrase(f"{stimulus}/{manner}", good=good, bad=bad, count=str(count))
    prefix = prompt.phrase(f"{stimulus}/prefix")
    if manner != "reasoning":
        return Conversation.ask(shown, question, prefix)
    plain = Conversation.ask(shown, question)
    thought = backend.generate([plain], max_new_tokens=_REASONING_TOKENS)[0].strip()
    return plain.continued(thought + prompt.phrase(f"{stimulus}/after_reasoning") if thought else prefix)
