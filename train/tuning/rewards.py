"""Rewards for an answer in the form of `judge.v1`: pure functions of what was read from it and what people said.

An answer that cannot be read (`None` below) is rewarded 0 and enters no other answer's reward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr

from mllm_iqa.answers import Judgment

_VARIANCE_FLOOR = 1e-6


def score_rewards(answers: Sequence[Judgment | None], mos: Sequence[float], *, tolerance: float) -> list[float]:
    """1 where the rating lies closer to people's score than `tolerance` MOS units, else 0 (Q-Insight, NeurIPS 2025)."""
    pairs = zip(answers, mos, strict=True)
    return [float(a is not None and abs(a.mos - human) < tolerance) for a, human in pairs]


def distortion_rewards(answers: Sequence[Judgment | None], kinds: Sequence[str | None]) -> list[float]:
    """1 where the most harmful distortion is named, `None` = there is none (Q-Insight's degradation class)."""
    return [float(a is not None and a.kind == kind) for a, kind in zip(answers, kinds, strict=True)]


def severity_rewards(
    answers: Sequence[Judgment | None], kinds: Sequence[str | None], severities: Sequence[int | None]
) -> list[float]:
    """1 where the distortion and its severity (1..5, None = no distortion) are right (Q-Insight's level)."""
    truth = zip(answers, kinds, severities, strict=True)
    return [float(a is not None and (a.kind, a.severity) == (kind, severity)) for a, kind, severity in truth]


def ranking_rewards(
    answers: Sequence[Judgment | None],
    mos: Sequence[float],
    *,
    pictures: Sequence[str],
    datasets: Sequence[str],
) -> list[float]:
    """How well each rating orders its picture among the others (VisualQuality-R1, NeurIPS 2025, eqs. 3 to 5).

    Several answers were sampled for each picture; m and v are mean and variance of the ratings of one. For an answer
    with rating q about picture i, and every other picture j of the same data set,

        p_hat = Phi((q - m_j) / sqrt(v_i + v_j)),   reward = sqrt(p p_hat) + sqrt((1 - p)(1 - p_hat)),

    where p is 1, 0.5 or 0 as people score i above, like or below j; the reward is the mean over j.

    Args:
        answers: N of them.
        mos: (N,) people's score of the answer's picture.
        pictures: (N,) which picture each is about.
        datasets: (N,) which data set that is of; scores of different ones are not compared.

    Returns:
        (N,) in [0, 1]; 0 for an answer that cannot be read, or whose picture has no other one to be compared with.
    """
    ratings: dict[str, list[float]] = {}
    human: dict[str, tuple[str, float]] = {}
    for answer, score, picture, dataset in zip(answers, mos, pictures, datasets, strict=True):
        human[picture] = (dataset, score)
        if answer is not None:
            ratings.setdefault(picture, []).append(answer.mos)
    spread = {picture: (float(np.mean(said)), float(np.var(said))) for picture, said in ratings.items()}

    def reward(answer: Judgment | None, picture: str) -> float:
        if answer is None:
            return 0.0
        dataset, score = human[picture]
        gained = []
        for other, (mean, variance) in spread.items():
            if other == picture or human[other][0] != dataset:
                continue
            width = math.sqrt(max(spread[picture][1] + variance, _VARIANCE_FLOOR))
            said = float(ndtr((answer.mos - mean) / width))
            true = 0.5 + 0.5 * float(np.sign(score - human[other][1]))
            gained.append(math.sqrt(true * said) + math.sqrt((1 - true) * (1 - said)))
        return float(np.mean(gained)) if gained else 0.0

    return [reward(answer, picture) for answer, picture in zip(answers, pictures, strict=True)]
