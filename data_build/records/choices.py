"""Multiple choice: options named in the question, and lettered options in Q-Bench's form.

Wrong options are wrong for any viewer: families that look alike never stand beside each other, levels and severities
lie apart from the right one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

from mllm_iqa.levels import LEVELS, SEVERITIES, VALUES, level_of_mos

from ..appearance import BRIGHTNESS_BOUNDS, BRIGHTNESS_WORDS, looks
from ..distortions import DISTORTIONS
from .asked import Asked, findings_of, probs_at, scored
from .look_alikes import absent_families
from .pictures import Picture
from .presence import presence_of
from .regions import PARTS
from .schema import LENGTHS, Answer
from .tally import Tally
from .words import Words

LETTERS = "ABCD"
_APART = 1.5  # MOS between a score and the nearest wrong level
_SURE_BRIGHTNESS = 10.0  # grey levels between a mean and the bound of its word


@dataclass(frozen=True, slots=True)
class Options:
    """The options in the order shown, and the place of the right one."""

    shown: tuple[str, ...]
    right: int


def arranged(right: str, wrong: Sequence[str], words: Words, tally: Tally) -> Options:
    """The right option among the wrong ones, at every place equally often."""
    shown = words.some(wrong, len(wrong))
    place = tally.least(("place", len(wrong) + 1), range(len(wrong) + 1))
    shown.insert(place, right)
    return Options(tuple(shown), place)


def _clearly_bright_or_dark(picture: Picture) -> bool:
    """Whether no other word for the brightness could be argued for."""
    if picture.pixels is None:
        return False
    return min(abs(looks(picture.pixels).brightness - bound) for bound in BRIGHTNESS_BOUNDS) >= _SURE_BRIGHTNESS


_FORMS: dict[str, Callable[[Picture], bool]] = {
    "yes-no/family": lambda picture: picture.findings is not None and picture.region is None,
    "how/quality": lambda picture: picture.mos is not None,
    "how/severity": lambda picture: bool(picture.findings) and picture.region is None,
    "how/brightness": _clearly_bright_or_dark,
    "what/kind": lambda picture: bool(picture.findings),
    "what/region": lambda picture: picture.region is not None and picture.region.words in chain(*PARTS),
}
"""Keys of the prompt choice, and which pictures each can be asked about."""


def distortion_choice(picture: Picture, words: Words, tally: Tally) -> Asked:
    """Which of four kinds that the question names?"""
    name = "distortion_choice.v1"
    prompt = words.prompt(name)
    options = _kinds(picture, words, tally)
    length = tally.least("length of distortion_choice", LENGTHS)
    question = words.question(name, options=words.listed(options.shown, joint="or"))
    right = options.shown[options.right]
    if length == "short":
        question, reply = words.short(question), words.capital(right)
    else:
        reply = prompt.answer_prefix + prompt.phrase("answer", kind=right)
    return Asked(
        task=prompt.task,
        prompts=(name, "vocabulary.v1", *(("short.v1",) if length == "short" else ())),
        language=words.language,
        pictures=(picture,),
        question=question,
        reply=reply,
        answer=Answer(findings=findings_of((picture,)), options=options.shown),
        length=length,
    )


def choice(picture: Picture, words: Words, tally: Tally) -> Asked:
    """A question of Q-Bench's form on whatever is known of the picture; the answer is a letter."""
    form = tally.least("form of choice", [form for form, fits in _FORMS.items() if fits(picture)])
    prompt = words.prompt("choice.v1")
    kind = words.kind(picture.findings[0].kind) if picture.findings else ""
    family, yes = "", None
    match form:
        case "yes-no/family":
            asked_about = presence_of(picture, "choice", words, tally)
            yes, family = asked_about.found is not None, words.family(asked_about.family)
            right, wrong = prompt.phrase("yes" if yes else "no"), [prompt.phrase("no" if yes else "yes")]
            options = arranged(right, wrong, words, tally)
        case "how/quality":
            options = _levels(picture, words, tally)
        case "how/severity":
            options = _severities(picture, words, tally)
        case "how/brightness":
            options = _brightness(picture, words, tally)
        case "what/kind":
            options = _kinds(picture, words, tally)
        case _:
            options = _regions(picture, words, tally)
    question_type = form.partition("/")[0]
    local = picture.region is not None
    matter = "distortion" if form.endswith(("family", "severity", "kind", "region")) else "others"
    shown = tuple(words.capital(option) for option in options.shown)
    listed = "\n".join(prompt.phrase("option", letter=LETTERS[i], option=option) for i, option in enumerate(shown))
    asked = words.pick(prompt.wordings(form)).format(kind=kind, family=family)
    return Asked(
        task="choice",
        prompts=("choice.v1", "vocabulary.v1"),
        language=words.language,
        pictures=(picture,),
        question=prompt.phrase("form", question=asked, options=listed),
        reply=LETTERS[options.right],
        answer=Answer(
            findings=findings_of((picture,)),
            mos=picture.mos if form == "how/quality" else None,
            options=shown,
            choice=LETTERS[options.right],
            yes=yes,
            region=picture.region.words if picture.region is not None and form == "what/region" else None,
            question_type=question_type,
            concern=f"{'local' if local else 'global'} {matter}",
        ),
        length="short",
        read_at=0,
        candidates=tuple(LETTERS[: len(shown)]),
        probs=probs_at(options.right, len(shown)),
    )


def _levels(picture: Picture, words: Words, tally: Tally) -> Options:
    mos = scored(picture)
    right = level_of_mos(mos)
    tally.note("level", right)
    wrong = [level for level, value in zip(LEVELS, VALUES, strict=True) if abs(value - mos) >= _APART]
    return arranged(words.level(right), [words.level(level) for level in words.some(wrong, 2)], words, tally)


def _severities(picture: Picture, words: Words, tally: Tally) -> Options:
    assert picture.findings
    right = picture.findings[0].severity
    wrong = [other for other in range(1, len(SEVERITIES) + 1) if abs(other - right) >= 2]
    return arranged(words.severity(right), [words.severity(other) for other in words.some(wrong, 2)], words, tally)


def _brightness(picture: Picture, words: Words, tally: Tally) -> Options:
    assert picture.pixels is not None
    right = looks(picture.pixels).brightness_word
    named = {key: words.prompt("choice.v1").phrase(f"brightness/{key}") for key in BRIGHTNESS_WORDS}
    return arranged(named[right], [name for key, name in named.items() if key != right], words, tally)


def _kinds(picture: Picture, words: Words, tally: Tally) -> Options:
    assert picture.findings
    absent = absent_families(picture)
    wrong = []
    for family in words.some(absent, 3):
        kinds = sorted({distortion.kind for distortion in DISTORTIONS.values() if distortion.family == family})
        wrong.append(words.kind(words.pick(kinds)))
    return arranged(words.kind(picture.findings[0].kind), wrong, words, tally)


def _regions(picture: Picture, words: Words, tally: Tally) -> Options:
    """The region and three that do not touch it."""
    assert picture.region is not None
    prompt, right = words.prompt("where.v1"), picture.region.words
    tally.note("region", right)
    places = {key: (row, column) for row, keys in enumerate(PARTS) for column, key in enumerate(keys)}
    row, column = places[right]
    apart = [key for key, (r, c) in places.items() if abs(r - row) + abs(c - column) >= 2]
    options = [prompt.phrase(f"short/{key}") for key in words.some(apart, 3)]
    return arranged(prompt.phrase(f"short/{right}"), options, words, tally)
