"""Why a picture has its level, in words: what was read, then what the model says about it, checked against it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache

from .backends.base import Backend, Conversation
from .images import Picture
from .levels import LEVELS
from .prompt_files import effect_key, effect_sentences, findings_text, load_prompt
from .scoring import consistent_text
from .types import Finding

_REASON_TOKENS = 96


def explain_findings(
    backend: Backend,
    pictures: Sequence[Picture],
    levels: Sequence[str],
    findings: Sequence[tuple[Finding, ...]],
    *,
    templated: bool,
) -> list[str]:
    """An explanation for each picture: its level and findings as read, then what the model says about them.

    The generated part is conditioned on both; a sentence of it that names another level, or names or describes a
    kind that was not found, or describes one stronger or milder than found, is left out. A model trained on
    templates first chooses, for each finding, among the sentences on what that kind does at that severity; of what
    it adds, only whole templates stay.

    Args:
        backend: who explains.
        pictures: N of them.
        levels: one level word each.
        findings: those of each.
        templated: whether the model was trained on the sentences of the effects prompt.
    """
    rate, reason = load_prompt("rate.v1"), load_prompt("reason.v1")
    asked, spoken = [], []
    for picture, level, found in zip(pictures, levels, findings, strict=True):
        if found:
            sentence = reason.phrase("findings", findings=said_findings(found))
        else:
            sentence = reason.phrase("none" if level in LEVELS[:2] else "unclear")
        asked.append(Conversation.ask([picture], rate.question, rate.answer_prefix))
        spoken.append(rate.phrase("level", level=level) + rate.phrase("end") + sentence)
    if templated:
        spoken = _with_effects(backend, asked, spoken, findings)
    continued = [c.continued(words) for c, words in zip(asked, spoken, strict=True)]
    said = backend.generate(continued, max_new_tokens=_REASON_TOKENS)
    return [
        f"{rate.answer_prefix}{words} {_checked(text, level, found, templated)}".strip()
        for words, text, level, found in zip(spoken, said, levels, findings, strict=True)
    ]


def said_findings(findings: Sequence[Finding]) -> str:
    """Findings in words, e.g. "gaussian blur (moderate) and noise (slight)"."""
    return findings_text([(f.kind, f.severity_word) for f in findings])


def _with_effects(
    backend: Backend,
    asked: Sequence[Conversation],
    spoken: Sequence[str],
    findings: Sequence[tuple[Finding, ...]],
) -> list[str]:
    """What was spoken, and after it one sentence on each finding: the one the model finds most probable there."""
    effects = load_prompt("effects.v1")
    out = list(spoken)
    for place in range(max(map(len, findings), default=0)):
        groups: dict[str, list[int]] = {}
        for i, found in enumerate(findings):
            if len(found) > place:
                groups.setdefault(effect_key(found[place].kind, found[place].severity), []).append(i)
        for key, members in groups.items():
            sentences = [f" {sentence}" for sentence in effects.wordings(key)]
            logprobs = backend.continuation_logprobs([asked[i].continued(out[i]) for i in members], sentences)
            for i, row in zip(members, logprobs, strict=True):
                out[i] += sentences[int(row.argmax())]
    return out


def _checked(text: str, level: str, findings: Sequence[Finding], templated: bool) -> str:
    """The sentences of a generated text that agree with the result and, from a model of templates, are whole."""
    own = effect_sentences((f.kind, f.severity) for f in findings)
    return consistent_text(
        text,
        level,
        [f.kind for f in findings],
        foreign=effect_sentences(None) - own,
        only=_remarks(level) if templated else None,
    )


@cache
def _remarks(level: str) -> frozenset[str]:
    """Sentences on the look of a picture, and on what its level means to a viewer."""
    look, reason = load_prompt("appearance.v1"), load_prompt("reason.v1")
    parts = ("brightness", "contrast", "color")
    choices = [[w[0] for key, w in look.phrases.items() if key.startswith(f"{part}/")] for part in parts]
    looks = (look.phrase("sentence", **dict(zip(parts, c, strict=True))) for c in itertools.product(*choices))
    return frozenset([*looks, *(words.strip() for words in reason.wordings(level))])
