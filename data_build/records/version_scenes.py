"""A clean picture and versions of it: beside their reference, against each other, and against another picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np

from ..instructions import SAME_WITHIN
from . import explained, several, single
from .asked import Asked, scored
from .pictures import Picture, distorted, draw, scored_names
from .tally import Tally
from .words import Words

_VERSIONS = 5
_CLEAR = 0.4
"""Two pictures whose MOS lie so far apart are clearly not equal."""
_TIES_EVERY = 4


def version_questions(
    names: Sequence[str],
    clean: Picture,
    other: Picture,
    words: Callable[[str], Words],
    tally: Tally,
    rng: np.random.Generator,
) -> Iterator[Asked]:
    """Ask the named questions.

    Args:
        names: of `mix.MIX`.
        clean: the reference, whose versions are judged.
        other: a clean picture of other content, for comparisons across content.
        words: gives the words for a question.
        tally: what was said before.
        rng: of everything drawn.
    """
    versions = [distorted(clean, draw(1, tally, rng, names=scored_names()), rng) for _ in range(_VERSIONS)]
    for name in names:
        if name == "rate_reference":
            yield single.rate(_any([clean, *versions], rng), words(name), tally, reference=clean)
        elif name == "assess_reference":
            yield explained.assess_reference(_any([clean, *versions], rng), words(name), tally, reference=clean)
        elif name == "compare/across":
            foreign = distorted(other, draw(1, tally, rng, names=scored_names()), rng)
            yield several.compare(_any(versions, rng), foreign, words(name), tally)
        elif name == "rank":
            yield several.rank(apart([clean, *versions], tally, rng), words(name), tally)
        else:
            a, b = two_of(versions, tally, rng)
            yield several.compare(a, b, words(name), tally, reference=clean if name == "compare_reference" else None)


def two_of(pictures: Sequence[Picture], tally: Tally, rng: np.random.Generator) -> tuple[Picture, Picture]:
    """Two scored pictures, one in four times about equal, otherwise clearly not; the nearest to that there are."""
    pairs = list(combinations(pictures, 2))
    gaps = [abs(scored(a) - scored(b)) for a, b in pairs]
    if tally.least("wanted", tuple(range(_TIES_EVERY))) == 0:
        fitting = [pair for pair, gap in zip(pairs, gaps, strict=True) if gap < SAME_WITHIN]
        return fitting[int(rng.integers(len(fitting)))] if fitting else pairs[int(np.argmin(gaps))]
    fitting = [pair for pair, gap in zip(pairs, gaps, strict=True) if gap >= _CLEAR]
    return fitting[int(rng.integers(len(fitting)))] if fitting else pairs[int(np.argmax(gaps))]


def apart(pictures: Sequence[Picture], tally: Tally, rng: np.random.Generator) -> list[Picture]:
    """Three to five pictures of which any two are clearly not equal, as many as there are of the number wanted.

    Where not even three lie apart, the best, the worst and the one nearest to the middle.
    """
    wanted = tally.least("ranked", (3, 4, 5))
    chosen: list[Picture] = []
    for place in rng.permutation(len(pictures)):
        picture = pictures[int(place)]
        if all(abs(scored(picture) - scored(one)) >= _CLEAR for one in chosen):
            chosen.append(picture)
    if len(chosen) >= 3:
        return chosen[:wanted]
    ordered = sorted(pictures, key=scored)
    middle = (scored(ordered[0]) + scored(ordered[-1])) / 2
    return [ordered[0], min(ordered[1:-1], key=lambda one: abs(scored(one) - middle)), ordered[-1]]


def _any(pictures: Sequence[Picture], rng: np.random.Generator) -> Picture:
    return pictures[int(rng.integers(len(pictures)))]
