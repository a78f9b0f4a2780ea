"""Score: every number from a predictions file alone, no model, no pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mllm_iqa.errors import DataError
from mllm_iqa.output_file import replaced_at_end

from .leakage import trained_on
from .parts import task_of
from .predictions import Predictions, read_predictions
from .results import plain
from .task import TaskSpec

RESULTS_NAME = "results.json"


def score(predictions: Predictions) -> dict[str, Any]:
    """All results of a predictions file as plain JSON values.

    Raises:
        DataError: predictions of a task that this version does not know.
    """
    task = task_of(spec_of(predictions))
    answered = sum("answer" in row for row in predictions.rows)
    header = predictions.header
    return {
        "task": header["task"],
        "title": task.spec.title,
        "model": header["model"],
        "weights": header["weights"],
        "judge": header["judge"],
        "prompts": list(task.spec.prompts),
        "n_scored": answered,
        "n_total": len(predictions.rows),
        "predictions": {"file": predictions.path.name, "sha256": predictions.sha256},
        "items_sha256": header["items_sha256"],
        "trained_on": trained_on(predictions.rows, header["training_data"]),
        "package": header["package"],
        "sections": [section.to_dict() for section in task.sections(predictions.rows)],
    }


def spec_of(predictions: Predictions) -> TaskSpec:
    """The task file that predictions were made with, as it was then."""
    try:
        return TaskSpec.model_validate(predictions.header["spec"])
    except ValueError as error:
        raise DataError(f"{predictions.path}: its header describes no task of this version: {error}") from error


def score_file(path: Path) -> dict[str, Any]:
    """Score a predictions file and write `results.json` beside it; returns the results."""
    predictions = read_predictions(path)
    results = score(predictions)
    with replaced_at_end(predictions.path.with_name(RESULTS_NAME)) as file:
        file.write((json.dumps(plain(results), indent=2, ensure_ascii=False) + "\n").encode())
    return results
