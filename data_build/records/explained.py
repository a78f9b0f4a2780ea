"""Long answers: an assessment with its reasons, alone or beside a reference, and reasoning in steps."""

from __future__ import annotations

from mllm_iqa.levels import LEVELS

from ..appearance import appearance, looks
from .asked import Asked, findings_of, level_label, scored, spoken_level
from .pictures import Found, Picture
from .schema import Answer
from .tally import Tally
from .words import Words, level_candidates

_CHANGED = 12.0
"""Mean or standard deviation of the luma, in grey levels, or colorfulness, by which pictures must differ to say so."""


def assess(picture: Picture, words: Words, tally: Tally) -> Asked:
    """The level, what is wrong, what it does, how the picture looks, and what that means to a viewer."""
    prompt, reason = words.prompt("assess.v1"), words.prompt("reason.v1")
    found = _known(picture)
    level = spoken_level(picture, tally)
    if found:
        text = reason.phrase("findings", findings=words.findings(found)) + words.effects(found)
    else:
        text = reason.phrase("none" if level in LEVELS[:2] else "unclear")
    if picture.pixels is not None:
        text += reason.phrase("appearance", appearance=appearance(picture.pixels, words.language))
    text += words.pick(reason.wordings(level))
    prompts = ("assess.v1", "reason.v1", "effects.v2", "appearance.v1", "vocabulary.v1")
    before = prompt.answer_prefix
    return _judged("assess.v1", prompts, (picture,), words, level, before, prompt.phrase("end") + text)


def assess_reference(picture: Picture, words: Words, tally: Tally, *, reference: Picture) -> Asked:
    """The level beside the reference, what is wrong, what it does, and what changed in light and color."""
    prompt, found = words.prompt("assess_reference.v1"), _known(picture)
    level = spoken_level(picture, tally)
    text = prompt.phrase("findings", findings=words.findings(found)) if found else prompt.phrase("none")
    text += words.effects(found)
    text += "".join(prompt.phrase(change) for change in _changes(reference, picture))
    prompts = ("assess_reference.v1", "effects.v2", "vocabulary.v1")
    before = prompt.answer_prefix
    return _judged(
        "assess_reference.v1", prompts, (reference, picture), words, level, before, prompt.phrase("end") + text
    )


def steps(picture: Picture, words: Words, tally: Tally) -> Asked:
    """What, how severe, which effect, and the verdict."""
    prompt, found = words.prompt("steps.v1"), _known(picture)
    level = spoken_level(picture, tally)
    if found:
        kinds = [words.kind(one.kind) for one in found]
        graded = [
            prompt.phrase("how/one", kind=words.kind(one.kind), severity=words.severity(one.severity)) for one in found
        ]
        text = prompt.phrase("what", kinds=words.listed(kinds, joint="and"))
        text += prompt.phrase("how", severities=words.listed(graded, joint="then"))
        text += prompt.phrase("effect", effects=words.effects(found))
    else:
        text = "".join(prompt.phrase(f"{step}/none") for step in ("what", "how", "effect"))
    text += prompt.phrase("verdict")
    prompts = ("steps.v1", "effects.v2", "vocabulary.v1")
    return _judged("steps.v1", prompts, (picture,), words, level, text, prompt.phrase("end"))


def _known(picture: Picture) -> tuple[Found, ...]:
    if picture.findings is None:
        raise ValueError(f"{picture.source}: nobody knows what is wrong with it")
    return picture.findings


def _changes(reference: Picture, picture: Picture) -> list[str]:
    """Keys of what changed for everybody to see, most of it first; "unchanged" where nothing did."""
    assert reference.pixels is not None and picture.pixels is not None
    before, after = looks(reference.pixels), looks(picture.pixels)
    changes = {
        ("brighter", "darker"): after.brightness - before.brightness,
        ("harder", "flatter"): after.contrast - before.contrast,
        ("richer", "paler"): after.colorfulness - before.colorfulness,
    }
    ordered = sorted(changes.items(), key=lambda change: -abs(change[1]))
    return [keys[0 if by > 0 else 1] for keys, by in ordered if abs(by) >= _CHANGED] or ["unchanged"]


def _judged(
    name: str,
    prompts: tuple[str, ...],
    pictures: tuple[Picture, ...],
    words: Words,
    level: str,
    before: str,
    after: str,
) -> Asked:
    """A text with a soft-labelled level between two parts; the last picture is the judged one."""
    prompt, judged = words.prompt(name), pictures[-1]
    mos = scored(judged)
    label = level_label(mos, judged.std, judged.policy)
    return Asked(
        task=prompt.task,
        prompts=prompts,
        language=words.language,
        pictures=pictures,
        question=words.question(name),
        reply=before + prompt.phrase("level", level=words.level(level)) + after,
        answer=Answer(policy=label.policy, mos=mos, std=judged.std, findings=findings_of(pictures)),
        read_at=len(before),
        candidates=level_candidates(name, words.language),
        probs=label.probs,
    )
