"""Which questions are asked, how often, and what each needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from .material import Material

Scene: TypeAlias = Literal["graded", "named", "two", "part", "versions", "photo", "photos", "pair"]
"""The pictures that a question is asked about, several questions about the same ones.

graded: one picture whose score is known, clean or distorted. named: one distorted in any way. two: one distorted twice.
part: one distorted in a part. versions: a clean picture and versions of it. photo: one with a human score.
photos: several of one data set with human scores. pair: two that people compared.
"""

Needs: TypeAlias = Literal["clean", "scored", "references", "preferred"]


@dataclass(frozen=True, slots=True)
class Question:
    """A question of the mix.

    Attributes:
        name: task, and after a slash what it is asked about where a task has several.
        weight: how often, relative to the others.
        scene: the pictures it is about.
        needs: the material it is made of.
    """

    name: str
    weight: int
    scene: Scene
    needs: Needs


MIX: tuple[Question, ...] = (
    Question("rate", 6, "graded", "clean"),
    Question("assess", 6, "graded", "clean"),
    Question("steps", 6, "graded", "clean"),
    Question("choice/graded", 4, "graded", "clean"),
    Question("refusal", 3, "graded", "clean"),
    Question("presence/graded", 2, "graded", "clean"),
    Question("distortion/graded", 2, "graded", "clean"),
    Question("distortion", 6, "named", "clean"),
    Question("distortion_one", 3, "named", "clean"),
    Question("distortion_choice", 5, "named", "clean"),
    Question("presence", 5, "named", "clean"),
    Question("severity", 6, "named", "clean"),
    Question("choice", 4, "named", "clean"),
    Question("distortion_two", 4, "two", "clean"),
    Question("distortion_one/two", 2, "two", "clean"),
    Question("distortion/two", 2, "two", "clean"),
    Question("where", 6, "part", "clean"),
    Question("choice/part", 3, "part", "clean"),
    Question("rate_reference", 4, "versions", "clean"),
    Question("assess_reference", 5, "versions", "clean"),
    Question("compare", 5, "versions", "clean"),
    Question("compare/across", 4, "versions", "clean"),
    Question("compare_reference", 4, "versions", "clean"),
    Question("rank", 4, "versions", "clean"),
    Question("rate/photo", 16, "photo", "scored"),
    Question("choice/photo", 3, "photo", "scored"),
    Question("compare/photos", 6, "photos", "scored"),
    Question("rank/photos", 2, "photos", "scored"),
    Question("rate_reference/photo", 4, "photo", "references"),
    Question("compare_reference/pair", 4, "pair", "preferred"),
)


def askable(material: Material) -> tuple[Question, ...]:
    """The questions that there is material for."""
    there = {
        "clean": bool(material.clean),
        "scored": len(material.scored) > 1,
        "references": any(scored.reference is not None for scored in material.scored),
        "preferred": bool(material.preferred),
    }
    return tuple(question for question in MIX if there[question.needs])


def quotas(questions: Sequence[Question], count: int) -> list[int]:
    """How many of `count` records each question gets: in proportion to its weight, the largest rests rounded up."""
    total = sum(question.weight for question in questions)
    exact = [count * question.weight / total for question in questions]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda place: shares[place] - exact[place])
    for place in by_remainder[: count - sum(shares)]:
        shares[place] += 1
    return shares
