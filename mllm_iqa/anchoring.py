"""Scores from comparisons with pictures of known score, as Compare2Score does.

Every picture is compared with the same few anchors. Its score is the maximum a posteriori of Thurstone's model over the
picture and the anchors, P(i better than j) = Phi(q_i - q_j) with a standard normal prior on every q; a tie counts as
half a win for each. What the anchors are known to be worth then turns q into a MOS: the straight line through the
anchors by least squares.
Source: Zhu, Wu, Li, Zhang, Chen, Zhu, Fang and Wang, "Adaptive image quality assessment via teaching large multimodal
models to compare", NeurIPS 2024. Theirs rescales q to 0..100 by the least and the largest of a test set; here the scale
is the anchors' own, so that a score does not depend on what else is scored.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import log_ndtr

from .comparing import PAIRS_AT_ONCE, PROMPT, OutcomeStore, compare_pairs, remembered
from .errors import BackendError, DataError, ImageError
from .levels import MOS_MAX, MOS_MIN
from .picture_set import Known, PictureSet, Source
from .types import Failure, ImageInfo

if TYPE_CHECKING:
    from .assistant import Assistant

PACKAGE = "package"
LEAST_ANCHORS = 3


@dataclass(frozen=True, slots=True)
class Anchor:
    """A picture and what it is known to be worth, on 1..5."""

    path: str
    mos: float


@dataclass(frozen=True, slots=True)
class AnchoredScore:
    """What a picture is worth beside the anchors.

    Attributes:
        image: what was judged.
        index: its position among the pictures given, from 0.
        mos: on 1..5, on the anchors' scale, cut to its ends.
        error: standard error of it, from the comparisons alone.
        flips: comparisons with anchors whose two orders named different winners.
    """

    image: ImageInfo
    index: int
    mos: float
    error: float
    flips: int


@dataclass(frozen=True, slots=True)
class Anchored:
    """Pictures scored against anchors, best first.

    Attributes:
        images: best first.
        anchors: path, known MOS and MOS as read back, of each anchor; far apart = the model does not fit them.
        comparisons: pairs compared, those among the anchors included.
        failures: pictures that could not be read.
        model, prompt: names and versions of what compared them.
    """

    images: tuple[AnchoredScore, ...]
    anchors: tuple[dict[str, Any], ...]
    comparisons: int
    failures: tuple[Failure, ...]
    model: str
    prompt: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def thurstone_map(wins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maximum a posteriori of Thurstone's model with a standard normal prior.

    Args:
        wins: shape (N, N): how often i was better than j, ties as halves; 0 where they were not compared.

    Returns:
        Latent qualities, shape (N,), and their covariance, shape (N, N): the inverse Hessian of the negative log
        posterior. That is strictly convex, so the result is unique.
    """
    q = np.zeros(len(wins))
    for _ in range(100):
        gradient, hessian = _derivatives(q, wins)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while _loss(q - size * step, wins) > _loss(q, wins) and size > 1e-6:
            size /= 2
        q = q - size * step
        if float(np.abs(step).max()) < 1e-10:
            break
    return q, np.linalg.inv(_derivatives(q, wins)[1])


def _loss(q: np.ndarray, wins: np.ndarray) -> float:
    return float(-(wins * log_ndtr(q[:, None] - q[None, :])).sum() + 0.5 * q @ q)


def _derivatives(q: np.ndarray, wins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian; the derivative of log Phi(d) is r = phi(d) / Phi(d), its second -r (d + r)."""
    d = q[:, None] - q[None, :]
    r = np.exp(-0.5 * d**2 - 0.5 * math.log(2 * math.pi) - log_ndtr(d))
    first, second = wins * r, wins * r * (d + r)
    gradient = -(first.sum(axis=1) - first.sum(axis=0)) + q
    both = second + second.T
    return gradient, np.diag(both.sum(axis=1) + 1.0) - both


def scale_of(latent: np.ndarray, mos: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of the line from the anchors' latent qualities to their MOS, by least squares.

    Raises:
        DataError: the model does not order the anchors as their scores do.
    """
    slope, intercept = np.polyfit(latent, mos, 1) if np.ptp(latent) > 1e-9 else (0.0, 0.0)
    if slope <= 0:
        raise DataError("the model's comparisons of the anchors run against their scores; take other anchors")
    return float(slope), float(intercept)


def read_anchors(where: str) -> tuple[Anchor, ...]:
    """The anchors of the package, or of a CSV file with the columns `picture` (relative to the file) and `mos`.

    Raises:
        DataError: no such file, another form, a MOS outside 1..5, fewer than three anchors, or all of one MOS.
    """
    path = Path(str(files(__package__))) / "anchors" / "anchors.csv" if where == PACKAGE else Path(where)
    if not path.is_file():
        raise DataError(f"--anchors {where}: there is no such file; give {PACKAGE!r}, or a CSV of picture,mos")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    anchors = []
    for number, row in enumerate(rows, 2):
        try:
            mos = float(row["mos"])
            picture = row["picture"]
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{path}, line {number}: expected the columns picture and mos, a number") from None
        if not MOS_MIN <= mos <= MOS_MAX:
            raise DataError(f"{path}, line {number}: the MOS {mos:g} is outside {MOS_MIN:g}..{MOS_MAX:g}")
        anchors.append(Anchor(str(path.parent / picture), mos))
    if len(anchors) < LEAST_ANCHORS or len({anchor.mos for anchor in anchors}) < 2:
        raise DataError(f"{path}: {LEAST_ANCHORS} anchors or more are needed, not all of one MOS; got {len(anchors)}")
    return tuple(anchors)


def anchored_scores(
    assistant: Assistant,
    images: Sequence[Source],
    anchors: Sequence[Anchor],
    *,
    store: OutcomeStore | None = None,
    advance: Callable[[int, int], None] = lambda done, of: None,
) -> Anchored:
    """Score pictures by comparing each with every anchor, in both orders.

    Args:
        assistant: who judges.
        images: any number; each score is the picture's own, whatever else is scored.
        anchors: three or more, of different scores.
        store: of outcomes, which are not asked for again.
        advance: told the comparisons made and how many there will be.

    Raises:
        ImageError: an anchor that cannot be read, or no picture that can.
        DataError: the model orders the anchors against their scores.
        BackendError: the model cannot compare.
    """
    if "compare" not in assistant.can:
        raise BackendError(f"{assistant.backend.name} cannot compare pictures; score them instead")
    pictures = PictureSet(max_pixels=assistant.max_pixels)
    known = pictures.look_at([anchor.path for anchor in anchors])
    faults = [one.error for one in known if isinstance(one, Failure)]
    if faults:
        raise ImageError("; ".join(faults))
    fixed = [one.digest for one in known if isinstance(one, Known)]
    looked = pictures.look_at(images)
    readable = [(i, one) for i, one in enumerate(looked) if isinstance(one, Known)]
    if not readable:
        raise ImageError("; ".join(one.error for one in looked if isinstance(one, Failure)) or "there is no picture")

    def judge(pairs: Sequence[tuple[str, str]]) -> list[Any]:
        return compare_pairs(assistant.backend, [(pictures.picture(a), pictures.picture(b)) for a, b in pairs])

    among = list(combinations(range(len(fixed)), 2))
    distinct = sorted({one.digest for _, one in readable})
    pairs = [(fixed[i], fixed[j]) for i, j in among] + [(digest, anchor) for digest in distinct for anchor in fixed]
    ask, outcomes = remembered(judge, store), []
    for begin in range(0, len(pairs), PAIRS_AT_ONCE):
        outcomes += ask(pairs[begin : begin + PAIRS_AT_ONCE])
        advance(len(outcomes), len(pairs))
    of = dict(zip(pairs, outcomes, strict=True))
    count = len(fixed)
    base = np.zeros((count + 1, count + 1))
    for i, j in among:
        outcome = of[fixed[i], fixed[j]]
        base[i, j], base[j, i] = outcome.first + outcome.tie / 2, outcome.second + outcome.tie / 2
    mos = np.array([anchor.mos for anchor in anchors])
    alone, _ = thurstone_map(base[:count, :count])
    slope, intercept = scale_of(alone, mos)
    scored: dict[str, tuple[float, float, int]] = {}
    for digest in distinct:
        wins = base.copy()
        met = [of[digest, anchor] for anchor in fixed]
        wins[count, :count] = [outcome.first + outcome.tie / 2 for outcome in met]
        wins[:count, count] = [outcome.second + outcome.tie / 2 for outcome in met]
        latent, covariance = thurstone_map(wins)
        value = min(MOS_MAX, max(MOS_MIN, slope * float(latent[count]) + intercept))
        scored[digest] = (value, slope * math.sqrt(covariance[count, count]), sum(o.flip for o in met))
    rows = [AnchoredScore(one.info, i, *scored[one.digest]) for i, one in readable]
    return Anchored(
        images=tuple(sorted(rows, key=lambda row: (-row.mos, row.image.name))),
        anchors=tuple(
            {"picture": Path(a.path).name, "mos": a.mos, "read_back": slope * float(q) + intercept}
            for a, q in zip(anchors, alone, strict=True)
        ),
        comparisons=len(pairs),
        failures=tuple(one for one in looked if isinstance(one, Failure)),
        model=assistant.backend.name,
        prompt=PROMPT,
    )
