"""Is there a family of distortion in a picture? As often yes as no, over all families."""

from __future__ import annotations

from dataclasses import dataclass

from .asked import Asked, findings_of
from .look_alikes import absent_families
from .pictures import Found, Picture
from .schema import LENGTHS, Answer
from .tally import Tally
from .words import Words


@dataclass(frozen=True, slots=True)
class Presence:
    """The family asked about, and the finding of it; None where the answer is no."""

    family: str
    found: Found | None


def presence_of(picture: Picture, task: str, words: Words, tally: Tally) -> Presence:
    """What to ask a task's yes-no question about: something found, or something that is surely not there."""
    found = picture.findings or ()
    yes = tally.least(f"yes of {task}", (True, False)) if found else False
    if yes:
        one = words.pick(found)
        return Presence(one.family, one)
    if not found:
        tally.note(f"yes of {task}", False)
    return Presence(tally.least("absent family", absent_families(picture)), None)


def presence(picture: Picture, words: Words, tally: Tally) -> Asked:
    """Yes or no, and in a long answer what exactly."""
    prompt, asked = words.prompt("presence.v2"), presence_of(picture, "presence", words, tally)
    yes = asked.found is not None
    family = words.family(asked.family)
    question = words.question("presence.v2", family=family)
    length = tally.least(("length of presence", yes), LENGTHS)
    if length == "short":
        question, reply = words.short(question), words.prompt("short.v1").phrase("yes" if yes else "no")
    elif asked.found is not None:
        reply = prompt.phrase("yes", finding=words.findings([asked.found]))
    else:
        reply = prompt.phrase("no", family=family)
    return Asked(
        task="presence",
        prompts=("presence.v2", "vocabulary.v1", *(("short.v1",) if length == "short" else ())),
        language=words.language,
        pictures=(picture,),
        question=question,
        reply=reply,
        answer=Answer(findings=findings_of((picture,)), yes=yes),
        length=length,
    )
