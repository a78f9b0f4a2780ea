"""Prompt files: every word said to or expected from a model, versioned under `prompts/`.

A file `prompts/<task>.v<N>.yaml` holds the questions, the answer prefix at whose end a word is read, and named
phrases, in English; `prompts/<task>.v<N>.<language>.yaml` says the same in another language. A released version is
never edited; a new wording is a new file.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import PromptError

LANGUAGES: tuple[str, ...] = ("en",)
"""Languages the assistant asks and answers in."""

WRITTEN_LANGUAGES: tuple[str, ...] = ("en", "zh")
"""Languages that have prompt files; instruction records are written in all of them."""


class Prompt(BaseModel):
    """One prompt file.

    Attributes:
        task: what is asked; version: of this wording; language: of the words.
        images: how many pictures the question is about.
        system: said before the conversation begins; "" = nothing.
        questions: wordings of the question; the first is the canonical one, the others serve in training.
        answer_prefix: how every answer begins; a level, kind or winner is read right after it.
        phrases: named templates with {fields}; several wordings of one phrase mean the same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    version: int
    language: str
    images: int
    system: str = ""
    questions: tuple[str, ...]
    answer_prefix: str
    phrases: dict[str, tuple[str, ...]]

    @property
    def name(self) -> str:
        """Name and version as it stands in results, e.g. "rate.v1"."""
        return f"{self.task}.v{self.version}"

    @property
    def question(self) -> str:
        """The canonical question."""
        return self.questions[0]

    def phrase(self, key: str, **fields: str) -> str:
        """The canonical wording of a phrase with its fields filled in."""
        return self.wordings(key)[0].format(**fields)

    def wordings(self, key: str) -> tuple[str, ...]:
        """All wordings of a phrase; a PromptError names an unknown one."""
        if key not in self.phrases:
            raise PromptError(f"prompt {self.name} has no phrase {key!r}; it has: {', '.join(self.phrases)}")
        return self.phrases[key]


@cache
def load_prompt(name: str, language: str = "en") -> Prompt:
    """The prompt called e.g. "rate.v1".

    Raises:
        PromptError: no such prompt, a language without prompt files, or a file that breaks the format.
    """
    if language not in WRITTEN_LANGUAGES:
        raise PromptError(f"no prompts in language {language!r}; available: {', '.join(WRITTEN_LANGUAGES)}")
    file = f"{name}{_ending(language)}"
    resource = files("mllm_iqa.prompts") / file
    if not resource.is_file():
        raise PromptError(f"no prompt named {name!r}; available: {', '.join(prompt_names(language))}")
    try:
        prompt = Prompt.model_validate(yaml.safe_load(resource.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError) as error:
        raise PromptError(f"prompt file {file}: {error}") from error
    if prompt.name != name:
        raise PromptError(f"prompt file {file} calls itself {prompt.name}")
    if prompt.language != language:
        raise PromptError(f"prompt file {file} says that its language is {prompt.language!r}")
    return prompt


def _ending(language: str) -> str:
    return ".yaml" if language == "en" else f".{language}.yaml"


def prompt_names(language: str = "en") -> list[str]:
    """Names of all prompt files of a language, sorted; `advice` files, which hold rules, are read by `advice_rules`."""
    ending = _ending(language)
    others = tuple(_ending(other) for other in WRITTEN_LANGUAGES if len(_ending(other)) > len(ending))
    names = [file.name for file in files("mllm_iqa.prompts").iterdir()]
    found = (name.removesuffix(ending) for name in names if name.endswith(ending) and not name.endswith(others))
    return sorted(name for name in found if not name.startswith("advice."))


def effect_key(kind: str, severity: int) -> str:
    """The phrase of the effects prompt that says what a kind of this severity (1..5) does: mild to 2, strong from 3."""
    return f"{kind}/{'mild' if severity <= 2 else 'strong'}"


def effect_sentences(findings: Iterable[tuple[str, int]] | None) -> frozenset[str]:
    """Sentences on what (kind, severity 1..5) findings do to a picture; None = all that the effects prompt knows."""
    phrases = load_prompt("effects.v1").phrases
    keys = phrases if findings is None else {effect_key(kind, severity) for kind, severity in findings}
    return frozenset(sentence for key in keys for sentence in phrases[key])


def findings_text(findings: list[tuple[str, str]], prompt: Prompt | None = None) -> str:
    """Findings in words, as they stand after the distortion prompt's prefix, without the leading space.

    Args:
        findings: (kind, severity word) pairs, most harmful first; empty = clean.
        prompt: the distortion prompt; the current version if None.
    """
    prompt = prompt or load_prompt("distortion.v1")
    if not findings:
        return prompt.phrase("none").lstrip()
    items = [
        prompt.phrase("kind", kind=kind)
        + prompt.phrase("before_severity")
        + prompt.phrase("severity", severity=severity)
        + prompt.phrase("after_severity")
        for kind, severity in findings
    ]
    return prompt.phrase("join").join(items).lstrip()
