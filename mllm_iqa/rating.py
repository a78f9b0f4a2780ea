"""Scores of pictures: from the probabilities of level words, or from the number that a model wrote."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .advice import advised
from .answers import Unparsable, parse_rating
from .backends.base import Backend, Conversation
from .backends.features import features_of
from .errors import BackendError
from .explaining import explain_findings
from .finding import find_distortions
from .images import Picture
from .levels import LEVELS, level_probs, mos_of, outside_mass, std_of
from .prompt_files import Prompt, load_prompt
from .registry import ModelEntry
from .scoring import geometric_mean, interval_of
from .trust import signals, verdicts
from .types import Failure, Score, Trust

if TYPE_CHECKING:
    from .assistant import Assistant

_FURTHER_QUESTIONS = slice(1, 4)  # wordings that ask for the rating alone, in every rating prompt that has several


def rate_pictures(
    assistant: Assistant,
    pictures: Sequence[Picture],
    *,
    explain: bool,
    references: Sequence[Picture] | None = None,
) -> list[Score | Failure]:
    """Scores of pictures, judged together; each as if it were alone, with advice and on the calibration's scale.

    Args:
        assistant: who judges.
        pictures: N of them.
        explain: also find distortions and write an explanation, where the model can.
        references: what each should look like, N of them.

    Returns:
        N scores in the order of the pictures. A `Failure` stands for a number that could not be read.

    Raises:
        BackendError: references for a model that judges a picture on its own.
    """
    if not pictures:
        return []
    if references is not None and "compare" not in assistant.can:
        raise BackendError(f"{assistant.backend.name} judges a picture on its own; leave the reference out")
    scores: Sequence[Score | Failure]
    if assistant.entry is not None and assistant.entry.answer == "number":
        scores = _written(assistant.backend, assistant.entry, pictures, explain=explain)
    else:
        scores = _read(assistant, pictures, explain=explain and "explain" in assistant.can, references=references)
    known = assistant.calibration
    return [score if known is None or isinstance(score, Failure) else known.applied(score) for score in scores]


def level_logprobs(backend: Backend, prompt: Prompt, shown: Sequence[Sequence[Picture]], question: str) -> np.ndarray:
    """Log-probabilities of the five levels, shape (N, 5), after a question about each of N groups of pictures."""
    asked = [Conversation.ask(s, question, prompt.answer_prefix, system=prompt.system) for s in shown]
    return backend.continuation_logprobs(asked, [_level_word(prompt, level) for level in LEVELS])


def mos_by_question(
    backend: Backend, pictures: Sequence[Picture], prompt: Prompt, logprobs: np.ndarray
) -> np.ndarray | None:
    """MOS by wording of a rating prompt's question, shape (N, Q); None where it has one wording alone.

    Args:
        backend: who is asked.
        pictures: N of them.
        prompt: of the rating.
        logprobs: shape (N, 5), of the levels after the first wording.
    """
    shown = [(picture,) for picture in pictures]
    columns = [mos_of(level_probs(logprobs))]
    for question in prompt.questions[_FURTHER_QUESTIONS]:
        columns.append(mos_of(level_probs(level_logprobs(backend, prompt, shown, question))))
    return np.stack(columns, axis=1) if len(columns) > 1 else None


def _read(
    assistant: Assistant, pictures: Sequence[Picture], *, explain: bool, references: Sequence[Picture] | None
) -> list[Score]:
    """Scores from the probabilities of level words, with advice."""
    backend, card = assistant.backend, assistant.card
    own = None if assistant.entry is None else assistant.entry.prompt
    prompt = load_prompt((own or "rate.v1") if references is None else "rate_reference.v1")
    shown = [(p,) for p in pictures] if references is None else list(zip(references, pictures, strict=True))
    logprobs = level_logprobs(backend, prompt, shown, prompt.question)
    probs = level_probs(logprobs)
    nothing = [None] * len(pictures)
    found = find_distortions(backend, pictures) if explain else nothing
    texts: Sequence[str | None] = nothing
    if explain:
        levels = [LEVELS[int(row.argmax())] for row in probs]
        texts = explain_findings(
            backend, pictures, levels, [f[0] for f in found if f is not None], templated=assistant.templated
        )
    calibration = card.interval if card is not None and references is None else None
    trust = _trust(assistant, pictures, prompt, logprobs) if references is None else nothing
    scores = []
    for i, picture in enumerate(pictures):
        mos, std, findings = float(mos_of(probs[i])), float(std_of(probs[i])), found[i]
        scores.append(
            Score(
                mos=mos,
                std=std,
                interval=interval_of(mos, std, calibration),
                levels={word: float(p) for word, p in zip(LEVELS, probs[i], strict=True)},
                outside_mass=float(outside_mass(logprobs[i])),
                distortions=None if findings is None else findings[0],
                explanation=texts[i],
                confidence=None if findings is None else geometric_mean([float(probs[i].max()), *findings[1]]),
                image=picture.info,
                model=backend.name,
                prompt=prompt.name,
                reference=None if references is None else references[i].info,
                trust=trust[i],
            )
        )
    rules = assistant.rules
    return scores if rules is None else [advised(score, rules) for score in scores]


def _trust(
    assistant: Assistant, pictures: Sequence[Picture], prompt: Prompt, logprobs: np.ndarray
) -> Sequence[Trust | None]:
    """Whether each score is to be trusted; None without thresholds for this model and prompt."""
    backend = assistant.backend
    limits = None if assistant.card is None else assistant.card.trust
    if limits is None or (limits.model, limits.prompt) != (backend.name, prompt.name):
        return [None] * len(pictures)
    found = signals(
        outside=outside_mass(logprobs),
        probs=level_probs(logprobs),
        features=features_of(backend, pictures),
        space=limits.features,
        mos_by_question=mos_by_question(backend, pictures, prompt, logprobs) if assistant.thorough else None,
    )
    return verdicts(found, limits.thresholds)


def _written(
    backend: Backend, entry: ModelEntry, pictures: Sequence[Picture], *, explain: bool
) -> list[Score | Failure]:
    """Scores by a model that reasons and then writes a number; what is no number on the scale is a failure."""
    prompt = load_prompt(entry.prompt)
    asked = [Conversation.ask([p], prompt.question, prompt.answer_prefix, system=prompt.system) for p in pictures]
    said = backend.generate(asked, max_new_tokens=entry.answer_tokens)
    scores: list[Score | Failure] = []
    for picture, text in zip(pictures, said, strict=True):
        rating = parse_rating(prompt.answer_prefix + text, prompt)
        if isinstance(rating, Unparsable):
            name = picture.info.name
            scores.append(Failure(name, f"{name}: {backend.name} gave no rating ({rating.reason})"))
            continue
        scores.append(
            Score(
                mos=rating.mos,
                std=None,
                interval=None,
                levels=None,
                outside_mass=None,
                distortions=None,
                explanation=rating.reasoning or None if explain else None,
                confidence=None,
                image=picture.info,
                model=backend.name,
                prompt=prompt.name,
            )
        )
    return scores


def _level_word(prompt: Prompt, level: str) -> str:
    """How a level is said in a prompt: its own phrase, or the one of all levels."""
    own = f"level/{level}"
    return prompt.phrase(own) if own in prompt.phrases else prompt.phrase("level", level=level)
