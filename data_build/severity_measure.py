"""What full-reference metrics say of our distortions: the measurements that `severity_fit` maps to human means.

Every clean source is distorted by the 35 published implementations at their severities, at the parameters that
KADID-10k has human means of, and by random pairs. A source's measurements are one file, so that a killed run goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from mllm_iqa.errors import DataError
from mllm_iqa.output_file import replaced_at_end
from mllm_iqa.parallel import one_thread_each

from .crops import draw_distortions
from .distortions import DQ495K, apply
from .fr_metrics import distances
from .sources import Photo, clean_sources, read_rgb

PAIRS_PER_SOURCE = 10
_LEAST_SIDE, _MOST_SIDE = 320, 512


@dataclass(frozen=True, slots=True)
class SameParameter:
    """A real-valued severity of ours whose parameter is that of a level of KADID-10k.

    Attributes:
        distortion: name in `DQ495K`.
        severity: where our ladder reaches KADID's parameter.
        kadid_type: its name in the table of human means.
        level: KADID's, 1..5.
    """

    distortion: str
    severity: float
    kadid_type: str
    level: int


def _ladder(distortion: str, kadid_type: str, ours: tuple[float, ...], kadid: dict[int, float]) -> list[SameParameter]:
    """Rows for the parameters `kadid` (by level) within our ladder `ours` (at severities 0..5)."""
    direction = 1 if ours[-1] > ours[0] else -1
    xp = [direction * v for v in ours]
    return [
        SameParameter(distortion, round(float(np.interp(direction * v, xp, range(6))), 4), kadid_type, level)
        for level, v in kadid.items()
    ]


SAME_PARAMETERS: tuple[SameParameter, ...] = (
    *_ladder("blur.gaussian_blur", "gaussian blur", (0.3, 1, 2, 3, 4, 5), {2: 0.5, 3: 1, 4: 2, 5: 5}),
    *_ladder("blur.lens_blur", "lens blur", (0.6, 2, 3, 4, 6, 8), {1: 1, 2: 2, 3: 4, 4: 6, 5: 8}),
    *_ladder("compression.jpeg", "JPEG", (90, 25, 18, 12, 8, 5), {1: 43, 2: 36, 3: 24, 4: 7}),
    *_ladder(
        "noise.gaussian_noise",
        "white noise (RGB)",
        (0.01, 0.05, 0.10, 0.15, 0.20, 0.25),
        {level: var**0.5 for level, var in enumerate((0.001, 0.002, 0.003, 0.005, 0.01), 1)},
    ),
    *_ladder(
        "noise.speckle_noise",
        "multiplicative noise",
        (0.03, 0.14, 0.21, 0.28, 0.35, 0.42),
        {level: var**0.5 for level, var in enumerate((0.001, 0.005, 0.01, 0.02, 0.05), 1)},
    ),
    *_ladder(
        "noise.impulse_noise",
        "impulse noise",
        (0.002, 0.01, 0.03, 0.05, 0.07, 0.1),
        {2: 0.005, 3: 0.01, 4: 0.02, 5: 0.03},
    ),
    *_ladder("detail.oversharpen", "high sharpen", (0.5, 2, 2.8, 4, 6, 8), {1: 1, 2: 2, 3: 3, 4: 6}),
)
"""Parameters both have: sigma, radius, JPEG quality, variance, density, amount. KADID's are those of its authors' code
(Lin et al., 2019)."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One distorted picture.

    Attributes:
        source: file name of the photograph.
        distortions: (name, severity) in the order applied.
        distances: of every metric, see `fr_metrics.distances`.
    """

    source: str
    distortions: tuple[tuple[str, float], ...]
    distances: dict[str, float]


def choose_sources(photos: list[Photo], *, per_set: int) -> list[Path]:
    """The first `per_set` clean training photographs of each data set, in an order drawn once, by name.

    Raises:
        DataError: a data set has fewer.
    """
    chosen: list[Path] = []
    for dataset in sorted({p.dataset for p in photos}):
        paths = sorted(
            (p.path for p in clean_sources(photos) if p.dataset == dataset and p.split == "train"), key=lambda p: p.name
        )
        if len(paths) < per_set:
            raise DataError(f"{dataset}: {len(paths)} clean training photographs, {per_set} are needed")
        order = np.random.default_rng(0).permutation(len(paths))[:per_set]
        chosen += [paths[i] for i in order]
    return chosen


def _what_to_measure(rng: np.random.Generator) -> list[tuple[tuple[str, float], ...]]:
    """Every published implementation at 1..5, at KADID's parameters, and random pairs."""
    single = [((name, float(severity)),) for name in DQ495K for severity in range(1, 6)]
    same = [((s.distortion, s.severity),) for s in SAME_PARAMETERS]
    pairs: list[tuple[tuple[str, float], ...]] = []
    while len(pairs) < PAIRS_PER_SOURCE:
        drawn = draw_distortions(rng)
        if len(drawn) == 2:
            pairs.append(drawn)
    return list(dict.fromkeys([*single, *same, *pairs]))


def measure_source(path: Path, number: int, *, seed: int) -> Iterator[Measured]:
    """Every measurement of one photograph, the `number`-th; the same noise and angles at every severity of a kind.

    Raises:
        DataError: the photograph is not of the 320..512 px sides that the figures are about, or cannot be read.
    """
    cv2.setNumThreads(1)
    reference = read_rgb(path)
    if min(reference.shape[:2]) < _LEAST_SIDE or max(reference.shape[:2]) > _MOST_SIDE:
        raise DataError(f"{path}: {reference.shape[1]}x{reference.shape[0]} px; both sides must lie in 320..512")
    for distortions in _what_to_measure(np.random.default_rng([seed, number])):
        picture = reference
        for name, severity in distortions:
            picture = apply(name, picture, severity, np.random.default_rng([seed, number, DQ495K.index(name)]))
        yield Measured(path.name, distortions, distances(picture, reference))


def measure(sources: list[Path], folder: Path, *, seed: int) -> Iterator[Path]:
    """Write one JSONL file of measurements per source, unless it is there; yields each when it is complete."""
    folder.mkdir(parents=True, exist_ok=True)

    def write(numbered: tuple[int, Path]) -> Path:
        number, source = numbered
        path = folder / f"{seed}-{number:02d}-{source.stem}.jsonl"
        if not path.exists():
            with replaced_at_end(path) as file:
                for measured in measure_source(source, number, seed=seed):
                    file.write(json.dumps(asdict(measured)).encode() + b"\n")
        return path

    yield from one_thread_each(write, enumerate(sources))


def read_measured(paths: list[Path]) -> list[Measured]:
    """The measurements of these files, in order."""
    return [
        Measured(row["source"], tuple((n, s) for n, s in row["distortions"]), row["distances"])
        for path in paths
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())
    ]
