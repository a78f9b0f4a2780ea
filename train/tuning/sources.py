"""The examples a recipe names, all read and checked before a model is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mllm_iqa.errors import DataError

from .examples import Example, read_examples
from .labels import LabelPolicy
from .recipe import RewardRecipe, Source, TuneRecipe


@dataclass(frozen=True, slots=True)
class Found:
    """Examples to learn from, to choose the best state by, and to measure the result on."""

    train: list[Example]
    valid: list[Example]
    test: list[Example]


def read_all(recipe: TuneRecipe | RewardRecipe) -> Found:
    """Read what a recipe names; of validation and test sets the examples that rate one picture are kept.

    Raises:
        DataError: see `read_examples`; or a set that needs human scores and has fewer than three, or shares a picture
            file with the training set.
    """
    if isinstance(recipe, RewardRecipe):
        train = [e for e in _read(recipe.train, HUMAN_SCORES) if e.mos is not None]
        _check_scored("train", train)
        return Found(train, [], [])
    train = _read(recipe.train, LabelPolicy(recipe.labels, recipe.assumed_std))
    # Judged by people's distribution, whatever the labels learned from.
    soft = LabelPolicy("soft", recipe.assumed_std)
    sets = {"valid": _read(recipe.valid, soft), "test": _read(recipe.test, soft)}
    for key, examples in sets.items():
        sets[key] = [e for e in examples if e.mos is not None]
        if examples:
            _check_scored(key, sets[key])
            _check_apart(train, sets[key], key)
    if recipe.weights.fidelity > 0:
        _check_scored("train", [e for e in train if e.mos is not None])
    return Found(train, sets["valid"], sets["test"])


HUMAN_SCORES = LabelPolicy("hard", 0.5)
"""For rewards, which look at the score itself: the label serves to find the rated records."""


def _read(sources: Sequence[Source], policy: LabelPolicy) -> list[Example]:
    each = (read_examples(s.path, split=s.split, policy=policy, limit=s.limit, seed=s.seed) for s in sources)
    return [example for examples in each for example in examples]


def _check_scored(key: str, rated: Sequence[Example]) -> None:
    if len(rated) < 3:
        raise DataError(f"{key}: {len(rated)} examples have a human score (mos); at least 3 are needed")


def _check_apart(train: Sequence[Example], other: Sequence[Example], key: str) -> None:
    seen = {picture for example in train for picture in example.pictures if isinstance(picture, Path)}
    for example in other:
        for picture in example.pictures:
            if isinstance(picture, Path) and picture in seen:
                raise DataError(f"{example.name}: {picture} is also in the training set; take it out of one of them")
