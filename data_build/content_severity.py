"""What a severity is worth in one picture: the human mean of its kind and level, corrected for the content.

The same blur costs a face more than a wall. How much more is read off full-reference metrics (`severity_map`), relative
to what they say of the same distortion on average (`severity_fit.json`). Distortions without a human row are judged by
the metrics alone. Formulas, errors and limits: docs/SEVERITY.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from mllm_iqa.errors import DataError

from .fr_metrics import distances
from .severity import CLEAN_MOS, human_sources, pseudo_mos, severity_table
from .severity_map import Term, damage, damage_of_mos, mos_of_damage

_LEAST_DAMAGE = 1e-12  # of a severity so small that its MOS rounds to that of a clean picture


@dataclass(frozen=True, slots=True)
class Correction:
    """What `severity_fit` found.

    Attributes:
        terms: of the map from distances to damage.
        typical: for each distortion the typical (geometric mean) damage that the map finds at severities 1..5.
        slope: the power of a picture's damage relative to the typical one, in [0, 1].
        pair_factor: typical damage of two distortions, over the sum of the two.
    """

    terms: tuple[Term, ...]
    typical: dict[str, tuple[float, ...]]
    slope: float
    pair_factor: float


@cache
def stored_correction() -> Correction:
    """The one that is shipped, `severity_fit.json`."""
    fit = json.loads((files(__package__) / "severity_fit.json").read_text(encoding="utf-8"))
    return Correction(
        tuple(Term(**term) for term in fit["map"]),
        {name: tuple(values) for name, values in fit["typical_damage"].items()},
        fit["slope"],
        fit["pair_factor"],
    )


def _log_ladders(name: str, correction: Correction) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the human and of the typical damage at severities 1..5."""
    return np.log(damage_of_mos(np.array(severity_table()[name][1:]))), np.log(correction.typical[name])


def _slope(name: str, correction: Correction) -> float:
    """The slope for a distortion: reduced where the metrics grow faster with severity than people's verdict."""
    human, typical = _log_ladders(name, correction)
    steps = np.diff(typical)
    allowed = np.diff(human)[steps > 0] / steps[steps > 0]
    return float(min(correction.slope, *allowed))


def typical_damage(name: str, severity: float, correction: Correction) -> float:
    """What the map typically finds at a real severity in (0, 5].

    Between the measured ones, log typical damage is linear in log human damage; below 1 they keep their ratio. (Linear
    in severity would break the order that `corrected_damage` keeps.)
    """
    human, typical = _log_ladders(name, correction)
    at = np.log(max(float(damage_of_mos(pseudo_mos([(name, severity)]))), _LEAST_DAMAGE))
    return float(np.exp(np.interp(at, human, typical) + min(0.0, float(at - human[0]))))


def corrected_damage(distortions: Sequence[tuple[str, float]], measured: float, correction: Correction) -> float:
    """Damage of one picture: human damage x (measured / typical)^slope, or the measured one where no human row is.

    Args:
        distortions: (name, severity in [0, 5]) in the order applied.
        measured: damage >= 0 that the map finds in the picture.
        correction: map, typical damages and slope.

    Returns:
        Damage >= 0. For one distortion it grows with its severity wherever `measured` does not fall: the slope is held
        to what that takes.
    """
    shown = [(name, severity) for name, severity in distortions if severity > 0]
    if not shown or any(name not in human_sources() or name not in correction.typical for name, _ in shown):
        return measured
    typical = sum(typical_damage(name, severity, correction) for name, severity in shown)
    if len(shown) > 1:
        typical *= correction.pair_factor
    slope = min(_slope(name, correction) for name, _ in shown)
    return float(damage_of_mos(pseudo_mos(shown)) * (measured / typical) ** slope)


def pseudo_mos_of_picture(
    distortions: Sequence[tuple[str, float]],
    picture: np.ndarray,
    reference: np.ndarray,
    *,
    clean_mos: float = CLEAN_MOS,
) -> float:
    """MOS in [1, 5] of one distorted picture.

    Args:
        distortions: (name, severity in [0, 5]) in the order applied. Names in the human table are worth its mean,
            corrected for the content; with any other name, or none, the metrics alone decide.
        picture: uint8 RGB (H, W, 3), sides >= 32 px.
        reference: the picture before distortion, of the same shape.
        clean_mos: of the reference, in [1, 5].

    Returns:
        1 + (clean_mos - 1) exp(-damage), at most `clean_mos`; equal to it where the two pictures are the same.

    Raises:
        DataError: a severity outside [0, 5], a clean_mos outside [1, 5], or pictures of another dtype or shape.
        MissingDependencyError: piq is not installed.
    """
    if not 1 <= clean_mos <= 5:
        raise DataError(f"clean_mos must lie in [1, 5], got {clean_mos}")
    for name, severity in distortions:
        if not 0 <= severity <= 5:
            raise DataError(f"severity of {name!r} must lie in [0, 5], got {severity}")
    correction = stored_correction()
    metrics = [term.metric for term in correction.terms]
    measured = float(damage(distances(picture, reference, metrics=metrics), correction.terms))
    left = (mos_of_damage(corrected_damage(distortions, measured, correction)) - 1.0) / (CLEAN_MOS - 1.0)
    return float(1.0 + (clean_mos - 1.0) * left)
