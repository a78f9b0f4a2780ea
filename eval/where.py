"""How well maps find local damage: against the masks of a set written by `mllm-iqa data local`, beside trivial maps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.stats import rankdata

from mllm_iqa.agreement import Figure, bootstrap
from mllm_iqa.assistant import Assistant
from mllm_iqa.errors import DataError
from mllm_iqa.where import THRESHOLDS, Method, QualityMap, map_of

from .metrics.regions import mask_iou

STEP = 4
"""Maps and masks are compared at every fourth pixel in both directions."""
_CANDIDATES = np.linspace(0.05, 0.95, 19)
_COLUMNS = ("pixels", "mask", "height", "width", "source", "family", "kind", "severity")


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A picture (uint8 RGB), the mask of its damage (bool, all False = clean), its source and what was done to it."""

    pixels: np.ndarray
    mask: np.ndarray
    source: str
    family: str
    kind: str
    severity: int


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What one method said of one item: the map and the mask at every `STEP`-th pixel, and its regions."""

    item: Item
    damage: np.ndarray
    mask: np.ndarray
    found: QualityMap | None


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """Figures of one method over the damaged pictures, except the last two.

    Attributes:
        method: its name.
        auc: mean over pictures of the area under the ROC curve of its pixels; 0.5 = chance.
        iou: mean intersection over union of the mask and what lies above `threshold`.
        threshold: that the method says damage begins at; None = it has none, and the best one was taken.
        best_iou: the same at the threshold that is best on these very pictures, for comparison alone.
        family: share of pictures in which a box of the right family overlaps with the damage's own box by 0.3 or
            more (IoU); None = no boxes.
        clean_share: share of clean pictures that is called damaged, mean; clean_quiet: clean pictures without a box.
    """

    method: str
    auc: Figure
    iou: Figure
    threshold: float | None
    best_iou: Figure
    family: Figure | None
    clean_share: Figure | None
    clean_quiet: Figure | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def read_items(path: Path, *, damaged: int | None = None, clean: int | None = None, seed: int = 0) -> list[Item]:
    """The items of a set, damaged ones first; fewer of each, drawn with `seed`, where a number says so.

    Raises:
        DataError: no such file, or another table.
    """
    if not path.is_file():
        raise DataError(f"{path}: not found; `mllm-iqa data local` writes it")
    table = pq.read_table(path)
    if not set(_COLUMNS) <= set(table.column_names):
        raise DataError(f"{path}: a set of local damage has the columns {', '.join(_COLUMNS)}; `mllm-iqa data local` "
                        "writes one")  # fmt: skip
    severities = table.column("severity").to_numpy()
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    for wanted, places in ((damaged, np.flatnonzero(severities > 0)), (clean, np.flatnonzero(severities == 0))):
        kept = places if wanted is None or wanted >= len(places) else rng.choice(places, wanted, replace=False)
        chosen += sorted(int(i) for i in kept)
    return [_item(row) for row in table.take(chosen).to_pylist()]


def _item(row: dict[str, Any]) -> Item:
    shape = row["height"], row["width"]
    bits = np.unpackbits(np.frombuffer(row["mask"], np.uint8))[: shape[0] * shape[1]]
    pixels = np.frombuffer(row["pixels"], np.uint8).reshape(*shape, 3)
    mask = bits.reshape(shape).astype(bool)
    return Item(pixels, mask, row["source"], row["family"], row["kind"], row["severity"])


def auc(damage: np.ndarray, mask: np.ndarray) -> float:
    """Probability that a damaged pixel has a higher value than a clean one, ties counting half.

    Args:
        damage: any shape.
        mask: bool, the same shape.

    Returns:
        In [0, 1]; NaN where the mask is empty or full.
    """
    inside = mask.ravel()
    n = int(inside.sum())
    if n in (0, inside.size):
        return float("nan")
    ranks = rankdata(damage.ravel())
    return float((ranks[inside].sum() - n * (n + 1) / 2) / (n * (inside.size - n)))


def uniform(shape: tuple[int, int]) -> np.ndarray:
    """A map that says nothing: 1 everywhere, float32 (H, W)."""
    return np.ones(shape, np.float32)


def center_prior(shape: tuple[int, int]) -> np.ndarray:
    """A map that says "in the middle": a Gaussian, a third of each side its standard deviation; float32 (H, W)."""
    y, x = (np.linspace(-1.5, 1.5, n, dtype=np.float32) for n in shape)
    return np.asarray(np.exp(-0.5 * (y[:, None] ** 2 + x**2)), dtype=np.float32)


def readings(
    assistant: Assistant, items: Sequence[Item], methods: Sequence[Method], advance: Callable[[], None] = lambda: None
) -> dict[str, list[Reading]]:
    """What every method, and the two trivial maps, say of every item."""
    out: dict[str, list[Reading]] = {name: [] for name in ("uniform", "center", *methods)}
    for item in items:
        for name, trivial in (("uniform", uniform), ("center", center_prior)):
            out[name].append(_reading(item, trivial(item.mask.shape), None))
        for method in methods:
            found = map_of(assistant, item.pixels, method=method)
            out[method].append(_reading(item, found.at_full_size(), found))
        advance()
    return out


def _reading(item: Item, damage: np.ndarray, found: QualityMap | None) -> Reading:
    return Reading(item, damage[::STEP, ::STEP], item.mask[::STEP, ::STEP], found)


def figures(read: dict[str, list[Reading]]) -> Iterator[MethodFigures]:
    """The figures of each method; intervals resample sources."""
    for name, some in read.items():
        damaged = [r for r in some if r.item.severity > 0]
        clean = [r for r in some if r.item.severity == 0]
        overlaps = np.array([[mask_iou(r.damage >= t, r.mask) for t in _CANDIDATES] for r in damaged])
        best = int(overlaps.mean(axis=0).argmax()) if damaged else 0
        threshold = THRESHOLDS.get(name)
        own = (
            overlaps[:, best] if threshold is None and damaged else np.array([_overlap(r, threshold) for r in damaged])
        )
        boxed = all(r.found is not None and r.found.regions is not None for r in some) and name != "attribution"
        yield MethodFigures(
            name,
            _mean([auc(r.damage, r.mask) for r in damaged], damaged),
            _mean(list(own), damaged),
            threshold,
            _mean(list(overlaps[:, best]) if damaged else [], damaged),
            _mean([float(_family_found(r)) for r in damaged], damaged) if boxed else None,
            _mean([float((r.damage >= threshold).mean()) for r in clean], clean) if threshold is not None else None,
            _mean([float(not (r.found and r.found.regions)) for r in clean], clean) if boxed else None,
        )


def _overlap(reading: Reading, threshold: float | None) -> float:
    return mask_iou(reading.damage >= (0.5 if threshold is None else threshold), reading.mask)


def _family_found(reading: Reading) -> bool:
    """Whether a box of the right family lies where the damage does."""
    rows, columns = np.nonzero(reading.item.mask)
    truth = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    regions = reading.found.regions if reading.found is not None else None
    return any(r.family == reading.item.family and box_iou(r.box, truth) >= 0.3 for r in regions or ())


def box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom), in [0, 1]; 0 where both are empty."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    common = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
    return float(common / union) if union > 0 else 0.0


def _mean(values: Sequence[float], of: Sequence[Reading]) -> Figure:
    known = [(v, r.item.source) for v, r in zip(values, of, strict=True) if not np.isnan(v)]
    numbers = np.array([v for v, _ in known])
    return bootstrap(lambda i: float(numbers[i].mean()), [source for _, source in known], total=len(of))


def by_family(read: Sequence[Reading]) -> dict[str, tuple[float, int]]:
    """Mean AUC of one method for each family of distortions, and how many pictures it rests on."""
    families = sorted({r.item.family for r in read if r.item.severity > 0})
    values = {f: [auc(r.damage, r.mask) for r in read if r.item.family == f] for f in families}
    return {f: (float(np.nanmean(v)), len(v)) for f, v in values.items()}


def markdown(model: str, found: Sequence[MethodFigures], families: dict[str, dict[str, tuple[float, int]]]) -> str:
    """The figures as tables."""
    lines = [f"# Where: {model}", "", "Mean [95 % interval over sources], n/total.", ""]
    head = ["map", "AUC", "IoU", "from", "IoU, best threshold", "right family, box IoU >= 0.3"]
    head += ["clean: share called damaged", "clean: no box"]
    lines += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for f in found:
        cells = [f.auc, f.iou, "best" if f.threshold is None else f.threshold, f.best_iou, f.family]
        cells += [f.clean_share, f.clean_quiet]
        lines.append(f"| {f.method} | " + " | ".join("" if c is None else str(c) for c in cells) + " |")
    names = list(families)
    lines += ["", "AUC by family:", "", "| family | n | " + " | ".join(names) + " |", "|---|---|" + "---|" * len(names)]
    for family in sorted({f for values in families.values() for f in values}):
        n = families[names[0]][family][1]
        lines.append(f"| {family} | {n} | " + " | ".join(f"{families[m][family][0]:.2f}" for m in names) + " |")
    return "\n".join(lines) + "\n"
