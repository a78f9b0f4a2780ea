"""Order several pictures by comparing every two of them, and by their scores alone."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ..task import Loaded, Models


def ask(models: Models, loaded: Sequence[Loaded], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Strength of each picture by comparisons (mean probability to win, ties half) and by its score."""
    answers = []
    for one in loaded:
        wins = [0.0] * len(one.pictures)
        flips = 0
        for i, j in itertools.combinations(range(len(one.pictures)), 2):
            result = models.assistant.compare(one.pictures[i], one.pictures[j], explain=False)
            wins[i] += result.probabilities["a"] + result.probabilities["tie"] / 2
            wins[j] += result.probabilities["b"] + result.probabilities["tie"] / 2
            flips += result.order_flip
        scores = [models.assistant.score(picture, explain=False).mos for picture in one.pictures]
        opponents = len(one.pictures) - 1
        answers.append({"strengths": [w / opponents for w in wins], "scores": scores, "order_flips": flips})
    return answers
