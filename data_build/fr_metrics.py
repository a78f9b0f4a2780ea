"""Full-reference metrics of a picture against its undistorted reference, computed by `piq`, as distances.

`import piq` needs torchvision for its deep features, and the published torchvision cannot be imported beside a CPU
build of torch. None of the metrics here uses it, so they are imported past the package's own `__init__`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np
import torch

from mllm_iqa.errors import DataError, MissingDependencyError

SHORT_SIDE = 384
"""Smaller pictures are continued by reflection to this height and width: VSI, FSIM and MDSI halve a picture of this
size, as they do the pictures of KADID-10k and TID2013 that human scores are known of, and would not halve a smaller
one."""


@dataclass(frozen=True, slots=True)
class _Metric:
    """A function of piq (in a module of the same name), its options, and its value for identical pictures."""

    function: str
    same: float
    options: dict[str, Any] = field(default_factory=dict)


_METRICS: dict[str, _Metric] = {
    "vsi": _Metric("vsi", 1.0),
    "fsim": _Metric("fsim", 1.0),
    "haarpsi": _Metric("haarpsi", 1.0),
    "haarpsi_fine": _Metric("haarpsi", 1.0, {"subsample": False}),
    "mdsi": _Metric("mdsi", 0.0),
    "gmsd": _Metric("gmsd", 0.0),
}

METRICS: tuple[str, ...] = tuple(_METRICS)
"""VSI (Zhang et al., 2014), FSIMc (Zhang et al., 2011), HaarPSI (Reisenhofer et al., 2018), HaarPSI of pictures that
are not halved before, MDSI (Nafchi et al., 2016), GMSD (Xue et al., 2014). All but `haarpsi_fine` average 2x2 pixels
first and cannot see what that removes, such as pixelation by two."""


_importing = Lock()


@cache
def _function(name: str) -> Callable[..., torch.Tensor]:
    """The function of that name of piq, without what its package imports besides."""
    spec = find_spec("piq")
    if spec is None or spec.submodule_search_locations is None:
        raise MissingDependencyError(
            "full-reference metrics need piq; install it with: pip install --no-deps 'piq>=0.8,<0.9' "
            "(torchvision, which it asks for, is not used here)"
        )
    with _importing:
        stand_in = ModuleType("piq")
        stand_in.__path__ = list(spec.submodule_search_locations)
        package = sys.modules.setdefault("piq", stand_in)
        try:
            module = import_module(f"piq.{name}")
        finally:
            if package is stand_in:
                del sys.modules["piq"]  # whoever imports the whole package gets the whole package
    function: Callable[..., torch.Tensor] = getattr(module, name)
    return function


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    """uint8 (H, W, 3) -> float32 (1, 3, H', W') in [0, 1], both sides at least `SHORT_SIDE`."""
    room = [max(0, SHORT_SIDE - side) for side in pixels.shape[:2]]
    if any(room):
        pixels = np.pad(pixels, [(r // 2, r - r // 2) for r in room] + [(0, 0)], mode="symmetric")
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float() / 255


def metric_values(picture: np.ndarray, reference: np.ndarray, *, metrics: Sequence[str] = METRICS) -> dict[str, float]:
    """The values of metrics, as published.

    Args:
        picture: uint8 RGB (H, W, 3), sides >= 32 px.
        reference: the same picture undistorted, of the same shape.
        metrics: names out of `METRICS`.

    Returns:
        Name -> value. VSI, FSIM and HaarPSI are similarities, 1 for identical pictures; MDSI and GMSD are deviations,
        0 for identical pictures. FSIM of two pictures without any feature (0 / 0) is taken for 1.

    Raises:
        DataError: another dtype or shape, or shapes that differ.
        MissingDependencyError: piq is not installed.
    """
    for what, pixels in (("picture", picture), ("reference", reference)):
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or min(pixels.shape[:2]) < 32:
            raise DataError(
                f"the {what} must be uint8 RGB of at least 32x32 pixels, got {pixels.dtype} of shape {pixels.shape}"
            )
    if picture.shape != reference.shape:
        raise DataError(
            "full-reference metrics compare pictures of one size, got a picture of "
            f"{picture.shape[1]}x{picture.shape[0]} and a reference of {reference.shape[1]}x{reference.shape[0]} "
            "pixels; resize the one to the other first"
        )
    x, y = _tensor(picture), _tensor(reference)
    values = {}
    with torch.inference_mode():
        for name in metrics:
            metric = _METRICS[name]
            value = float(_function(metric.function)(x, y, **metric.options))
            values[name] = metric.same if np.isnan(value) else value
    return values


def distances(picture: np.ndarray, reference: np.ndarray, *, metrics: Sequence[str] = METRICS) -> dict[str, float]:
    """How far a picture is from its reference by each metric: 0 for identical pictures, else above.

    Arguments and errors are those of `metric_values`. Of a similarity it is 1 - value, and not below 0 (FSIM exceeds 1
    where a picture has more features than its reference).
    """
    values = metric_values(picture, reference, metrics=metrics)
    return {name: max(0.0, value if _METRICS[name].same == 0 else 1 - value) for name, value in values.items()}
