"""Measure pictures with several judges in one run, into a predictions file; `figures` computes the rest from it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mllm_iqa.assistant import Assistant
from mllm_iqa.errors import DataError, IqaError

from .catalogue import baseline
from .items import Item
from .loading import Measure, load


@dataclass(frozen=True, slots=True)
class Judge:
    """Something that gives a picture a number.

    Attributes:
        name: in the predictions; title: for people; kind: "FR", "NR" or "ours".
        sign: value * sign grows with quality.
        measure: the function.
    """

    name: str
    title: str
    kind: str
    sign: int
    measure: Measure


def metric_judge(name: str, *, device: str = "cpu", download: bool = False) -> Judge:
    """A metric of the catalogue; see `loading.load` for the errors."""
    metric = baseline(name)
    kind = "FR" if metric.full_reference else "NR"
    return Judge(name, metric.title, kind, metric.sign, load(metric, device=device, download=download))


def model_judge(model: str, *, device: str = "auto") -> Judge:
    """One of our models, judging without a reference and without an explanation."""
    assistant = Assistant.load(model, device=device)

    def measure(picture: np.ndarray, _: np.ndarray | None) -> float:
        return assistant.score(picture, explain=False).mos

    return Judge(model, assistant.backend.name, "ours", 1, measure)


def run(
    judges: Sequence[Judge], sets: Mapping[str, Sequence[Item]], out: Path, *, made_with: dict[str, str]
) -> Iterator[int]:
    """Append one row per picture and judge to a JSON-lines file, going on after the pictures that are complete there.

    Judges take turns on each picture, so that all of them see the machine in the same state. Times are those of the
    measurement alone, pixels already decoded: on the clock, and of the processor, which other people's work on the
    same machine hardly changes. Pictures come in an order drawn with seed 0, the sets in proportion, so that what an
    unfinished run holds is a random sample. Full-reference metrics sit out sets without any reference; in the others
    a picture without one is an error row of theirs.

    Args:
        judges: distinct names.
        sets: name of a set -> its items.
        out: the file.
        made_with: what the figures depend on; rows made with anything else are refused.

    Yields:
        How many pictures are done.

    Raises:
        DataError: the file holds rows of another run.
    """
    done = _pictures_done(out, made_with)
    jobs = _mixed(sets)
    compared = {name for name, item in jobs if item.reference is not None}
    for judge in judges if done < len(jobs) else ():
        _warm_up(judge, jobs[done][1])
    with out.open("a", encoding="utf-8") as file:
        for number, (name, item) in enumerate(jobs[done:], start=done + 1):
            taking_part = [judge for judge in judges if judge.kind != "FR" or name in compared]
            rows = [_row(judge, item) | {"set": name, "of": len(sets[name])} for judge in taking_part]
            file.write(json.dumps({"picture": item.key, "made_with": made_with, "rows": rows}) + "\n")
            file.flush()
            yield number


def _mixed(sets: Mapping[str, Sequence[Item]]) -> list[tuple[str, Item]]:
    """Every item with the name of its set, in a random order that is the same every time, the sets in proportion."""
    rng = np.random.default_rng(0)
    placed = [
        ((rank + 0.5) / len(items), name, items[i])
        for name, items in sets.items()
        for rank, i in enumerate(rng.permutation(len(items)))
    ]
    return [(name, item) for _, name, item in sorted(placed, key=lambda place: place[0])]


def _warm_up(judge: Judge, item: Item) -> None:
    """First use builds parts and fills caches; it is not what a picture takes. Failures show in the rows."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    try:
        judge.measure(noise, noise[::-1].copy())
    except Exception:
        return


def _row(judge: Judge, item: Item) -> dict[str, Any]:
    row: dict[str, Any] = {"judge": judge.name, "title": judge.title, "kind": judge.kind, "sign": judge.sign}
    row |= {"key": item.key, "truth": item.truth, "group": item.group, "value": None, "ms": None, "cpu_ms": None}
    try:
        picture = item.pixels()
        reference = item.reference() if item.reference is not None and judge.kind == "FR" else None
        clock, processor = time.perf_counter(), time.process_time()
        value = judge.measure(picture, reference)
        ms, cpu_ms = 1000 * (time.perf_counter() - clock), 1000 * (time.process_time() - processor)
        return row | {"value": value, "ms": ms, "cpu_ms": cpu_ms, "error": None}
    except IqaError as error:
        return row | {"error": str(error)}
    except Exception as error:  # a library of others may raise anything on a picture it cannot take
        return row | {"error": f"{type(error).__name__}: {error}"}


def _pictures_done(out: Path, made_with: dict[str, str]) -> int:
    """How many pictures a predictions file holds; one that was cut off in the middle of writing is removed."""
    if not out.exists():
        return 0
    written = out.read_bytes()
    whole = written[: written.rfind(b"\n") + 1]
    if len(whole) < len(written):
        out.write_bytes(whole)
    lines = [json.loads(line) for line in whole.splitlines()]
    for line in lines:
        for what, mine in made_with.items():
            theirs = line.get("made_with", {}).get(what)
            if theirs != mine:
                raise DataError(f"{out}: made with {what} {theirs}, not {mine}; name another folder")
    return len(lines)
