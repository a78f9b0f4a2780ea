"""A task: a file `tasks/<name>.yaml` that says how its test set is read, how a model is asked, what is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mllm_iqa.assistant import Assistant
from mllm_iqa.errors import ConfigError
from mllm_iqa.images import Picture

from .items import Item
from .results import Section


class TaskSpec(BaseModel):
    """One task file.

    Attributes:
        task, version: its name; a released version is never edited.
        title: in words, for reports.
        reads: a key of `parts.READERS`; asks: of `parts.ASKS`; measures: of `parts.MEASURES`, in order of report.
        prompts: the prompt versions whose words are used.
        options: settings of the three; each names the part it belongs to by its key.
        parts: of a suite: names of the tasks it is made of, each over the same test set; then nothing else is given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: str
    version: int
    title: str
    reads: str = ""
    asks: str = ""
    measures: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    parts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name and version as it stands in results, e.g. "assessment.v1"."""
        return f"{self.task}.v{self.version}"


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """An item and its pictures, read."""

    item: Item
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class Models:
    """The model that is measured, and the one that judges its texts, if the task needs one."""

    assistant: Assistant
    judge: Assistant | None = None


Row = Mapping[str, Any]
"""A row of a predictions file: what `Item.written` gives, and "answer" or "error"."""

Read = Callable[[Path, Mapping[str, Any]], list[Item]]
Ask = Callable[[Models, Sequence[Loaded], Mapping[str, Any]], list[dict[str, Any]]]
Measure = Callable[[Sequence[Row], Mapping[str, Any]], Section]


class Task(Protocol):
    """What predicting, scoring and reporting need of a task; `parts.ComposedTask` makes one of a task file."""

    @property
    def spec(self) -> TaskSpec:
        """The task file."""

    def items(self, source: Path) -> list[Item]:
        """The questions of a test set, in a fixed order."""

    def answer(self, models: Models, loaded: Sequence[Loaded]) -> list[dict[str, Any]]:
        """Plain JSON answers, one per question, none depending on the others."""

    def sections(self, rows: Sequence[Row]) -> list[Section]:
        """Figures of all rows, failed ones included."""


def task_names() -> list[str]:
    """Names of the task files, sorted."""
    folder = files(__package__) / "tasks"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def read_spec(name: str) -> TaskSpec:
    """The file of a task; a ConfigError names an unknown one or what is wrong with it."""
    known = task_names()
    if name not in known:
        close = get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
        raise ConfigError(f"unknown task {name!r}; {hint}")
    text = (files(__package__) / "tasks" / f"{name}.yaml").read_text(encoding="utf-8")
    try:
        spec = TaskSpec.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"task file {name}.yaml: {error}") from error
    if spec.task != name:
        raise ConfigError(f"task file {name}.yaml calls itself {spec.task}")
    return spec
