"""Instruction records (`mllm-iqa data build` or `data benchmark`) as items, each task taking those it asks about.

A record's answer for programs is the truth; its question is used where it is a multiple choice, and replaced by the
task's own elsewhere, so that every model is asked in one way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mllm_iqa.errors import ConfigError, DataError

from ..items import Item
from .files import picture, read_rows

Parts = tuple[dict[str, Any], dict[str, Any], dict[str, str]]
"""(truth, ask, tags) of an item."""


def _rated(row: Mapping[str, Any]) -> Parts:
    answer = row["answer"]
    truth = {"mos": answer["mos"], **({} if answer["std"] is None else {"std": answer["std"]})}
    truth["findings"] = _findings(answer)
    scores = "people" if answer["policy"] in ("raters", "assumed std", "two levels") else "synthetic"
    return truth, {}, {"scores": scores, "distortion": _main(answer)}


def _choice(row: Mapping[str, Any]) -> Parts:
    answer = row["answer"]
    question = next(part["text"] for part in row["messages"][0]["content"] if part["type"] == "text")
    ask = {"question": question.split("\n", 1)[0], "options": list(answer["options"])}
    right = "ABCDEFGH".index(answer["choice"])
    return {"right": right}, ask, {"type": answer["question_type"], "concern": answer["concern"]}


def _found(row: Mapping[str, Any]) -> Parts:
    findings = _findings(row["answer"])
    assert findings is not None
    return {"findings": findings}, {}, {"count": str(len(findings)), "distortion": _main(row["answer"])}


def _severity(row: Mapping[str, Any]) -> Parts:
    findings = _findings(row["answer"])
    assert findings is not None
    text = next(part["text"] for part in row["messages"][0]["content"] if part["type"] == "text")
    # The question names one of the findings; the longest name that stands in it is the one meant.
    named = sorted((f for f in findings if f["kind"] in text), key=lambda f: -len(f["kind"]))
    if not named:
        raise DataError(f"record {row['id']}: its question names none of its findings")
    chosen = named[0]
    tags = {"distortion": chosen["family"], "severity": str(chosen["severity"])}
    return {"severity": chosen["severity"]}, {"kind": chosen["kind"]}, tags


def _pair(row: Mapping[str, Any]) -> Parts:
    answer = row["answer"]
    truth: dict[str, Any] = {"prefers_first": {"a": 1.0, "b": 0.0, "tie": 0.5}[answer["winner"]]}
    if answer["policy"] == "preference":
        truth["prefers_first"] = float(row["probs"][0] + row["probs"][2] / 2)
    tags = {"reference": "shown" if row["task"] == "compare_reference" else "none", "winner": answer["winner"]}
    if answer["mos_each"]:
        first, second = answer["mos_each"]
        truth["gap"] = abs(first - second)
    else:
        tags["content"] = "preferences"
    contents = set(row["groups"][-2:])
    tags.setdefault("content", "same" if len(contents) == 1 else "different")
    return truth, {}, tags


def _ranked(row: Mapping[str, Any]) -> Parts:
    return {"mos_each": list(row["answer"]["mos_each"])}, {}, {"size": str(len(row["images"]))}


def _where(row: Mapping[str, Any]) -> Parts:
    answer = row["answer"]
    kind = answer["findings"][0]["kind"]
    truth = {"region": answer["region"], "box": list(answer["box"])}
    return truth, {"kind": kind}, {"distortion": answer["findings"][0]["family"]}


def _described(row: Mapping[str, Any]) -> Parts:
    golden = "".join(part["text"] or "" for part in row["messages"][-1]["content"] if part["type"] == "text")
    return {"description": golden}, {}, {"distortion": _main(row["answer"])}


_OF_TASK: dict[str, Callable[[Mapping[str, Any]], Parts]] = {
    "rate": _rated,
    "choice": _choice,
    "distortion": _found,
    "distortion_one": _found,
    "distortion_two": _found,
    "severity": _severity,
    "compare": _pair,
    "compare_reference": _pair,
    "rank": _ranked,
    "where": _where,
    "assess": _described,
    "steps": _rated,
}

_ABOUT: dict[str, Callable[[Mapping[str, Any]], Parts]] = {"rated": _rated, "findings": _found}


def _findings(answer: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    if answer["findings"] is None:
        return None
    return [{key: found[key] for key in ("kind", "family", "severity")} for found in answer["findings"]]


def _main(answer: Mapping[str, Any]) -> str:
    findings = answer["findings"]
    return "unknown" if findings is None else findings[0]["family"] if findings else "none"


def read_records(source: Path, options: Mapping[str, Any]) -> list[Item]:
    """The records of some tasks in one language.

    Options: `tasks` (those of the records to take), `language` ("en"), `about` (what is asked of all of them, a key of
    `_ABOUT`; each task's own question without it).

    Raises:
        ConfigError: tasks that cannot be evaluated.
        DataError: no records there, or none of these tasks.
    """
    tasks = tuple(options.get("tasks", ()))
    foreign = [task for task in tasks if task not in _OF_TASK]
    if not tasks or foreign:
        raise ConfigError(
            f"records of {', '.join(foreign) or 'no task'} cannot be evaluated; known: {', '.join(_OF_TASK)}"
        )
    about = options.get("about")
    if about is not None and about not in _ABOUT:
        raise ConfigError(f"records cannot be asked about {about!r}; known: {', '.join(_ABOUT)}")
    rows = read_rows(source)
    if not {"id", "task", "language", "images", "answer"} <= set(rows[0]):
        raise DataError(f"{source}: holds no instruction records; `mllm-iqa data benchmark` writes them")
    language = options.get("language", "en")
    items = []
    for row in rows:
        if row["task"] in tasks and row["language"] == language:
            truth, ask, tags = (_OF_TASK[row["task"]] if about is None else _ABOUT[about])(row)
            shown = tuple(picture(image, source, f"record {row['id']}") for image in row["images"])
            group = row["groups"][0] or row["id"]
            items.append(Item(row["id"], shown, group, truth, ask, {"record": row["task"], **tags}))
    if not items:
        raise DataError(f"{source}: no records of {', '.join(tasks)} in {language!r}")
    return items
