"""A metric as a function of two pictures, whichever library computes it."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image

from mllm_iqa.errors import DataError, MissingDependencyError

from .catalogue import Baseline, Library, Weights
from .downloads import downloads

Measure: TypeAlias = Callable[[np.ndarray, np.ndarray | None], float]
"""uint8 RGB (H, W, 3) picture, and its reference where the metric takes one -> the metric's own value."""

_TensorMetric: TypeAlias = Callable[[torch.Tensor, torch.Tensor | None], Any]


def load(metric: Baseline, *, device: str = "cpu", download: bool = False) -> Measure:
    """The metric, ready to measure.

    Args:
        metric: out of the catalogue.
        device: torch device.
        download: let its library fetch weights that are not on this machine.

    Raises:
        MissingDependencyError: its library, or the package that ships its parameters, is not installed.
        Exception: whatever its library raises when it cannot be built; `probing` turns that into a reason.
    """
    if metric.library is Library.none:
        raise MissingDependencyError(f"{metric.title}: {metric.reason}")
    with downloads(download), _quiet():
        values = _LIBRARIES[metric.library](metric, torch.device(device))

    def measure(picture: np.ndarray, reference: np.ndarray | None) -> float:
        _check(metric, picture, reference)
        prepared = as_gray if metric.gray_8bit else np.array  # torch wants arrays it may write to: np.array copies
        x = tensor_of(prepared(picture), device)
        y = None if reference is None or not metric.full_reference else tensor_of(prepared(reference), device)
        # Some libraries build parts of a model when it is first used.
        with downloads(download), _quiet(), torch.inference_mode():
            value = float(values(x, y))
        if not np.isfinite(value):
            raise DataError(f"{metric.title} gives {value} here")
        return value

    return measure


def _check(metric: Baseline, picture: np.ndarray, reference: np.ndarray | None) -> None:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise DataError(f"expected uint8 RGB pixels (H, W, 3), got {picture.dtype} of shape {picture.shape}")
    if not metric.full_reference:
        return
    if reference is None:
        raise DataError(f"{metric.title} compares a picture with its reference, and there is none")
    if reference.shape != picture.shape:
        raise DataError(
            f"{metric.title} compares pictures of one size; the reference is {reference.shape[1]}x{reference.shape[0]} "
            f"and the picture {picture.shape[1]}x{picture.shape[0]} pixels"
        )


def as_gray(pixels: np.ndarray) -> np.ndarray:
    """Luma of ITU-R BT.601 rounded to 8 bits, as MATLAB's rgb2gray gives it, in three equal channels.

    Args:
        pixels: uint8 RGB (H, W, 3).

    Returns:
        A new array of the same shape and dtype.
    """
    return np.array(Image.fromarray(pixels).convert("L").convert("RGB"))


def tensor_of(pixels: np.ndarray, device: str = "cpu") -> torch.Tensor:
    """uint8 (H, W, 3), writable -> float32 (1, 3, H, W) in [0, 1]."""
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].to(device).float() / 255


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the deprecation warnings and progress lines of libraries we do not maintain."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _from_pyiqa(metric: Baseline, device: torch.device) -> _TensorMetric:
    import pyiqa

    logging.getLogger("pyiqa").setLevel(logging.WARNING)
    if metric.weights is Weights.package:
        return _with_shipped_parameters(metric, device)
    model: Any = pyiqa.create_metric(metric.call, device=device, **metric.options)
    return lambda x, y: model(x, y) if metric.full_reference else model(x)


def _with_shipped_parameters(metric: Baseline, device: torch.device) -> _TensorMetric:
    from .shipped import brisque_machine, niqe_metric

    if metric.name == "niqe":
        niqe = niqe_metric().to(device).eval()
        return lambda x, _: niqe(x)
    from pyiqa.archs.brisque_arch import brisque

    machine = brisque_machine()
    fixed = {
        "sv_coef": machine.coefficients.to(device),
        "sv": machine.vectors.to(device),
        "gamma": machine.gamma,
        "rho": machine.rho,
    }
    return lambda x, _: brisque(x, **fixed)


def _from_piq(metric: Baseline, _: torch.device) -> _TensorMetric:
    import piq

    function = getattr(piq, metric.call)
    return lambda x, y: function(x, y, **metric.options) if metric.full_reference else function(x, **metric.options)


def _from_skimage(metric: Baseline, _: torch.device) -> _TensorMetric:
    import skimage.measure

    function = getattr(skimage.measure, metric.call)
    return lambda x, _: function(x[0].permute(1, 2, 0).cpu().numpy(), channel_axis=2, **metric.options)


_LIBRARIES: dict[Library, Callable[[Baseline, torch.device], _TensorMetric]] = {
    Library.pyiqa: _from_pyiqa,
    Library.piq: _from_piq,
    Library.skimage: _from_skimage,
}
