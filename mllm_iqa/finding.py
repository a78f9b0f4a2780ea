"""Which distortions a picture shows, and how severe each is: one or two, read word by word as probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .backends.base import Backend, Conversation
from .images import Picture
from .levels import SEVERITIES
from .prompt_files import Prompt, load_prompt
from .scoring import main_kind, normalised, severity_of
from .taxonomy import FAMILY_OF, KINDS
from .types import Finding

_PROMPT = "distortion.v1"


class _Found:
    """What was found in one picture so far, and the probabilities of the words that say it."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.probabilities: list[float] = []

    def add(self, kind: str, probability: float) -> None:
        self.findings.append(Finding(kind, FAMILY_OF[kind], 1, probability))
        self.probabilities.append(probability)

    def rate_last(self, severity: int, probability: float) -> None:
        last = self.findings[-1]
        self.findings[-1] = Finding(last.kind, last.family, severity, last.probability)
        self.probabilities.append(probability)

    @property
    def families(self) -> frozenset[str]:
        return frozenset(finding.family for finding in self.findings)


def find_distortions(backend: Backend, pictures: Sequence[Picture]) -> list[tuple[tuple[Finding, ...], list[float]]]:
    """Distortions of each picture, at most two of different families, and the probabilities of the words that say so.

    The engine is asked about all pictures at once: for a kind or none, for its severity, for the end of the answer or
    a second kind, and for the severity of that. What was read is what the next question continues from.
    """
    prompt = load_prompt(_PROMPT)
    asked, probs = read_kinds(backend, pictures)
    found = [_Found() for _ in pictures]
    live: dict[int, Conversation] = {}
    for i, row in enumerate(probs):
        kind = main_kind(float(row[0]), row[1:])
        if kind is None:
            found[i].probabilities.append(float(row[0]))
        else:
            found[i].add(kind, float(row[1 + KINDS.index(kind)]))
            live[i] = asked[i].continued(prompt.phrase("kind", kind=kind))
    live = _with_severity(backend, live, found, probs[:, 0])
    live = _with_second_kind(backend, live, found, prompt)
    _with_severity(backend, live, found, np.zeros(len(pictures)))
    return [(tuple(f.findings), f.probabilities) for f in found]


def read_kinds(backend: Backend, pictures: Sequence[Picture]) -> tuple[list[Conversation], np.ndarray]:
    """Ask which distortion each of N pictures shows.

    Returns:
        The N conversations, before the answer, and the probabilities of "no visible distortion" and of each of `KINDS`
        as its first words, shape (N, 1 + len(KINDS)); rows sum to 1.
    """
    prompt = load_prompt(_PROMPT)
    asked = [Conversation.ask([p], prompt.question, prompt.answer_prefix) for p in pictures]
    words = [prompt.phrase("none"), *_kind_words(prompt)]
    return asked, normalised(backend.continuation_logprobs(asked, words))


def read_severities(
    backend: Backend, named: dict[int, Conversation], none: np.ndarray
) -> tuple[dict[int, Conversation], dict[int, tuple[int, float]]]:
    """Ask how severe the kind is that each conversation just named.

    Args:
        backend: the engine.
        named: conversations by the numbers of their pictures.
        none: probability (N,) of every picture that there is no such distortion; see `severity_of`.

    Returns:
        By the same numbers: the conversations continued up to the severity, and each severity, 1..5, with the
        probability of its word.
    """
    if not named:
        return {}, {}
    prompt = load_prompt(_PROMPT)
    asked = {i: c.continued(prompt.phrase("before_severity")) for i, c in named.items()}
    probs = normalised(backend.continuation_logprobs(list(asked.values()), _severity_words(prompt)))
    read = {}
    for i, row in zip(asked, probs, strict=True):
        severity = severity_of(row, float(none[i]))
        read[i] = (severity, float(row[severity - 1]))
    return asked, read


def _kind_words(prompt: Prompt) -> list[str]:
    return [prompt.phrase("kind", kind=kind) for kind in KINDS]


def _severity_words(prompt: Prompt) -> list[str]:
    return [prompt.phrase("severity", severity=word) for word in SEVERITIES]


def _with_second_kind(
    backend: Backend, live: dict[int, Conversation], found: list[_Found], prompt: Prompt
) -> dict[int, Conversation]:
    """Read whether each answer goes on, and with which kind; returns the conversations that name a second one."""
    if not live:
        return {}
    endings = [prompt.phrase("after_severity") + prompt.phrase(key) for key in ("end", "join")]
    more = normalised(backend.continuation_logprobs(list(live.values()), endings))
    both = {i: c.continued(endings[1]) for (i, c), p in zip(live.items(), more, strict=True) if p[1] > 0.5}
    if not both:
        return {}
    out = {}
    second = normalised(backend.continuation_logprobs(list(both.values()), _kind_words(prompt)))
    for (i, conversation), row in zip(both.items(), second, strict=True):
        kind = main_kind(0.0, row, found[i].families)
        if kind is not None:
            found[i].add(kind, float(row[KINDS.index(kind)]))
            out[i] = conversation.continued(prompt.phrase("kind", kind=kind))
    return out


def _with_severity(
    backend: Backend, live: dict[int, Conversation], found: list[_Found], none: np.ndarray
) -> dict[int, Conversation]:
    """Read the severity of the kind each conversation just named into its last finding; returns them continued."""
    asked, read = read_severities(backend, live, none)
    words = _severity_words(load_prompt(_PROMPT))
    out = {}
    for i, (severity, probability) in read.items():
        found[i].rate_last(severity, probability)
        out[i] = asked[i].continued(words[severity - 1])
    return out
