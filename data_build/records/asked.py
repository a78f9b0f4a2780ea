"""One question about pictures with its answer, before it becomes a record; and the soft labels answers carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mllm_iqa.levels import level_of_mos, soft_label, two_level_label

from ..instructions import ASSUMED_STD
from .pictures import Picture
from .schema import Answer, Finding, Length, Message, Part, Policy, Record, RecordSplit
from .tally import Tally

_SMALLEST_STD = 0.1
"""Raters who agree more closely than this are taken to agree: their label lies on the two levels next to the mean."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and its answer; the fields mean what they mean in `Record`."""

    task: str
    prompts: tuple[str, ...]
    language: str
    pictures: tuple[Picture, ...]
    question: str
    reply: str
    answer: Answer
    length: Length = "long"
    read_at: int = -1
    candidates: tuple[str, ...] = ()
    probs: tuple[float, ...] = ()

    def record(self, id: str, split: RecordSplit, seed: int) -> Record:
        """The record: the pictures first, then the question, then the answer."""
        parts = (*(Part("image") for _ in self.pictures), Part("text", self.question))
        return Record(
            id=id,
            task=self.task,
            prompts=self.prompts,
            language=self.language,
            length=self.length,
            images=tuple(picture.image for picture in self.pictures),
            messages=(Message("user", parts), Message("assistant", (Part("text", self.reply),))),
            answer=self.answer,
            groups=tuple(picture.group for picture in self.pictures),
            sources=tuple(picture.source for picture in self.pictures),
            split=split,
            seed=seed,
            read_at=self.read_at,
            candidates=self.candidates,
            probs=self.probs,
        )


@dataclass(frozen=True, slots=True)
class Label:
    """A soft label over the levels: probs of shape (5,) aligned with `LEVELS`, and where they come from."""

    probs: tuple[float, ...]
    policy: Policy


def level_label(mos: float, std: float | None, policy: Policy = "raters") -> Label:
    """The soft label of a score.

    Args:
        mos: in [1, 5].
        std: spread of the raters in MOS units; None = unknown, `ASSUMED_STD` is taken.
        policy: of the score; "raters" becomes "assumed std" or "two levels" where that is what was done.
    """
    if std is not None and std < _SMALLEST_STD:
        return Label(_floats(two_level_label(mos)), "two levels")
    if std is None and policy == "raters":
        policy = "assumed std"
    return Label(_floats(soft_label(mos, ASSUMED_STD if std is None else std)), policy)


def scored(picture: Picture) -> float:
    """The score of a picture that has one."""
    if picture.mos is None:
        raise ValueError(f"{picture.source}: nobody knows how good it is")
    return picture.mos


def spoken_level(picture: Picture, tally: Tally) -> str:
    """The level nearest to a picture's score, one of `LEVELS`, counted."""
    level = level_of_mos(scored(picture))
    tally.note("level", level)
    return level


def findings_of(pictures: Sequence[Picture]) -> tuple[Finding, ...] | None:
    """The findings of pictures by their places; None when those of any are unknown."""
    if any(picture.findings is None for picture in pictures):
        return None
    return tuple(
        Finding(place, found.kind, found.family, found.severity)
        for place, picture in enumerate(pictures)
        for found in picture.findings or ()
    )


def probs_at(place: int, count: int) -> tuple[float, ...]:
    """A label that is sure of one of `count` candidates."""
    return tuple(float(place == other) for other in range(count))


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
