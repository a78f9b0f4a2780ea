"""The words of one language: prompts, names of kinds, severities and levels, and findings as sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mllm_iqa.levels import LEVELS
from mllm_iqa.prompt_files import Prompt, effect_key, findings_text, load_prompt

if TYPE_CHECKING:
    import numpy as np

    from .pictures import Found

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Words:
    """How things are said in a language; wordings are drawn from `rng`."""

    language: str
    rng: np.random.Generator

    def prompt(self, name: str) -> Prompt:
        """A prompt file in this language."""
        return load_prompt(name, self.language)

    def pick(self, items: Sequence[A]) -> A:
        """One of the items, such as the wordings of a phrase."""
        return items[int(self.rng.integers(len(items)))]

    def some(self, items: Sequence[A], count: int) -> list[A]:
        """That many of the items (all, where there are fewer), in random order."""
        return [items[int(i)] for i in self.rng.permutation(len(items))[:count]]

    def question(self, name: str, **fields: str) -> str:
        """A question of a prompt file, its fields filled in."""
        return self.pick(self.prompt(name).questions).format(**fields)

    def short(self, question: str) -> str:
        """A question with the request for a word or phrase."""
        return self.prompt("short.v1").phrase("question", question=question)

    def kind(self, kind: str) -> str:
        """The name of a kind."""
        return self._name(f"kind/{kind}")

    def severity(self, severity_1to5: int) -> str:
        """The word of a severity."""
        return self._name(f"severity/{severity_1to5}")

    def level(self, level: str) -> str:
        """The word of a level."""
        return self._name(f"level/{level}")

    def family(self, family: str) -> str:
        """The word for a family."""
        return self._name(f"family/{family}")

    def listed(self, items: Sequence[str], *, joint: str) -> str:
        """Items as a list: commas, and the vocabulary's `joint` ("and", "or", "then") before the last."""
        vocabulary, text = self.prompt("vocabulary.v1"), items[0]
        for place, item in enumerate(items[1:], start=2):
            text = vocabulary.phrase(joint if place == len(items) else "comma", before=text, item=item)
        return text

    def findings(self, findings: Sequence[Found]) -> str:
        """Findings as they stand after the distortion prompt's prefix; none as "no visible distortion"."""
        named = [(self.kind(found.kind), self.severity(found.severity)) for found in findings]
        return findings_text(named, self.prompt("distortion.v1"))

    def effects(self, findings: Sequence[Found]) -> str:
        """What the findings do to a picture, one sentence each, with the gap that stands before a sentence."""
        effects, vocabulary = self.prompt("effects.v2"), self.prompt("vocabulary.v1")
        sentences = [self.pick(effects.wordings(effect_key(found.kind, found.severity))) for found in findings]
        return "".join(vocabulary.phrase("sentence_gap", sentence=sentence) for sentence in sentences)

    def capital(self, text: str) -> str:
        """A text with its first letter in upper case; JPEG and Chinese stay as they are."""
        return text[:1].upper() + text[1:]

    def _name(self, key: str) -> str:
        return self.prompt("vocabulary.v1").phrase(key)


def level_candidates(name: str, language: str) -> tuple[str, ...]:
    """The level words, best first, as they stand after the answer prefix of a prompt."""
    prompt, vocabulary = load_prompt(name, language), load_prompt("vocabulary.v1", language)
    return tuple(prompt.phrase("level", level=vocabulary.phrase(f"level/{level}")) for level in LEVELS)
