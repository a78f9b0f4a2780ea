"""Rules of advice as files: which findings and facts a rule is about, what it says, and why that is right.

`prompts/advice.v1.yaml` ships; `prompts/advice.v1.<language>.yaml` says the same rules in another language. Anyone may
write a file of their own, alone or on top of the shipped one (`extends: advice.v1`), and pass it on.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from .errors import PromptError
from .prompt_files import WRITTEN_LANGUAGES, load_prompt
from .shared_yaml import faults_of, read_yaml
from .taxonomy import FAMILY_OF

SHIPPED = "advice.v1"
FIELDS = ("kind", "kinds", "quality", "format", "size", "reference_size")
"""What a text may hold in braces, and is filled in: names of the findings, and what the file or reference says."""

_FACTS_OF_FIELDS = {"quality": "file.jpeg_quality", "format": "file", "reference_size": "reference or scaled"}
_MAX_RULES = 500
Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
Action = Annotated[str, Field(pattern=r"^[a-z]+( [a-z]+)*$", max_length=40)]
Text = Annotated[str, Field(min_length=10, max_length=600)]
Severity = Annotated[int, Field(ge=1, le=5)]
Scaled = Literal["down", "up", "same"]
_NAMES = {*FAMILY_OF, *FAMILY_OF.values()}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in _NAMES:
            close = get_close_matches(name, sorted(_NAMES), 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"{name!r} is neither a kind nor a family of distortions{hint}")
    return names


def _range(bounds: tuple[int, int]) -> tuple[int, int]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"[{bounds[0]}, {bounds[1]}] is empty; write the smaller number first")
    return bounds


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Pattern(_Strict):
    """A finding that a rule is about: one of these kinds or families, within these severities."""

    of: Names = Field(min_length=1)
    severity: tuple[Severity, Severity] = (1, 5)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _known(self.of)
        _range(self.severity)
        return self

    def matches(self, kind: str, family: str, severity: int) -> bool:
        """Whether a finding is one of these."""
        return (kind in self.of or family in self.of) and self.severity[0] <= severity <= self.severity[1]


class FileCondition(_Strict):
    """What a rule wants of the file; what the library does not know of a file satisfies nothing."""

    format: Names | None = None
    lossless: bool | None = None
    palette: bool | None = None
    jpeg_quality: tuple[int, int] | None = None
    bits: tuple[int, int] | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        for bounds in (self.jpeg_quality, self.bits):
            if bounds is not None:
                _range(bounds)
        return self

    @property
    def count(self) -> int:
        """How many things it wants."""
        return len(self.model_fields_set)


class Rule(_Strict):
    """One rule.

    Attributes:
        id: its name, unique in its file.
        findings: what it is about; each must be matched by another finding of the picture.
        without: kinds and families that must not be among the picture's findings.
        reference: whether there must (true) or must not (false) be a reference.
        scaled: how the picture's size must stand to the reference's.
        file: what the file must say.
        does: what the text tells the user to do, in words of the file's own; contradictory ones never come together.
        gain: how much of the loss the action wins back: 1 little, 2 some, 3 most.
        text: what to do, with `FIELDS` in braces.
        source: why that is right.
    """

    id: Name
    findings: tuple[Pattern, ...] = Field(min_length=1, max_length=3)
    without: Names = ()
    reference: bool | None = None
    scaled: Scaled | None = None
    file: FileCondition | None = None
    does: tuple[Action, ...] = ()
    gain: Annotated[int, Field(ge=1, le=3)]
    text: Text
    source: Annotated[str, Field(min_length=5, max_length=600)]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        _known(self.without)
        check_text(self.text)
        wanted = fields_of(self.text)
        has = {
            "quality": self.file is not None and self.file.jpeg_quality is not None,
            "format": self.file is not None,
            "reference_size": self.reference is True or self.scaled is not None,
        }
        for field, there in has.items():
            if field in wanted and not there:
                raise ValueError(f"{{{field}}} needs the condition {_FACTS_OF_FIELDS[field]}")
        return self

    @property
    def is_fallback(self) -> bool:
        """Whether it can always be said of its finding: only the finding is asked, nothing contradicts it."""
        asks = (self.without, self.reference, self.scaled, self.file)
        return len(self.findings) == 1 and not self.does and asks == ((), None, None, None)

    @property
    def conditions(self) -> int:
        """How much it asks beside the findings."""
        return (
            len(self.without)
            + (self.reference is not None)
            + 2 * (self.scaled is not None)
            + (0 if self.file is None else self.file.count)
        )


class AdviceFile(_Strict):
    """One file of rules, with the head that prompt files have.

    Attributes:
        task, version, language: of the file; results name the rule as `<task>.v<version>/<id>`.
        extends: the name of a shipped file whose rules hold too; one with an id of this file's is replaced.
        contradictions: pairs of actions that must not be told together.
        phrases: of the shipped file alone: what to say where nothing was found in a good (`clean`) and in a bad
            picture (`unclear`).
        rules: in order of preference among rules that ask as much.
    """

    task: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,40}$")]
    version: Annotated[int, Field(ge=1)]
    language: str
    extends: Literal["advice.v1"] | None = None
    contradictions: tuple[tuple[Action, Action], ...] = ()
    phrases: dict[Literal["clean", "unclear"], tuple[Text, ...]] = {}
    rules: tuple[Rule, ...] = Field(min_length=1, max_length=_MAX_RULES)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.language not in WRITTEN_LANGUAGES:
            raise ValueError(f"language {self.language!r}; there are: {', '.join(WRITTEN_LANGUAGES)}")
        ids = [rule.id for rule in self.rules]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"two rules are called {twice[0]!r}")
        return self

    @property
    def name(self) -> str:
        """Name and version, e.g. "advice.v1"."""
        return f"{self.task}.v{self.version}"


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """Rules ready to be used.

    Attributes:
        name: of their file.
        language: of their texts.
        rules: (name of the rule's file, rule), most preferred first.
        contradictions: pairs of actions that must not be told together.
    """

    name: str
    language: str
    rules: tuple[tuple[str, Rule], ...]
    contradictions: frozenset[frozenset[str]]


def shipped_rules(language: str = "en") -> Rules:
    """The rules that come with the package, in one of the languages that prompts are written in.

    Raises:
        PromptError: another language.
    """
    if language not in WRITTEN_LANGUAGES:
        raise PromptError(f"no advice in language {language!r}; available: {', '.join(WRITTEN_LANGUAGES)}")
    return _shipped(language)


@cache
def _shipped(language: str) -> Rules:
    file = _shipped_file()
    if language == "en":
        return _assembled(file)
    words = load_prompt(SHIPPED, language).phrases
    rules = tuple(rule.model_copy(update={"text": words[rule.id][0]}) for rule in file.rules)
    return _assembled(file.model_copy(update={"language": language, "rules": rules}))


def without_findings(key: Literal["clean", "unclear"], *, language: str = "en") -> str:
    """What to say of a picture in which nothing was found."""
    return _shipped_file().phrases[key][0] if language == "en" else load_prompt(SHIPPED, language).phrase(key)


@cache
def _shipped_file() -> AdviceFile:
    with as_file(files("mllm_iqa.prompts") / f"{SHIPPED}.yaml") as path:
        return _read(path)


def load_rules(path: Path | str, *, language: str = "en") -> Rules:
    """Rules from a file, or shipped ones by their name.

    Args:
        path: a YAML file, or "advice.v1".
        language: of shipped rules; a file says its own.

    Raises:
        PromptError: a file that cannot be read or breaks the form, a finding that it has nothing to say about, or
            shipped rules in a language they are not written in. One sentence.
    """
    if str(path) == SHIPPED:
        return shipped_rules(language)
    return _assembled(_read(Path(path)), where=f"advice file {path}")


def _read(path: Path) -> AdviceFile:
    values = read_yaml(path, "advice file")
    if not isinstance(values, dict):
        raise PromptError(f"advice file {path} is not a mapping; see docs/advice.md for its form")
    try:
        return AdviceFile.model_validate(values)
    except ValidationError as error:
        raise PromptError(f"advice file {path}: {_named(values, faults_of(error))}") from error


def _named(values: dict[str, object], faults: str) -> str:
    """Faults of "rules.3.gain" with the rule's own name, which is easier to find."""
    rules = values.get("rules")
    for place, rule in reversed(list(enumerate(rules if isinstance(rules, list) else []))):
        if isinstance(rule, dict) and isinstance(rule.get("id"), str):
            for end in (".", ":"):
                faults = faults.replace(f"rules.{place}{end}", f"rule {rule['id'][:60]!r}{end}")
    return faults


def _assembled(file: AdviceFile, *, where: str = "advice.v1") -> Rules:
    """The rules of a file and of what it extends, checked as a whole."""
    base = None if file.extends is None else shipped_rules(file.language)
    own = {rule.id for rule in file.rules}
    rules = [(file.name, rule) for rule in file.rules]
    pairs = {frozenset(pair) for pair in file.contradictions}
    if base is not None:
        rules += [(name, rule) for name, rule in base.rules if rule.id not in own]
        pairs |= base.contradictions
    _check_actions([rule for _, rule in rules], pairs, where)
    _check_cover([rule for _, rule in rules], where)
    return Rules(name=file.name, language=file.language, rules=tuple(rules), contradictions=frozenset(pairs))


def _check_actions(rules: Iterable[Rule], pairs: Iterable[frozenset[str]], where: str) -> None:
    told = {action for rule in rules for action in rule.does}
    for pair in pairs:
        for action in sorted(pair):
            if action not in told:
                close = get_close_matches(action, sorted(told), 1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise PromptError(f"{where}: no rule does {action!r}, of which a contradiction speaks{hint}")
    for rule in rules:
        if any(pair <= set(rule.does) for pair in pairs):
            raise PromptError(f"{where}: rule {rule.id!r} contradicts itself: {', '.join(rule.does)}")


def _check_cover(rules: Iterable[Rule], where: str) -> None:
    """Every family, sure of its kind or not, alone or not, must have something that can be said whatever else is."""
    fallbacks = [rule.findings[0] for rule in rules if rule.is_fallback]
    for family in dict.fromkeys(FAMILY_OF.values()):
        for severity in range(1, 6):
            if not any(pattern.matches(family, family, severity) for pattern in fallbacks):
                raise PromptError(
                    f"{where} has nothing to say in every case about the family {family!r} at severity {severity}: add "
                    f"a rule about it alone, without conditions and without `does`, or the line `extends: {SHIPPED}`"
                )


def check_text(text: str) -> None:
    """Refuse a text with other fields than `FIELDS`, or with more in its braces than a name."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ValueError(f"{text[:40]!r}: {error}; a brace of its own is written twice") from error
    for _, field, spec, conversion in parts:
        if field is not None and (field not in FIELDS or spec or conversion):
            raise ValueError(f"{{{field}}} is no field; there are: {', '.join(FIELDS)}")


def fields_of(text: str) -> set[str]:
    """The fields in a text."""
    return {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
