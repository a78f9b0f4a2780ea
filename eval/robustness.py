"""How much a score moves where it should not, and whether it falls where it should: numbers, not verdicts."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mllm_iqa.agreement import Figure, bootstrap
from mllm_iqa.assistant import Assistant
from mllm_iqa.errors import BackendError, DataError, IqaError
from mllm_iqa.images import ImageSource, load_image
from mllm_iqa.levels import level_probs, mos_of
from mllm_iqa.prompt_files import load_prompt
from mllm_iqa.rating import level_logprobs

from .adversarial import BUDGETS_255THS, attacked, noisy
from .perturbations import CHANGES, CONTROL_TEXT, INJECTIONS, LADDERS, injected, ladder

ATTACK_SIDE = 256
"""Attacks and their controls see the middle of a picture, at most this many pixels a side."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Scores of changed pictures minus scores of the same pictures unchanged, in MOS.

    Attributes:
        what: the group of changes; change: one of them.
        mean_abs: mean absolute shift with a 95 % interval over pictures, n and total in it.
        mean: mean shift with its sign; p95, largest: of the absolute shifts.
        first_error: of a picture that could not be scored; "" = none.
    """

    what: str
    change: str
    mean_abs: Figure
    mean: float
    p95: float
    largest: float
    first_error: str = ""


@dataclass(frozen=True, slots=True)
class Ladders:
    """Whether scores fall along ladders of one distortion.

    Attributes:
        distortion: its name.
        ladders: how many were scored; total: how many there were.
        steps: neighbouring pairs compared; violations: those in which the worse picture scored higher.
        ladders_with_violations: ladders that hold at least one.
        largest: the largest rise in MOS at such a step; 0 = none.
    """

    distortion: str
    ladders: int
    total: int
    steps: int
    violations: int
    ladders_with_violations: int
    largest: float


@dataclass(frozen=True, slots=True)
class Report:
    """Everything measured, for JSON and Markdown.

    Attributes:
        model: name and version; pictures: how many; shifts, ladders: the figures.
        order_flips: share of comparisons whose two orders disagree; None = no pairs.
        skipped: what was not measured, and why.
    """

    model: str
    pictures: int
    shifts: tuple[Shift, ...]
    ladders: tuple[Ladders, ...]
    order_flips: Figure | None
    skipped: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values; NaN becomes None."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and np.isnan(value) else value


def mos_or_error(assistant: Assistant, source: ImageSource) -> float | str:
    """The MOS, or why there is none."""
    try:
        return assistant.score(source, explain=False).mos
    except IqaError as error:
        return str(error)


def shift(what: str, change: str, before: Sequence[float | str], after: Sequence[float | str]) -> Shift:
    """The figures of one change.

    Args:
        what: the group of changes.
        change: its name.
        before: MOS, or an error, of each picture.
        after: the same of the changed pictures.
    """
    pairs = list(zip(before, after, strict=True))
    moved = np.array([b - a for a, b in pairs if not isinstance(a, str) and not isinstance(b, str)])
    errors = [v for pair in pairs for v in pair if isinstance(v, str)]
    size = np.abs(moved)
    figure = bootstrap(lambda i: float(size[i].mean()), [str(i) for i in range(len(moved))], total=len(pairs))
    nan = float("nan")
    mean, p95, largest = (
        (float(moved.mean()), float(np.percentile(size, 95)), float(size.max())) if len(moved) else (nan, nan, nan)
    )
    return Shift(what, change, figure, mean, p95, largest, errors[0] if errors else "")


def stability(assistant: Assistant, pictures: Sequence[np.ndarray], before: Sequence[float | str]) -> Iterator[Shift]:
    """Shifts under changes that no viewer would call another quality."""
    for change in CHANGES:
        after = [mos_or_error(assistant, change.apply(pixels)) for pixels in pictures]
        yield shift("harmless change", change.name, before, after)


def paraphrases(assistant: Assistant, pictures: Sequence[np.ndarray]) -> Iterator[Shift]:
    """Shifts when the rating is asked for in other words (the questions of `rate.v2`) than the canonical ones."""
    prompt = load_prompt("rate.v2")
    loaded = [load_image(pixels, max_pixels=assistant.max_pixels) for pixels in pictures]
    by_question = []
    for question in prompt.questions:
        probs = [level_probs(level_logprobs(assistant.backend, prompt, [[p]], question)[0]) for p in loaded]
        by_question.append([float(mos_of(p)) for p in probs])
    for question, mos in zip(prompt.questions[1:], by_question[1:], strict=True):
        yield shift("other words", question, by_question[0], mos)


def injections(assistant: Assistant, pictures: Sequence[np.ndarray]) -> Iterator[Shift]:
    """Shifts when text in the picture praises it, against the same band with other text."""
    before = [mos_or_error(assistant, injected(pixels, CONTROL_TEXT)) for pixels in pictures]
    for text in INJECTIONS:
        after = [mos_or_error(assistant, injected(pixels, text)) for pixels in pictures]
        yield shift(f'text in the picture, against "{CONTROL_TEXT}"', f'"{text}"', before, after)


def attacks(assistant: Assistant, pictures: Sequence[np.ndarray], *, steps: int = 10) -> Iterator[Shift]:
    """Shifts by adversarial noise of each budget, up and down, and by random noise of the same size.

    Raises:
        BackendError: a model without a differentiable score.
    """
    from mllm_iqa.differentiable import DifferentiableScore

    score = DifferentiableScore(assistant, gaming_is_handled=True)  # gaming is what is measured
    middles = [cropped_to(pixels, ATTACK_SIDE) for pixels in pictures]
    before = [mos_or_error(assistant, pixels) for pixels in middles]
    for budget in BUDGETS_255THS:
        for name, up in (("raised", True), ("lowered", False)):
            moved = [attacked(p, score, budget_255ths=budget, raise_it=up, steps=steps) for p in middles]
            after = [mos_or_error(assistant, pixels) for pixels in moved]
            yield shift("noise within a budget", f"adversarial, {budget}/255, {name}", before, after)
        after = [mos_or_error(assistant, noisy(p, budget_255ths=budget, seed=i)) for i, p in enumerate(middles)]
        yield shift("noise within a budget", f"random, {budget}/255", before, after)


def cropped_to(pixels: np.ndarray, side: int) -> np.ndarray:
    """The middle, at most `side` pixels wide and high."""
    height, width = (min(side, s) for s in pixels.shape[:2])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return np.ascontiguousarray(pixels[top : top + height, left : left + width])


def monotonicity(assistant: Assistant, ladders: Mapping[str, Sequence[Sequence[np.ndarray]]]) -> Iterator[Ladders]:
    """Violations along ladders.

    Args:
        assistant: the model.
        ladders: distortion -> ladders, each a list of pictures from best to worst.
    """
    for distortion, rungs in ladders.items():
        scored = [[mos_or_error(assistant, pixels) for pixels in one] for one in rungs]
        yield violations(distortion, scored)


def violations(distortion: str, scored: Sequence[Sequence[float | str]]) -> Ladders:
    """Count the rises in MOS along ladders that should only fall; a ladder with an error is left out of the count."""
    good = [[m for m in one if not isinstance(m, str)] for one in scored]
    whole = [one for one, all_ in zip(good, scored, strict=True) if len(one) == len(all_)]
    rises = [[worse - better for better, worse in itertools.pairwise(one)] for one in whole]
    return Ladders(
        distortion,
        len(whole),
        len(scored),
        sum(len(r) for r in rises),
        sum(x > 0 for r in rises for x in r),
        sum(any(x > 0 for x in r) for r in rises),
        max((x for r in rises for x in r if x > 0), default=0.0),
    )


def simple_ladders(pictures: Sequence[np.ndarray]) -> dict[str, list[list[np.ndarray]]]:
    """Ladders of the pictures by Pillow alone."""
    return {kind: [ladder(pixels, kind) for pixels in pictures] for kind in LADDERS}


def stored_ladders(rows: Sequence[dict[str, Any]]) -> dict[str, list[list[np.ndarray]]]:
    """Ladders of a set written by `mllm-iqa data heldout`, by family: the clean source, then severities 1 to 5.

    Raises:
        DataError: rows without pixels, source or severity.
    """
    needed = ("pixels", "height", "width", "source", "family", "distortion", "severity")
    if not rows or any(name not in rows[0] for name in needed):
        raise DataError(f"a table of ladders has the columns {', '.join(needed)}; `mllm-iqa data heldout` writes one")
    pixels = {
        (r["source"], r["distortion"], r["severity"]): np.frombuffer(r["pixels"], np.uint8).reshape(
            r["height"], r["width"], 3
        )
        for r in rows
    }
    family = {r["distortion"]: r["family"] for r in rows}
    out: dict[str, list[list[np.ndarray]]] = defaultdict(list)
    for source, distortion in dict.fromkeys((s, d) for s, d, severity in pixels if severity > 0):
        clean = next((p for (s, _, severity), p in pixels.items() if s == source and severity == 0), None)
        rungs = [pixels.get((source, distortion, severity)) for severity in range(1, 6)]
        out[family[distortion]].append([p for p in (clean, *rungs) if p is not None])
    return dict(out)


def order(assistant: Assistant, pictures: Sequence[np.ndarray]) -> Figure | None:
    """How often the two orders of a comparison disagree, over neighbouring pictures; None for a single picture."""
    pairs = list(itertools.pairwise(pictures))
    if not pairs:
        return None
    flips = np.array([assistant.compare(a, b, explain=False).order_flip for a, b in pairs], dtype=float)
    return bootstrap(lambda i: float(flips[i].mean()), [str(i) for i in range(len(pairs))], total=len(pairs))


def measure(
    assistant: Assistant,
    pictures: Sequence[np.ndarray],
    *,
    ladders: Mapping[str, Sequence[Sequence[np.ndarray]]] | None = None,
    attack_pictures: int = 8,
    attack_steps: int = 10,
) -> Report:
    """The whole suite.

    Args:
        assistant: the model.
        pictures: uint8 RGB (H, W, 3), at least one.
        ladders: see `monotonicity`; None = `simple_ladders` of the pictures.
        attack_pictures: how many of the pictures are attacked (each takes 60 gradient steps by default); 0 = none.
        attack_steps: gradient steps of an attack.
    """
    if not pictures:
        raise DataError("robustness needs at least one picture")
    before = [mos_or_error(assistant, pixels) for pixels in pictures]
    shifts = [*stability(assistant, pictures, before), *paraphrases(assistant, pictures)]
    shifts += injections(assistant, pictures)
    skipped = []
    try:
        shifts += attacks(assistant, pictures[:attack_pictures], steps=attack_steps) if attack_pictures else ()
    except BackendError as error:
        skipped.append(f"adversarial noise: {error}")
    found = monotonicity(assistant, simple_ladders(pictures) if ladders is None else ladders)
    return Report(
        assistant.backend.name,
        len(pictures),
        tuple(shifts),
        tuple(found),
        order(assistant, pictures),
        tuple(skipped),
    )


def markdown(report: Report) -> str:
    """The report as tables."""
    lines = [f"# Robustness of {report.model}", "", f"{report.pictures} pictures; shifts in MOS (1 to 5).", ""]
    lines += ["| change | | mean abs shift (95 % interval) | mean shift | 95th percentile | largest | n/total |"]
    lines.append("|---|---|---|---|---|---|---|")
    for s in report.shifts:
        f = s.mean_abs
        figures = f"{f.value:.3f} ({f.low:.3f} to {f.high:.3f}) | {s.mean:+.3f} | {s.p95:.3f} | {s.largest:.3f}"
        lines.append(f"| {s.what} | {s.change} | {figures if f.n else s.first_error + ' | | |'} | {f.n}/{f.total} |")
    lines += ["", "Ladders of one distortion, each step worse than the one before:", ""]
    lines += ["| distortion | violations | ladders with one | largest rise in MOS | ladders |", "|---|---|---|---|---|"]
    for x in report.ladders:
        counts = f"{x.violations}/{x.steps} | {x.ladders_with_violations}/{x.ladders} | {x.largest:.3f}"
        lines.append(f"| {x.distortion} | {counts} | {x.ladders}/{x.total} |")
    if report.order_flips is not None:
        lines += ["", f"Comparisons whose two orders disagree: {report.order_flips}"]
    lines += ["", *(f"Not measured: {reason}" for reason in report.skipped)] if report.skipped else []
    return "\n".join(lines) + "\n"
