"""Questions about several pictures: which of two is better, perhaps beside a reference, and how do up to five rank?"""

from __future__ import annotations

from collections.abc import Sequence

from ..instructions import SAME_WITHIN, comparison_label
from .asked import Asked, findings_of, scored
from .pictures import Picture
from .schema import LENGTHS, Answer, Policy, Winner
from .tally import Tally
from .words import Words

_SIDES: dict[Winner, str] = {"a": "first", "b": "second", "tie": "equal"}


def compare(a: Picture, b: Picture, words: Words, tally: Tally, *, reference: Picture | None = None) -> Asked:
    """Which of two scored pictures is better, or are they about equal?

    The pictures are shown in whichever order lets the first and the second win equally often.
    """
    gap = scored(a) - scored(b)
    winner: Winner = "tie" if abs(gap) < SAME_WITHIN else "a" if gap > 0 else "b"
    if winner != "tie":
        place: Winner = tally.least("winner", ("a", "b"))
        if place != winner:
            a, b, gap, winner = b, a, -gap, place
    else:
        tally.note("winner", "tie")
    policy = a.policy if a.policy == b.policy else ""
    mos_each = (scored(a), scored(b))
    return _compared(a, b, words, tally, winner, tuple(comparison_label(gap)), policy, mos_each, reference)


def preferred(
    first: Picture, second: Picture, prefers_first: float, words: Words, tally: Tally, *, reference: Picture
) -> Asked:
    """Which of two is better, as people said: the soft label is the share of them who preferred each.

    Where exactly half preferred the first, the two are about equal.
    """
    winner: Winner = "tie" if prefers_first == 0.5 else "a" if prefers_first > 0.5 else "b"
    if winner != "tie":
        place: Winner = tally.least("winner", ("a", "b"))
        if place != winner:
            first, second, prefers_first, winner = second, first, 1 - prefers_first, place
    else:
        tally.note("winner", "tie")
    probs = (0.0, 0.0, 1.0) if winner == "tie" else (prefers_first, 1 - prefers_first, 0.0)
    return _compared(first, second, words, tally, winner, probs, "preference", (), reference)


def rank(pictures: Sequence[Picture], words: Words, tally: Tally) -> Asked:
    """Three to five pictures with scores that lie apart, from best to worst; the best is shown at every place."""
    prompt, count = words.prompt("rank.v1"), len(pictures)
    best, *others = sorted(pictures, key=lambda picture: -scored(picture))
    shown = words.some(others, len(others))
    shown.insert(tally.least(("best of", count), range(count)), best)
    ranking = sorted(range(count), key=lambda place: -scored(shown[place]))
    items = [prompt.phrase("item", number=str(place + 1)) for place in ranking]
    return Asked(
        task="rank",
        prompts=("rank.v1",),
        language=words.language,
        pictures=tuple(shown),
        question=words.question("rank.v1", count=str(count)),
        reply=prompt.answer_prefix + prompt.phrase("answer", items=prompt.phrase("join").join(items)),
        answer=Answer(
            mos_each=tuple(scored(picture) for picture in shown),
            findings=findings_of(shown),
            ranking=tuple(ranking),
        ),
    )


def _compared(
    a: Picture,
    b: Picture,
    words: Words,
    tally: Tally,
    winner: Winner,
    probs: tuple[float, ...],
    policy: Policy,
    mos_each: tuple[float, ...],
    reference: Picture | None,
) -> Asked:
    name = "compare.v1" if reference is None else "compare_reference.v1"
    prompt, short = words.prompt(name), words.prompt("short.v1")
    length = tally.least(("length of compare", winner), LENGTHS)
    sides = tuple(_SIDES.values())
    if length == "short":
        question, before, after = words.short(words.pick(short.wordings(f"{prompt.task}/question"))), "", ""
        keys = sides if reference is None else ("second_of_three", "third", "equal")
        candidates = tuple(short.phrase(key) for key in keys)
    else:
        question, before = words.question(name), prompt.answer_prefix
        candidates = tuple(prompt.phrase(side) for side in sides)
        after = prompt.phrase(f"{_SIDES[winner]}/rest")
        if a.findings is not None and b.findings is not None:
            for side, picture in zip(sides, (a, b), strict=False):
                after += prompt.phrase(f"{side}/findings", findings=words.findings(picture.findings or ()))
    pictures = (a, b) if reference is None else (reference, a, b)
    return Asked(
        task=prompt.task,
        prompts=(name, "vocabulary.v1", *(("short.v1",) if length == "short" else ())),
        language=words.language,
        pictures=pictures,
        question=question,
        reply=before + candidates[sides.index(_SIDES[winner])] + after,
        answer=Answer(policy=policy, mos_each=mos_each, findings=findings_of(pictures), winner=winner),
        length=length,
        read_at=len(before),
        candidates=candidates,
        probs=probs,
    )
