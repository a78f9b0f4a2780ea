"""The page's words by language. Names of levels, distortions and severities come from the prompts' vocabulary."""

from __future__ import annotations

from functools import cache

from mllm_iqa.prompt_files import load_prompt

from .chinese import CHINESE
from .english import ENGLISH
from .wording import Strings

__all__ = ["ENGLISH", "STRINGS", "Strings", "kind_name", "level_name", "severity_name"]

STRINGS: dict[str, Strings] = {"en": ENGLISH, "zh": CHINESE}


@cache
def level_name(level: str, language: str) -> str:
    """A level word as the page shows it, e.g. "good" in Chinese."""
    return load_prompt("vocabulary.v1", language).phrase(f"level/{level}")


@cache
def kind_name(kind: str, language: str) -> str:
    """A distortion kind as the page shows it; one that the vocabulary lacks (of another model) stays as it is."""
    phrases = load_prompt("vocabulary.v1", language).phrases
    return phrases[f"kind/{kind}"][0] if f"kind/{kind}" in phrases else kind


@cache
def severity_name(severity: int, language: str) -> str:
    """A severity, 1 to 5, in words."""
    return load_prompt("vocabulary.v1", language).phrase(f"severity/{severity}")
