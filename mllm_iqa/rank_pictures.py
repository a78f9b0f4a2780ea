"""Many pictures put in order by comparing the pairs that tell most; every pair where they are few."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from .comparing import PAIRS_AT_ONCE, PROMPT, OutcomeStore, compare_pairs, remembered
from .cycles import find_cycles
from .errors import BackendError, ConfigError, ImageError
from .picture_set import Known, PictureSet, Source
from .ranking import ranks_of
from .tournament import Match, Outcome, default_budget, play, possible_matches
from .types import Failure, RankedImage, Ranking, Score

if TYPE_CHECKING:
    from .assistant import Assistant

MAX_RANKED = 2000
"""Pictures of one ranking: the fit holds a table of all pairs of them."""

Start: TypeAlias = Literal["none", "scores"]
Advance: TypeAlias = Callable[[int, int], None]


def rank_pictures(
    assistant: Assistant,
    images: Sequence[Source],
    *,
    comparisons: int | None = None,
    start: Start = "none",
    strict: bool = False,
    store: OutcomeStore | None = None,
    advance: Advance = lambda done, of: None,
) -> Ranking:
    """Order pictures from best to worst.

    Equal pictures are compared as one. The order in which the pictures are given changes nothing: they are numbered by
    the digest of their pixels, and every choice follows from these numbers and from outcomes.

    Args:
        assistant: who judges.
        images: 2 to `MAX_RANKED`.
        comparisons: how many pairs to compare at most, each in both orders; None = every pair up to those of 32
            pictures, else N x log2(N).
        start: "scores" = score every picture first and begin with pairs of similar scores. Scores enter no strength.
        strict: refuse where a picture cannot be read.
        store: of outcomes, which are not asked for again.
        advance: told the comparisons made and their budget.

    Returns:
        The ranking. Pictures that cannot be read are its `failures`; the others are ranked.

    Raises:
        ImageError: fewer than two pictures, or than two that can be read, or too many.
        BackendError: the model cannot compare.
        ConfigError: a budget that cannot compare every picture once.
    """
    if "compare" not in assistant.can:
        raise BackendError(f"{assistant.backend.name} cannot compare pictures; score them instead")
    if not 2 <= len(images) <= MAX_RANKED:
        raise ImageError(f"a ranking takes 2 to {MAX_RANKED} pictures, got {len(images)}")
    pictures = PictureSet(max_pixels=assistant.max_pixels)
    looked = pictures.look_at(images)
    known = [(i, one) for i, one in enumerate(looked) if isinstance(one, Known)]
    reasons = "; ".join(one.error for one in looked if isinstance(one, Failure))
    if strict and reasons:
        raise ImageError(reasons)
    if len(known) < 2:
        raise ImageError(f"a ranking takes at least 2 pictures that can be read: {reasons}")
    digests = sorted({one.digest for _, one in known})
    present = np.ones((len(digests), 1), dtype=bool)
    possible = possible_matches(present)
    budget = default_budget(possible, len(digests)) if comparisons is None else min(comparisons, possible)
    check_budget(budget, len(digests), possible)
    played = play(
        present,
        comparer(assistant, pictures, lambda contestant, content: digests[contestant], store),
        budget=budget,
        guess=_guess(assistant, pictures, digests, start),
        advance=lambda done: advance(done, budget),
    )
    number = {digest: n for n, digest in enumerate(digests)}
    strengths = np.array([played.strengths.strengths[number[one.digest]] for _, one in known])
    strengths -= math.fsum(strengths) / len(strengths)  # exact, whatever the order they are in
    order, ranks = ranks_of(strengths)
    names = {one.digest: one.info.name for _, one in reversed(known)}
    return Ranking(
        images=tuple(
            RankedImage(
                known[k][1].info,
                known[k][0],
                rank,
                float(strengths[k]),
                float(played.strengths.errors[number[known[k][1].digest]]),
            )
            for k, rank in zip(order, ranks, strict=True)
        ),
        comparisons=len(played.matches),
        order_flips=played.flips,
        model=assistant.backend.name,
        prompt=PROMPT,
        possible=possible,
        cycles=find_cycles(played.margins(), [names[digest] for digest in digests]),
        failures=tuple(one for one in looked if isinstance(one, Failure)),
    )


def check_budget(budget: int, count: int, possible: int) -> None:
    """Refuse a budget with which some contestant would never be compared."""
    least = min(possible, (count + 1) // 2)
    if budget < least:
        raise ConfigError(
            f"{budget} comparisons are too few to compare each of {count} once; give at least {least}"
            + (f", better {default_budget(possible, count)}" if possible > least else "")
        )


def comparer(
    assistant: Assistant,
    pictures: PictureSet,
    digest: Callable[[int, int], str],
    store: OutcomeStore | None,
) -> Callable[[Sequence[Match]], list[Outcome]]:
    """The judge of matches: asks a few pairs at a time, and only what the store does not know.

    Args:
        assistant: who judges.
        pictures: that were looked at.
        digest: of the picture of a contestant for a content.
        store: of outcomes; None = ask everything.
    """

    def judge(pairs: Sequence[tuple[str, str]]) -> list[Outcome]:
        return compare_pairs(assistant.backend, [(pictures.picture(a), pictures.picture(b)) for a, b in pairs])

    ask = remembered(judge, store)

    def compare(matches: Sequence[Match]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for begin in range(0, len(matches), PAIRS_AT_ONCE):
            some = matches[begin : begin + PAIRS_AT_ONCE]
            outcomes += ask([(digest(m.first, m.content), digest(m.second, m.content)) for m in some])
        return outcomes

    return compare


def _guess(assistant: Assistant, pictures: PictureSet, digests: Sequence[str], start: Start) -> np.ndarray | None:
    if start == "none":
        return None
    scores = assistant.score_many((pictures.picture(digest) for digest in digests), explain=False)
    mos = np.array([score.mos if isinstance(score, Score) else np.nan for score in scores])
    return np.where(np.isnan(mos), np.nanmean(mos), mos) if not np.isnan(mos).all() else None
