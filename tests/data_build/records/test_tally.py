import numpy as np
from mllm_iqa.data_build.records.tally import Tally


def test_draws_stay_level_whatever_was_noted() -> None:
    tally = Tally(np.random.default_rng(0))
    tally.note("x", "a")
    tally.note("x", "a")
    # b and c must catch up with the two a's before a is drawn again.
    assert sorted(tally.least("x", "abc") for _ in range(4)) == ["b", "b", "c", "c"]
    assert sorted(tally.least("x", "abc") for _ in range(3)) == ["a", "b", "c"]


def test_subjects_are_counted_apart_and_ties_are_drawn() -> None:
    firsts = {Tally(np.random.default_rng(seed)).least("x", "abc") for seed in range(30)}
    assert firsts == set("abc")
    tally = Tally(np.random.default_rng(0))
    tally.note("x", "a")
    assert tally.rarest("y", "a") == "a"
    assert tally.rarest("x", "ab") == tally.rarest("x", "ab") == "b", "looking must not count"
