"""Questions about one picture and its reference that a word or a sentence answers."""

from __future__ import annotations

import numpy as np

from mllm_iqa.levels import SEVERITIES

from .asked import Asked, findings_of, level_label, scored, spoken_level
from .pictures import Found, Picture
from .schema import LENGTHS, Answer, Length
from .tally import Tally
from .words import Words, level_candidates


def rate(picture: Picture, words: Words, tally: Tally, *, reference: Picture | None = None) -> Asked:
    """How good is it, alone or beside its reference? The level is a soft label."""
    name = "rate.v2" if reference is None else "rate_reference.v1"
    prompt = words.prompt(name)
    mos = scored(picture)
    label = level_label(mos, picture.std, picture.policy)
    level = words.level(spoken_level(picture, tally))
    pictures = (picture,) if reference is None else (reference, picture)
    return Asked(
        task=prompt.task,
        prompts=(name, "vocabulary.v1"),
        language=words.language,
        pictures=pictures,
        question=words.question(name),
        reply=prompt.answer_prefix + prompt.phrase("level", level=level) + prompt.phrase("end"),
        answer=Answer(policy=label.policy, mos=mos, std=picture.std, findings=findings_of(pictures)),
        read_at=len(prompt.answer_prefix),
        candidates=level_candidates(name, words.language),
        probs=label.probs,
    )


def distortion(picture: Picture, words: Words, tally: Tally) -> Asked:
    """Which distortions, in free form, and in a long answer how severe they are."""
    prompt, found = words.prompt("distortion.v1"), _found(picture)
    length = tally.least("length of distortion", LENGTHS)
    if length == "long":
        question = words.question("distortion.v1")
        reply = prompt.answer_prefix + _after(prompt.answer_prefix, words.findings(found)) + prompt.phrase("end")
    else:
        question = words.short(words.pick(words.prompt("short.v1").wordings("distortion/question")))
        kinds = [words.kind(one.kind) for one in found]
        reply = words.capital(words.listed(kinds, joint="and")) if kinds else words.prompt("short.v1").phrase("none")
    return _plain(picture, words, "distortion.v1", question, reply, length)


def distortion_one(picture: Picture, words: Words, tally: Tally) -> Asked:
    """The one distortion that harms most."""
    kind = words.kind(_found(picture)[0].kind)
    return _named(picture, words, tally, "distortion_one.v1", words.capital(kind), kind=kind)


def distortion_two(picture: Picture, words: Words, tally: Tally) -> Asked:
    """The two distortions, the more harmful first."""
    first, second = (words.kind(found.kind) for found in _found(picture))
    short = words.capital(words.listed([first, second], joint="and"))
    return _named(picture, words, tally, "distortion_two.v1", short, first=first, second=second)


def severity(picture: Picture, words: Words, tally: Tally) -> Asked:
    """How severe is a distortion that the question names? The word is a soft label around the strength drawn."""
    prompt, found = words.prompt("severity.v1"), words.pick(_found(picture))
    kind = words.kind(found.kind)
    spoken = range(1, len(SEVERITIES) + 1)
    nearness = np.maximum(0.0, 1.0 - np.abs(np.array(spoken) - _strength(found)))
    length = tally.least("length of severity", LENGTHS)
    question = words.question("severity.v1", kind=kind)
    if length == "short":
        question, before, end = words.short(question), "", ""
        candidates = tuple(words.capital(words.severity(s)) for s in spoken)
    else:
        before, end = prompt.answer_prefix.format(kind=kind), prompt.phrase("end")
        candidates = tuple(prompt.phrase("level", severity=words.severity(s)) for s in spoken)
    return Asked(
        task="severity",
        prompts=("severity.v1", "vocabulary.v1", *(("short.v1",) if length == "short" else ())),
        language=words.language,
        pictures=(picture,),
        question=question,
        reply=before + candidates[found.severity - 1] + end,
        answer=Answer(policy="drawn", findings=findings_of((picture,))),
        length=length,
        read_at=len(before),
        candidates=candidates,
        probs=tuple(float(p) for p in nearness / nearness.sum()),
    )


def where(picture: Picture, words: Words, tally: Tally) -> Asked:
    """Where is the damage of a part of the picture? In words, or in words and a box."""
    prompt, region = words.prompt("where.v1"), picture.region
    if region is None:
        raise ValueError(f"{picture.source}: its damage is not confined to a region")
    kind = words.kind(_found(picture)[0].kind)
    tally.note("region", region.words)
    question = words.question("where.v1", kind=kind)
    part = prompt.phrase(f"part/{region.words}")
    prefix = prompt.answer_prefix.format(kind=kind)
    form = tally.least("form of where", ("word", "sentence", "box"))
    if form == "word":
        question, reply = words.short(question), prompt.phrase(f"short/{region.words}")
    elif form == "sentence":
        reply = prefix + prompt.phrase("region", region=part)
    else:
        question = prompt.phrase("box_request", question=question)
        reply = prefix + prompt.phrase("region_and_box", region=part, box=str(list(region.box)))
    length: Length = "short" if form == "word" else "long"
    return _plain(picture, words, "where.v1", question, reply, length, region=region.words, box=region.box)


REFUSED: tuple[str, ...] = ("original", "other", "camera", "settings", "history", "sequence", "print")
"""What a picture does not tell: keys of the prompt refusal."""


def refusal(picture: Picture, words: Words, tally: Tally) -> Asked:
    """A question on quality that cannot be judged from this picture."""
    prompt = words.prompt("refusal.v1")
    topic = tally.least("refused", REFUSED)
    question = words.pick(prompt.wordings(f"{topic}/question"))
    reply = prompt.answer_prefix + prompt.phrase(f"{topic}/answer")
    return _plain(picture, words, "refusal.v1", question, reply, "long")


def _found(picture: Picture) -> tuple[Found, ...]:
    if picture.findings is None:
        raise ValueError(f"{picture.source}: nobody knows what is wrong with it")
    return picture.findings


def _strength(found: Found) -> float:
    """The strength on the scale of the words: that drawn, unless its kind is called otherwise; at least 1."""
    return max(1.0, found.strength) if round(found.strength) == found.severity else float(found.severity)


def _after(prefix: str, text: str) -> str:
    """Text that goes on after a prefix, with a space where the language has them."""
    return f" {text}" if prefix.isascii() else text


def _named(picture: Picture, words: Words, tally: Tally, name: str, short: str, **fields: str) -> Asked:
    """A question whose long answer is the prompt's phrase "answer", and whose short one is `short`."""
    prompt = words.prompt(name)
    length = tally.least(f"length of {prompt.task}", LENGTHS)
    question = words.question(name)
    if length == "short":
        return _plain(picture, words, name, words.short(question), short, length)
    return _plain(picture, words, name, question, prompt.answer_prefix + prompt.phrase("answer", **fields), length)


def _plain(
    picture: Picture,
    words: Words,
    name: str,
    question: str,
    reply: str,
    length: Length,
    *,
    region: str | None = None,
    box: tuple[int, ...] = (),
) -> Asked:
    """A question without a soft label."""
    return Asked(
        task=words.prompt(name).task,
        prompts=(name, "vocabulary.v1", *(("short.v1",) if length == "short" else ())),
        language=words.language,
        pictures=(picture,),
        question=question,
        reply=reply,
        answer=Answer(findings=findings_of((picture,)), region=region, box=box),
        length=length,
    )
