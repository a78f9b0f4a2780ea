"""`mllm-iqa calibrate`: labels in, a calibration to the user's scale out, and what it is worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from .assistant import Assistant
from .calibration import Calibration, Label, calibrate, read_labels, save_calibration
from .calibration.fitting import Judged, Settings
from .errors import DataError
from .terminal import console, printable, show_table, spinner
from .types import Failure, Score

_BATCH = 8


def run(
    assistant: Assistant,
    table: Path,
    settings: Settings,
    *,
    to: str | Path,
    image_column: str | None = None,
    score_column: str | None = None,
    as_json: bool = False,
) -> int:
    """Score the labeled pictures, fit, measure, save, and say what came out; returns the exit status.

    Raises:
        IqaError: unusable labels, pictures or settings; nothing is written then.
    """
    labels = read_labels(table, image_column=image_column, score_column=score_column, limits=settings.limits)
    with spinner(f"scoring {len(labels)} pictures"):
        judged = judge(assistant, labels)
    made = calibrate(judged, [label.score for label in labels], settings)
    path = save_calibration(made, to)
    if as_json:
        print(json.dumps({"file": str(path), **summary(made)}, ensure_ascii=False, allow_nan=False, indent=2))
    else:
        _show(made, path)
    return 0


def judge(assistant: Assistant, labels: list[Label]) -> Judged:
    """What a model says of labeled pictures.

    Raises:
        DataError: one of them cannot be judged; a calibration leaves none out in silence.
    """
    scores: list[Score] = []
    plain = assistant.calibrated(None)
    results = plain.score_many([label.path for label in labels], explain=False, batch_size=_BATCH)
    for label, result in zip(labels, results, strict=True):
        if isinstance(result, Failure):
            raise DataError(f"{label.path}: cannot be judged ({result.error}); mend it or take its label out")
        scores.append(result)
    stds = [score.std for score in scores]
    return Judged(
        model=assistant.backend.name,
        weights=assistant.weights,
        prompt=scores[0].prompt,
        mos=np.array([score.mos for score in scores]),
        std=None if None in stds else np.array(stds, dtype=np.float64),
    )


def summary(made: Calibration) -> dict[str, Any]:
    """A calibration without the numbers of its map."""
    return made.model_dump(exclude={"values": True, "interval": {"left_out", "residuals"}})


def _show(made: Calibration, path: Path) -> None:
    out = console()
    word = "higher" if made.scale.higher_is_better else "lower"
    ends = "ends not stated" if made.scale.low is None else f"{made.scale.low:g} to {made.scale.high:g}"
    out.print(f"{made.name}: {made.n} labels for {made.model}, prompt {made.prompt}", markup=False)
    out.print(f"scale: {ends}, {word} is better; map: {made.shape}", markup=False)
    out.print(f"interval: {made.interval.method}; {made.interval.promise}", markup=False)
    for note in made.notes:
        out.print(f"note: {note}", markup=False)
    if made.report is not None:
        out.print(f"on held-out labels ({made.report['turns']} turns, each label held out once):", markup=False)
        rows = [
            [name, f"{figure['value']:.3f}", f"{figure['low']:.3f} to {figure['high']:.3f}", _count(figure)]
            for name, figure in made.report.items()
            if isinstance(figure, dict) and figure["value"] is not None
        ]
        show_table(["figure", "value", "95% interval", "n/total"], rows, on=out)
    where = made.name if path.parent.name == "calibrations" else str(path)
    out.print(f"saved: {printable(str(path))}; use it with `mllm-iqa score --calibration {where}`", markup=False)


def _count(figure: dict[str, Any]) -> str:
    return f"{figure['n']}/{figure['total']}"
