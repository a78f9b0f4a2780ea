"""What tasks are made of, by name: readers of test sets, ways to ask, measures. A task file picks one of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from mllm_iqa.errors import ConfigError
from mllm_iqa.prompt_files import load_prompt

from .asking import choice, compare, describe, judge_picture, locate, modes, rank, severity
from .items import Item
from .measures import (
    assessment,
    choices,
    comparisons,
    consistency,
    descriptions,
    distributions,
    findings,
    fine_grained,
    localisation,
    prompting,
    rankings,
    severities,
)
from .reading import qbench, rated, records, triplets
from .results import Section
from .task import Ask, Loaded, Measure, Models, Read, Row, Task, TaskSpec, read_spec

READERS: dict[str, Read] = {
    "choices": qbench.read_choices,
    "descriptions": qbench.read_descriptions,
    "rated": rated.read_rated,
    "pairs": rated.read_pairs,
    "sets": rated.read_sets,
    "records": records.read_records,
    "triplets": triplets.read_triplets,
}

ASKS: dict[str, Ask] = {
    "levels": judge_picture.levels,
    "good_poor": judge_picture.good_poor,
    "judgment": judge_picture.judgment,
    "choice": choice.ask,
    "compare": compare.ask,
    "imperfect": compare.ask_imperfect,
    "rank": rank.ask,
    "severity": severity.ask,
    "where": locate.ask,
    "describe": describe.ask,
    "explanation": describe.explanation,
    "modes": modes.ask,
}

MEASURES: dict[str, Measure] = {
    "correlation": assessment.correlation,
    "interval": assessment.interval,
    "distribution": distributions.distribution,
    "fine_grained": fine_grained.fine_grained,
    "choices": choices.choices,
    "identification": findings.identification,
    "severity": severities.severity,
    "comparisons": comparisons.comparisons,
    "imperfect": comparisons.imperfect,
    "rankings": rankings.rankings,
    "consistency": consistency.consistency,
    "descriptions": descriptions.descriptions,
    "localisation": localisation.localisation,
    "prompting": prompting.prompting,
}


@dataclass(frozen=True, slots=True)
class ComposedTask:
    """A task made of the parts its file names."""

    spec: TaskSpec

    def items(self, source: Path) -> list[Item]:
        """See `Task`."""
        return READERS[self.spec.reads](source, self._options("reads"))

    def answer(self, models: Models, loaded: Sequence[Loaded]) -> list[dict[str, Any]]:
        """See `Task`."""
        return ASKS[self.spec.asks](models, loaded, self._options("asks"))

    def sections(self, rows: Sequence[Row]) -> list[Section]:
        """See `Task`."""
        return [MEASURES[name](rows, self._options(name)) for name in self.spec.measures]

    def _options(self, part: str) -> Mapping[str, Any]:
        options: Mapping[str, Any] = self.spec.options.get(part, {})
        return options


T = TypeVar("T")


def _known(what: str, name: str, table: Mapping[str, T]) -> None:
    if name not in table:
        close = get_close_matches(name, table, 1)
        raise ConfigError(f"unknown {what} {name!r}; " + (f"did you mean {close[0]}?" if close else ", ".join(table)))


def task_of(spec: TaskSpec) -> Task:
    """The task of a file.

    Raises:
        ConfigError: a part that there is none of, options for a part the task does not have, or a suite.
        PromptError: a prompt that there is none of.
    """
    if spec.parts:
        raise ConfigError(f"{spec.name} is a suite of {', '.join(spec.parts)}; each is a task of its own")
    _known("reader", spec.reads, READERS)
    _known("way to ask", spec.asks, ASKS)
    for measure in spec.measures:
        _known("measure", measure, MEASURES)
    foreign = set(spec.options) - {"reads", "asks", *spec.measures}
    if foreign:
        raise ConfigError(f"{spec.name}: options for {', '.join(sorted(foreign))}, which it does not have")
    for prompt in spec.prompts:
        load_prompt(prompt)
    return ComposedTask(spec)


def load_tasks(name: str) -> list[Task]:
    """The task of a name, or the tasks of a suite."""
    spec = read_spec(name)
    return [task_of(read_spec(part)) for part in spec.parts] if spec.parts else [task_of(spec)]
