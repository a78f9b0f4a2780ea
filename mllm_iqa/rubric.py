"""Rubrics: a question and level words of the user's own, read as probabilities like the five levels.

A rubric is a prompt file with levels. What it gives is on the rubric's own scale and is no MOS.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from importlib.resources import as_file, files
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
import yaml
from pydantic import Field, StringConstraints, ValidationError, model_validator

from .backends.base import Conversation
from .errors import PromptError
from .prompt_files import WRITTEN_LANGUAGES, Prompt
from .scoring import normalised
from .shared_yaml import faults_of, read_yaml
from .types import RubricScore

if TYPE_CHECKING:
    from .backends.base import Backend
    from .images import Picture

MAX_RUBRICS = 16
"""In one request or command."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]|<\|")  # `<|` begins a special token of most chat templates
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Question = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=40)]


class Rubric(Prompt):
    """A prompt file with levels.

    Attributes:
        order: whether the first level is the best or the worst.
        levels: 2 to 9 words, in that order.
        values: what each level counts on the rubric's scale, strictly rising or falling; without them 1, 2, 3 ... with
            the best level highest.
        phrases: `level`, how a level is said after the answer's prefix; " {level}" unless given.
    """

    task: Slug
    version: Annotated[int, Field(ge=1, le=9999)] = 1
    language: str = "en"
    images: Literal[1] = 1
    system: Annotated[str, StringConstraints(max_length=1000)] = ""
    questions: Annotated[tuple[Question, ...], Field(min_length=1, max_length=9)]
    answer_prefix: Annotated[str, StringConstraints(max_length=200)] = ""
    phrases: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    order: Literal["best first", "worst first"]
    levels: Annotated[tuple[Word, ...], Field(min_length=2, max_length=9)]
    values: Annotated[
        tuple[Annotated[float, Field(allow_inf_nan=False, ge=-1e6, le=1e6)], ...], Field(max_length=9)
    ] = ()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.language not in WRITTEN_LANGUAGES:
            raise ValueError(f"language {self.language!r}; there are: {', '.join(WRITTEN_LANGUAGES)}")
        for text in (self.system, *self.questions, self.answer_prefix, *self.levels):
            if _CONTROL.search(text):
                raise ValueError(f"{text[:40]!r} holds a control character or the beginning of a special token (<|)")
            if text != text.strip():
                raise ValueError(f"{text[:40]!r} begins or ends with a space; the space before a level is added to it")
        twice = {a.casefold() for i, a in enumerate(self.levels) if a.casefold() in map(str.casefold, self.levels[:i])}
        if twice:
            raise ValueError(f"the level {min(twice)!r} is there twice")
        self._check_values()
        self._check_phrases()
        return self

    def _check_values(self) -> None:
        if not self.values:
            return
        if len(self.values) != len(self.levels):
            raise ValueError(f"{len(self.levels)} levels have {len(self.values)} values; give each one or none")
        steps = [b - a for a, b in pairwise(self.values)]
        if not (all(step > 0 for step in steps) or all(step < 0 for step in steps)):
            raise ValueError("values must rise or fall from level to level, without two that are equal")

    def _check_phrases(self) -> None:
        if set(self.phrases) - {"level"} or len(self.phrases.get("level", ("",))) != 1:
            raise ValueError("phrases holds `level` alone, in one wording")
        for text in self.phrases.get("level", ()):
            try:
                fields = [(f, spec, how) for _, f, spec, how in string.Formatter().parse(text) if f is not None]
            except ValueError as error:
                raise ValueError(f"phrases.level: {error}") from error
            if fields != [("level", "", None)] or len(text) > 60 or _CONTROL.search(text):
                raise ValueError(
                    f"phrases.level is {text[:40]!r}; it must hold {{level}} once and nothing else in braces"
                )

    @property
    def candidates(self) -> tuple[str, ...]:
        """What may follow the prefix, one text for each level, the space before it included."""
        plain = "{level}" if self.language == "zh" or not self.answer_prefix else " {level}"
        template = self.phrases.get("level", (plain,))[0]
        return tuple(template.format(level=word) for word in self.levels)

    @property
    def scale(self) -> np.ndarray:
        """The value of each level, float64, shape (len(levels),)."""
        if self.values:
            return np.array(self.values)
        ranks = np.arange(1.0, len(self.levels) + 1)
        return ranks[::-1].copy() if self.order == "best first" else ranks

    def to_yaml(self) -> str:
        """The file of this rubric."""
        values = self.model_dump(mode="json", exclude_defaults=True)
        values = {"task": self.task, "version": self.version, "language": self.language, "images": 1, **values}
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110)


def rubric_of(values: Mapping[str, Any], *, where: str = "rubric") -> Rubric:
    """A rubric from plain values.

    Raises:
        PromptError: they break the form; one sentence that begins with `where`.
    """
    try:
        return Rubric.model_validate(dict(values))
    except ValidationError as error:
        raise PromptError(f"{where}: {faults_of(error)}") from error


def load_rubric(name_or_file: str | Path) -> Rubric:
    """A rubric by the name of a shipped one, such as "sharpness" or "sharpness.v1", or from a file.

    Raises:
        PromptError: neither; or a file that breaks the form.
    """
    shipped = shipped_rubrics()
    name = str(name_or_file)
    if name in shipped:
        return shipped[name]
    newest = max((r for r in shipped.values() if name == r.task), key=lambda r: r.version, default=None)
    if newest is not None:
        return newest
    path = Path(name_or_file)
    if path.suffix not in (".yaml", ".yml") and not path.exists():
        raise PromptError(
            f"no rubric named {name[:80]!r}, and no such file; shipped: {', '.join(shipped)}; "
            "make one with: mllm-iqa rubric new"
        )
    return _read(path)


def shipped_rubrics() -> dict[str, Rubric]:
    """The rubrics that come with the package, by name and version; those in Chinese are called `<name>.zh`."""
    folder = files("mllm_iqa.prompts") / "rubrics"
    found = {}
    for resource in sorted(folder.iterdir(), key=lambda file: file.name):
        if resource.name.endswith(".yaml"):
            with as_file(resource) as path:
                found[resource.name.removesuffix(".yaml")] = _read(path)
    return found


def rubrics_in(folder: Path) -> dict[str, Rubric | str]:
    """The rubrics of a folder's YAML files, by file name; a file that means to be one and is none, as its fault."""
    found: dict[str, Rubric | str] = {}
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        try:
            values = read_yaml(path, "rubric")
            if isinstance(values, dict) and {"levels", "questions"} <= set(values):
                found[path.name] = rubric_of(values, where=f"rubric {path}")
        except PromptError as error:
            found[path.name] = str(error)
    return found


def _read(path: Path) -> Rubric:
    values = read_yaml(path, "rubric")
    if not isinstance(values, dict):
        raise PromptError(f"rubric {path} is not a mapping; see docs/rubrics.md for its form")
    return rubric_of(values, where=f"rubric {path}")


# The read-out.


def asked(rubric: Rubric, picture: Picture) -> Conversation:
    """The question of a rubric about a picture, and how the answer begins."""
    return Conversation.ask([picture], rubric.question, rubric.answer_prefix, system=rubric.system)


def rubric_score(rubric: Rubric, logprobs: np.ndarray, picture: Picture, *, model: str) -> RubricScore:
    """The result of one rubric for one picture.

    Args:
        rubric: what was asked.
        logprobs: shape (len(levels),), natural-log probabilities over everything the model could have said.
        picture: what was judged.
        model: name and version of what judged it.
    """
    probs, scale = normalised(logprobs), rubric.scale
    value = float(probs @ scale)
    surprise = -np.log(np.maximum(probs, 1e-300))
    return RubricScore(
        rubric=rubric.name,
        level=rubric.levels[int(probs.argmax())],
        value=value,
        std=float(np.sqrt(probs @ (scale - value) ** 2)),
        probabilities={word: float(p) for word, p in zip(rubric.levels, probs, strict=True)},
        entropy=max(0.0, min(1.0, float(probs @ surprise) / float(np.log(len(probs))))),
        outside_mass=float(np.clip(1.0 - np.exp(logprobs).sum(), 0.0, 1.0)),
        scale=(float(scale.min()), float(scale.max())),
        image=picture.info,
        model=model,
    )


def judge_by(backend: Backend, pictures: Sequence[Picture], rubrics: Sequence[Rubric]) -> list[tuple[RubricScore, ...]]:
    """For each picture the results of all rubrics, in their order; each as if it were alone.

    All pictures are asked one rubric after the other, so that an engine that keeps what it made of a picture encodes
    each of them once.

    Raises:
        PromptError: no rubric or too many, two of one name, or words that the model's tokenizer does not keep apart.
    """
    if not 1 <= len(rubrics) <= MAX_RUBRICS:
        raise PromptError(f"give 1 to {MAX_RUBRICS} rubrics, got {len(rubrics)}")
    names = [rubric.name for rubric in rubrics]
    for name in names:
        if names.count(name) > 1:
            raise PromptError(f"two rubrics are called {name!r}; give one another task or version")
    rows: list[list[RubricScore]] = [[] for _ in pictures]
    for rubric in rubrics if pictures else ():
        try:
            logprobs = backend.continuation_logprobs([asked(rubric, p) for p in pictures], rubric.candidates)
        except PromptError as error:
            raise PromptError(f"rubric {rubric.name} does not suit {backend.name}: {error}") from error
        for row, one, picture in zip(rows, logprobs, pictures, strict=True):
            row.append(rubric_score(rubric, one, picture, model=backend.name))
    return [tuple(row) for row in rows]
