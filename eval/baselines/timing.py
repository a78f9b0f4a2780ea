"""How long one picture takes our model and others, all in one run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mllm_iqa.assistant import Assistant

from ..speed import picture
from .random_weights import RANDOM_WEIGHTS, Time
from .running import metric_judge

METRICS = ("niqe", "brisque")


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds per picture on the clock: the median, the quartiles, and the median ratio to ours on the same picture."""

    title: str
    median: float
    low: float
    high: float
    times_ours: float


def time_judges(model: str = "nano", *, pictures: int = 12, others: Sequence[str] | None = None) -> list[Timed]:
    """Time our model, NIQE, BRISQUE and models with random weights on pictures of 512x384; ours comes first.

    They take turns on every picture, so that all of them see the machine in the same state.

    Args:
        model: a model name, folder or hub id of ours; runs on the CPU.
        pictures: how many, each another one.
        others: names out of `METRICS` and `RANDOM_WEIGHTS`; None = all.

    Raises:
        MissingDependencyError: a library that one of them needs is not installed.
        ValueError: a name that is none of them.
    """
    others = [*METRICS, *RANDOM_WEIGHTS] if others is None else others
    unknown = [name for name in others if name not in METRICS and name not in RANDOM_WEIGHTS]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is none of {', '.join([*METRICS, *RANDOM_WEIGHTS])}")
    assistant = Assistant.load(model, device="cpu")
    calls: dict[str, Time] = {
        f"{assistant.backend.name}, score": lambda x: assistant.score(x, explain=False),
        f"{assistant.backend.name}, score and explanation": assistant.score,
    }
    for name in others:
        if name in METRICS:
            judge = metric_judge(name)
            calls[judge.title] = lambda x, judge=judge: judge.measure(x, None)  # type: ignore[misc]
        else:
            title, build = RANDOM_WEIGHTS[name]
            calls[title] = build()
    seconds = np.empty((pictures + 1, len(calls)))
    for number in range(pictures + 1):
        shown = picture(number)
        for place, call in enumerate(calls.values()):
            with torch.inference_mode():
                start = time.perf_counter()
                call(shown)
                seconds[number, place] = time.perf_counter() - start
    seconds = seconds[1:]  # the first was a warm-up
    low, median, high = np.quantile(seconds, (0.25, 0.5, 0.75), axis=0)
    ratio = np.median(seconds / seconds[:, :1], axis=0)
    return [
        Timed(title, float(median[n]), float(low[n]), float(high[n]), float(ratio[n])) for n, title in enumerate(calls)
    ]
