"""The calibrations that a service offers: each by its own name, each for one of its models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mllm_iqa.assistant import Assistant
from mllm_iqa.calibration import Calibration
from mllm_iqa.errors import CalibrationError


def checked(calibrations: Sequence[Calibration], assistants: Sequence[Assistant]) -> Mapping[str, Calibration]:
    """Calibrations by name.

    Raises:
        CalibrationError: one fits none of the models, or two have one name.
    """
    by_name: dict[str, Calibration] = {}
    for calibration in calibrations:
        if calibration.name in by_name:
            raise CalibrationError(f"two calibrations are called {calibration.name!r}; make one under another name")
        _check_fits_one(calibration, assistants)
        by_name[calibration.name] = calibration
    return by_name


def _check_fits_one(calibration: Calibration, assistants: Sequence[Assistant]) -> None:
    refusals = []
    for assistant in assistants:
        try:
            calibration.check_model(assistant.backend.name, assistant.weights)
            return
        except CalibrationError as error:
            refusals.append(error)
    raise refusals[0]
