"""Tournaments of contestants whose strengths are known."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from mllm_iqa.agreement import srcc
from mllm_iqa.ranking import fit, fit_pairs, pairs_of
from mllm_iqa.tournament import Match, Outcome, default_budget, play, possible_matches

Judge = Callable[[Sequence[Match]], list[Outcome]]


def judge_of(strengths: np.ndarray, *, noise: float = 0.0, seed: int = 0) -> Judge:
    """Answers as the strengths say, plus a disturbance of each match's own that does not depend on the order."""

    def one(match: Match) -> Outcome:
        disturbed = np.random.default_rng([seed, match.first, match.second, match.content]).normal()
        apart = strengths[match.first] - strengths[match.second] + noise * disturbed
        weights = np.array([np.exp(apart / 2), np.exp(-apart / 2), 0.5])
        first, second, tie = (float(w) for w in weights / weights.sum())
        winner = ("a", "b", "tie")[int(np.argmax(weights))]
        return Outcome(first, second, tie, winner, False)  # type: ignore[arg-type]

    return lambda matches: [one(match) for match in matches]


def alone(count: int) -> np.ndarray:
    return np.ones((count, 1), dtype=bool)


def test_a_budget_for_all_pairs_gives_the_full_table() -> None:
    strengths = np.random.default_rng(0).normal(size=9)
    judge = judge_of(strengths, noise=0.5)
    played = play(alone(9), judge, budget=1000)
    assert sorted((m.first, m.second) for m in played.matches) == pairs_of(9)
    table = np.array([(o.first, o.second, o.tie) for o in judge([Match(i, j, 0) for i, j in pairs_of(9)])])
    assert played.strengths.strengths == pytest.approx(fit(table, 9).strengths, abs=1e-7)
    assert played.strengths.errors == pytest.approx(fit(table, 9).errors, rel=1e-6)


def test_no_pair_meets_twice_and_the_budget_is_kept() -> None:
    played = play(alone(24), judge_of(np.arange(24.0)), budget=70)
    pairs = [(m.first, m.second) for m in played.matches]
    assert len(pairs) == 70 == len(set(pairs))


def test_a_budget_of_n_log_n_finds_the_order_of_a_judge_without_noise() -> None:
    strengths = np.random.default_rng(1).normal(size=40) * 2
    played = play(alone(40), judge_of(strengths), budget=213)  # 40 log2 40
    assert srcc(played.strengths.strengths, strengths) > 0.999


def test_it_errs_less_than_random_pairs() -> None:
    chosen, drawn = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        strengths = rng.normal(size=32) * 2
        judge = judge_of(strengths, noise=1.0, seed=seed)
        chosen.append(srcc(play(alone(32), judge, budget=120).strengths.strengths, strengths))
        some = [Match(i, j, 0) for i, j in rng.permutation(pairs_of(32))[:120]]
        table = np.array([(o.first, o.second, o.tie) for o in judge(some)])
        random = fit_pairs(np.array([(m.first, m.second) for m in some]), table, 32)
        drawn.append(srcc(random.strengths, strengths))
    assert np.mean(chosen) > np.mean(drawn)


def test_first_guesses_steer_and_enter_no_result() -> None:
    strengths = np.array([3.0, 1.0, -1.0, -3.0])
    wrong = play(alone(4), judge_of(strengths), budget=6, guess=-strengths)
    right = play(alone(4), judge_of(strengths), budget=6)
    assert wrong.strengths.strengths == pytest.approx(right.strengths.strengths, abs=1e-6)


def test_folders_meet_over_contents_that_both_have() -> None:
    present = np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 0, 1, 1, 1]], dtype=bool)
    # Pairs per content: 1, 1, 3, 3, 1.
    assert possible_matches(present) == 9
    played = play(present, judge_of(np.array([1.0, 0.0, -1.0])), budget=100)
    met = [(m.first, m.second, m.content) for m in played.matches]
    assert len(met) == 9 == len(set(met))
    assert all(present[i, c] and present[j, c] for i, j, c in met)
    assert list(np.argsort(-played.strengths.strengths)) == [0, 1, 2]


def test_contents_are_used_evenly() -> None:
    played = play(np.ones((4, 10), dtype=bool), judge_of(np.zeros(4)), budget=20)
    used = np.bincount([m.content for m in played.matches], minlength=10)
    assert used.max() - used.min() <= 1


def test_margins_average_over_meetings_and_ties_are_none() -> None:
    outcomes = [Outcome(0.6, 0.2, 0.2, "a", False), Outcome(0.2, 0.2, 0.6, "tie", True)]
    answers = iter(outcomes)
    played = play(np.ones((2, 2), dtype=bool), lambda matches: [next(answers) for _ in matches], budget=2)
    # Means: 0.4, 0.2, 0.4: the tie is as probable as the first.
    assert played.margins() == {(0, 1): 0.0}
    assert played.flips == 1


@pytest.mark.parametrize(("count", "budget"), [(2, 1), (32, 496), (33, 496), (100, 665), (1000, 9966)])
def test_the_default_budget_is_every_pair_and_then_n_log_n(count: int, budget: int) -> None:
    assert default_budget(count * (count - 1) // 2, count) == budget
