"""Whether a model can answer a rubric: its words as the tokenizer sees them, words it never learned, and a trial."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from typing import Any

import numpy as np

from .backends.base import Backend
from .backends.candidates import candidate_ids
from .checkpoints import Card
from .errors import PromptError
from .images import Picture, load_image
from .levels import LEVELS, SEVERITIES
from .prompt_files import load_prompt
from .rubric import Rubric, judge_by
from .taxonomy import KINDS
from .types import RubricScore

_EXAMPLES = ("cat.jpg", "coffee.jpg", "coffee_out_of_focus.jpg")
_MANY_TOKENS = 4
_MUCH_OUTSIDE = 0.5
_SMALL_SPREAD = 0.05  # of the rubric's scale
_WORDS_SHOWN = 6


@dataclass(frozen=True, slots=True)
class CheckedWord:
    """A level as the tokenizer sees it after the prefix.

    Attributes:
        word: the level.
        tokens: as the tokenizer writes them; None where there is no tokenizer to look at.
        own_start: whether no other level begins with the same token; where one does, both are still scored whole.
    """

    word: str
    tokens: tuple[str, ...] | None
    own_start: bool


@dataclass(frozen=True, slots=True)
class RubricCheck:
    """What was found about a rubric and a model.

    Attributes:
        rubric, model: names and versions.
        words: one for each level.
        faults: why it cannot be scored; empty = it can.
        warnings: why its scores may mean little.
        trial: its results for the shipped example pictures and a plain grey one; empty where it cannot be scored.
    """

    rubric: str
    model: str
    words: tuple[CheckedWord, ...]
    faults: tuple[str, ...]
    warnings: tuple[str, ...]
    trial: tuple[RubricScore, ...]

    @property
    def sound(self) -> bool:
        """Whether it can be scored."""
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"sound": self.sound, **asdict(self)}


def check_rubric(rubric: Rubric, backend: Backend, *, card: Card | None = None) -> RubricCheck:
    """Look at a rubric with a model's eyes.

    Args:
        rubric: the rubric.
        backend: the model's engine.
        card: of its checkpoint; says what a model of our own was trained on.
    """
    words, faults = _tokens_of(rubric, backend)
    warnings = list(_about_tokens(words))
    unseen = unseen_words(rubric, card)
    if unseen:
        shown = ", ".join(unseen[:_WORDS_SHOWN]) + (" ..." if len(unseen) > _WORDS_SHOWN else "")
        warnings.append(
            f"{backend.name} learned the words of its own prompts alone, and these are not among them: {shown}; what "
            f"it makes of them means nothing. Use its words ({', '.join((*LEVELS, *SEVERITIES))}) or a larger model"
        )
    trial: tuple[RubricScore, ...] = ()
    if not faults:
        try:
            trial = tuple(one for (one,) in judge_by(backend, _trial_pictures(), [rubric]))
        except PromptError as error:
            faults = [str(error)]
    warnings += _about_trial(trial)
    return RubricCheck(rubric.name, backend.name, tuple(words), tuple(faults), tuple(warnings), trial)


def unseen_words(rubric: Rubric, card: Card | None) -> list[str]:
    """Words of a rubric that a model trained from scratch on our prompts never saw; empty for any other model."""
    if card is None or card.base_model is not None or not card.prompts:
        return []
    known = set(_words(" ".join(_texts_of(card))))
    said = _words(" ".join((*rubric.levels, rubric.answer_prefix, rubric.question, rubric.system)))
    return list(dict.fromkeys(word for word in said if word not in known))


def _texts_of(card: Card) -> Iterator[str]:
    yield from (*LEVELS, *SEVERITIES, *KINDS)
    for name in card.prompts:
        try:
            prompt = load_prompt(name)
        except PromptError:  # of a later version of the package
            continue
        yield from (prompt.system, *prompt.questions, prompt.answer_prefix)
        for wordings in prompt.phrases.values():
            yield from ("".join(part for part, *_ in string.Formatter().parse(text)) for text in wordings)


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def _tokenizer_of(backend: object) -> Any:
    """The tokenizer of an engine that has one here, through what wraps the engine."""
    inner = getattr(backend, "inner", None)
    if inner is not None:
        return _tokenizer_of(inner)
    return getattr(backend, "tokenizer", None) or getattr(getattr(backend, "reader", None), "tokenizer", None)


def _tokens_of(rubric: Rubric, backend: Backend) -> tuple[list[CheckedWord], list[str]]:
    tokenizer = _tokenizer_of(backend)
    if tokenizer is None:
        return [CheckedWord(word, None, True) for word in rubric.levels], []

    def tokenize(text: str) -> list[int]:
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    faults = []
    try:
        paths = candidate_ids(tokenize, rubric.answer_prefix, rubric.candidates)
    except PromptError as error:
        faults.append(f"{error}; choose another word or prefix")
        paths = [tuple(tokenize(word)) for word in rubric.candidates]
    starts = [path[:1] for path in paths]
    return [
        CheckedWord(word, _shown(tokenizer.convert_ids_to_tokens, path), starts.count(path[:1]) == 1)
        for word, path in zip(rubric.levels, paths, strict=True)
    ], faults


def _shown(convert: Callable[[list[int]], list[str]], path: Sequence[int]) -> tuple[str, ...]:
    return tuple(convert(list(path)))


def _about_tokens(words: Sequence[CheckedWord]) -> Iterator[str]:
    lengths = {word.word: len(word.tokens) for word in words if word.tokens is not None}
    long = [f"{word} ({n})" for word, n in lengths.items() if n >= _MANY_TOKENS * len(word.split())]
    if long:
        yield f"the tokenizer cuts these into many pieces, so they are rare to it: {', '.join(long)}"
    if lengths and max(lengths.values()) - min(lengths.values()) >= _MANY_TOKENS:
        yield "levels differ much in their number of tokens, and long ones tend to get less probability"


def _trial_pictures() -> list[Picture]:
    pictures = [load_image(np.full((256, 256, 3), 128, np.uint8), name="plain grey")]
    for name in _EXAMPLES:
        with as_file(files("mllm_iqa") / "examples" / name) as path:
            pictures.append(load_image(path, max_pixels=262_144))
    return pictures


def _about_trial(trial: Sequence[RubricScore]) -> Iterator[str]:
    if not trial:
        return
    outside = float(np.mean([one.outside_mass for one in trial]))
    if outside >= _MUCH_OUTSIDE:
        yield (
            f"on {len(trial)} trial pictures the model put {outside:.2f} of its answer on other words than the levels; "
            "what is left says little. Choose words that it would say after the prefix, or a larger model"
        )
    low, high = trial[0].scale
    values = [one.value for one in trial]
    if max(values) - min(values) < _SMALL_SPREAD * (high - low):
        yield "it answers alike for a sharp, a blurred and an empty picture: the answer does not come from the picture"
