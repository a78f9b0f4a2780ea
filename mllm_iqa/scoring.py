"""From log-probabilities of words to scores, findings and winners. Pure functions; no model here."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence, Set

import numpy as np

from .checkpoints import IntervalCard
from .levels import LEVELS, MOS_MAX, MOS_MIN, SEVERITIES
from .taxonomy import FAMILIES, FAMILY_OF, KINDS
from .types import Interval, Winner

_NORMAL_90 = 1.6448536269514722
_ROUNDING = 1e-9


def interval_of(mos: float, std: float, card: IntervalCard | None) -> Interval:
    """The interval mos +- multiplier * std, cut to [1, 5].

    Args:
        mos: of the level distribution.
        std: of the level distribution.
        card: the checkpoint's calibration; without one the multiplier is that of a normal distribution at 90 %
            and the source says that it is uncalibrated.
    """
    multiplier, coverage = (card.multiplier, card.coverage) if card is not None else (_NORMAL_90, 0.9)
    source = card.calibrated_on if card is not None else "level distribution (uncalibrated)"
    low, high = max(MOS_MIN, mos - multiplier * std), min(MOS_MAX, mos + multiplier * std)
    return Interval(low, high, coverage, source)


def normalised(logprobs: np.ndarray) -> np.ndarray:
    """Probabilities over the candidates alone: softmax over the last axis of natural-log probabilities."""
    x = np.asarray(logprobs, dtype=np.float64)
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def main_kind(none_probability: float, kind_probs: np.ndarray, exclude: frozenset[str] = frozenset()) -> str | None:
    """The distortion kind a picture shows, or None when it is no less probable that there is none at all.

    The family is chosen first, by the summed probability of its kinds, so that a family of many similar kinds does
    not lose to a family of one; then the most probable kind of that family.

    Args:
        none_probability: of a clean picture, 0..1.
        kind_probs: shape (len(KINDS),), aligned with `KINDS`; with `none_probability` they sum to 1.
        exclude: families that must not be chosen (those already found).
    """
    by_family = {f: 0.0 for f in FAMILIES if f not in exclude}
    for kind, p in zip(KINDS, kind_probs, strict=True):
        if FAMILY_OF[kind] in by_family:
            by_family[FAMILY_OF[kind]] += float(p)
    family = max(by_family, key=lambda f: by_family[f])
    if none_probability >= 0.5 or not by_family[family]:
        return None
    members = {k: float(p) for k, p in zip(KINDS, kind_probs, strict=True) if FAMILY_OF[k] == family}
    return max(members, key=lambda k: members[k])


def severity_of(probs: np.ndarray, none_probability: float = 0.0) -> int:
    """Severity 1..5 from probabilities of the five severity words, slight first: their median, the milder of two.

    The median is the answer with the smallest expected distance to the true severity; the most probable word may lie
    far from where most of the probability is.

    Args:
        probs: shape (5,), of the words, given that there is damage.
        none_probability: that there is none, in 0..0.5, which counts as severity 0: damage that may not be there is not
            said to be severe.
    """
    words = np.asarray(probs, dtype=np.float64)
    below = none_probability + (1 - none_probability) * np.cumsum(words) / words.sum()
    return 1 + int(np.argmax(below >= 0.5 - _ROUNDING))


def winner_of(forward: np.ndarray, backward: np.ndarray) -> tuple[Winner, dict[str, float], bool]:
    """The better of two pictures from both orders of presentation.

    Args:
        forward: probabilities (first better, second better, equal) when a is shown first.
        backward: the same when b is shown first.

    Returns:
        The winner, probabilities of "a", "b" and "tie" averaged over the orders, and whether the orders disagreed.
        Exchanging the arguments exchanges "a" and "b" and changes nothing else; a picture ties with itself.
    """
    orders: list[dict[str, float]] = [
        {"a": float(forward[0]), "b": float(forward[1]), "tie": float(forward[2])},
        {"a": float(backward[1]), "b": float(backward[0]), "tie": float(backward[2])},
    ]
    mean = {key: (orders[0][key] + orders[1][key]) / 2 for key in orders[0]}
    return _most_probable(mean), mean, _most_probable(orders[0]) != _most_probable(orders[1])


def _most_probable(probs: dict[str, float]) -> Winner:
    """The winner of one set of probabilities; exactly equal ones for "a" and "b" are a tie, whatever that one's own."""
    names: tuple[Winner, ...] = ("a", "b", "tie")
    return "tie" if probs["a"] == probs["b"] else max(names, key=lambda w: probs[w])


def geometric_mean(probabilities: Sequence[float]) -> float:
    """Geometric mean of probabilities in [0, 1]; 0 if any is 0. At least one is required."""
    if not probabilities:
        raise ValueError("the geometric mean of no probabilities is undefined")
    if min(probabilities) <= 0:
        return 0.0
    return math.exp(sum(math.log(p) for p in probabilities) / len(probabilities))


def contradictions(sentence: str, level: str, kinds: Sequence[str]) -> list[str]:
    """Words of a sentence that contradict a result: other levels than its own, kinds or severities not found.

    Args:
        sentence: any text.
        level: the level the text may name.
        kinds: the kinds the text may name.
    """
    words = set(re.findall(r"[a-z]+", sentence.lower()))
    wrong = [w for w in LEVELS if w != level and w in words]
    wrong += [k for k in KINDS if k not in kinds and re.search(rf"\b{re.escape(k.lower())}\b", sentence.lower())]
    return wrong + [w for w in SEVERITIES if w in words]


def consistent_text(
    text: str, level: str, kinds: Sequence[str], *, foreign: Set[str] = frozenset(), only: Set[str] | None = None
) -> str:
    """The text without the sentences that contradict the result, and without a cut-off end.

    Args:
        text: any text.
        level: the level it may name.
        kinds: the kinds it may name; see `contradictions`.
        foreign: whole sentences that must not stand in it (what other distortions do to a picture).
        only: if given, the only sentences that may stand in it.
    """
    sentences = [s.strip() for s in re.findall(r"[^.!?]+[.!?]", text)]
    known = [s for s in sentences if s not in foreign and (only is None or s in only)]
    return " ".join(s for s in known if not contradictions(s, level, kinds))
