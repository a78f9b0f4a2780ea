"""Measure pictures with several judges in one run, into a predictions file that every figure is computed from."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mllm_iqa.agreement import Figure, bootstrap, plcc, srcc
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

    Judges take turns on each picture, so that all of them see the machine in the same state. The time is that of the
    measurement alone, pixels already decoded. Full-reference metrics sit out sets without any reference; in the others
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
    jobs = [(name, item) for name, items in sets.items() for item in items]
    compared = {name for name, item in jobs if item.reference is not None}
    for judge in judges if done < len(jobs) else ():
        _warm_up(judge, jobs[done][1])
    with out.open("a", encoding="utf-8") as file:
        for number, (name, item) in enumerate(jobs[done:], start=done + 1):
            rows = [_row(judge, name, item) for judge in judges if judge.kind != "FR" or name in compared]
            file.write(json.dumps({"picture": item.key, "made_with": made_with, "rows": rows}) + "\n")
            file.flush()
            yield number


def _warm_up(judge: Judge, item: Item) -> None:
    """First use builds parts and fills caches; it is not what a picture takes. Failures show in the rows."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    try:
        judge.measure(noise, noise[::-1].copy())
    except Exception:
        return


def _row(judge: Judge, set_name: str, item: Item) -> dict[str, Any]:
    row: dict[str, Any] = {"set": set_name, "judge": judge.name, "title": judge.title, "kind": judge.kind}
    row |= {"sign": judge.sign, "key": item.key, "truth": item.truth, "group": item.group}
    try:
        picture = item.pixels()
        reference = item.reference() if item.reference is not None and judge.kind == "FR" else None
        start = time.perf_counter()
        value = judge.measure(picture, reference)
        return row | {"value": value, "ms": 1000 * (time.perf_counter() - start), "error": None}
    except IqaError as error:
        return row | {"value": None, "ms": None, "error": str(error)}
    except Exception as error:  # a library of others may raise anything on a picture it cannot take
        return row | {"value": None, "ms": None, "error": f"{type(error).__name__}: {error}"}


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


@dataclass(frozen=True, slots=True)
class Result:
    """How one judge did on one set.

    Attributes:
        judge, title, kind: who; set: on what.
        srcc, plcc: with quality, the direction of the metric taken into account; raw values, no fitted mapping.
        ms: median milliseconds per picture.
        n: pictures with a value; total: pictures of the set.
        first_error: of a picture without a value; "" = none.
    """

    judge: str
    title: str
    kind: str
    set: str
    srcc: Figure
    plcc: Figure
    ms: float
    n: int
    total: int
    first_error: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values; NaN becomes None."""
        return {k: _plain(v) for k, v in asdict(self).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value


def results(predictions: Path) -> list[Result]:
    """Figures of a predictions file, in the order in which sets and judges first appear.

    Raises:
        DataError: a picture of a set was measured twice by one judge.
    """
    by: dict[tuple[str, str], list[dict[str, Any]]] = {}
    totals: dict[str, set[str]] = {}
    for line in predictions.read_text(encoding="utf-8").splitlines():
        for row in json.loads(line)["rows"]:
            by.setdefault((row["set"], row["judge"]), []).append(row)
            totals.setdefault(row["set"], set()).add(row["key"])
    return [_result(rows, len(totals[name])) for (name, _), rows in by.items()]


def _result(rows: list[dict[str, Any]], total: int) -> Result:
    first = rows[0]
    if len({row["key"] for row in rows}) < len(rows):
        raise DataError(f"{first['judge']} measured a picture of {first['set']} more than once")
    good = [row for row in rows if row["value"] is not None]
    values = np.array([row["sign"] * row["value"] for row in good], dtype=float)
    truth = np.array([row["truth"] for row in good], dtype=float)
    groups = [row["group"] for row in good]
    return Result(
        judge=first["judge"],
        title=first["title"],
        kind=first["kind"],
        set=first["set"],
        srcc=bootstrap(lambda i: srcc(values[i], truth[i]), groups, total=total),
        plcc=bootstrap(lambda i: plcc(values[i], truth[i]), groups, total=total),
        ms=float(np.median([row["ms"] for row in good])) if good else float("nan"),
        n=len(good),
        total=total,
        first_error=next((row["error"] for row in rows if row["error"]), ""),
    )


def markdown(found: Sequence[Result]) -> str:
    """One table per set, best SRCC first; what could not be measured says why."""
    lines: list[str] = []
    for name in dict.fromkeys(result.set for result in found):
        lines += [f"**{name}**", "", "| metric | kind | SRCC | PLCC, raw | ms per picture | n/total |"]
        lines.append("|---|---|---|---|---|---|")
        rows = [r for r in found if r.set == name]
        for r in sorted(rows, key=lambda r: -r.srcc.value if r.n and not np.isnan(r.srcc.value) else 9.0):
            figures = f"{_figure(r.srcc)} | {_figure(r.plcc)} | {r.ms:.0f}" if r.n else f"{r.first_error} | |"
            lines.append(f"| {r.title} | {r.kind} | {figures} | {r.n}/{r.total} |")
        lines.append("")
    return "\n".join(lines)


def _figure(figure: Figure) -> str:
    if np.isnan(figure.value):
        return "undefined"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
