"""Circles among comparisons, counted by hand."""

from itertools import combinations

import numpy as np
import pytest

from mllm_iqa.cycles import Cycle, find_cycles


def test_a_circle_of_three_is_found_once() -> None:
    # a > b by 0.5, b > c by 0.4, c > a by 0.3 (so the pair (a, c) has margin -0.3): the weakest link is 0.3.
    found = find_cycles({(0, 1): 0.5, (1, 2): 0.4, (0, 2): -0.3}, "abc")
    assert (found.triples, found.intransitive) == (1, 1)
    assert found.worst == (Cycle((0, 1, 2), ("a", "b", "c"), 0.3),)


def test_the_other_way_round_too() -> None:
    found = find_cycles({(0, 1): -0.5, (1, 2): -0.4, (0, 2): 0.3}, "abc")
    assert found.worst == (Cycle((0, 2, 1), ("a", "c", "b"), 0.3),)


def test_order_ties_and_missing_pairs_close_no_circle() -> None:
    assert find_cycles({(0, 1): 0.5, (1, 2): 0.4, (0, 2): 0.3}, "abc").intransitive == 0
    tie = find_cycles({(0, 1): 0.5, (1, 2): 0.4, (0, 2): 0.0}, "abc")
    assert (tie.triples, tie.intransitive) == (1, 0)
    assert find_cycles({(0, 1): 0.5, (1, 2): 0.4}, "abc").triples == 0


@pytest.mark.parametrize("seed", range(5))
def test_it_counts_as_trying_every_triple_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    margins = {pair: float(rng.normal()) for pair in combinations(range(9), 2) if rng.random() < 0.8}
    expected = whole = 0
    for a, b, c in combinations(range(9), 3):
        if {(a, b), (b, c), (a, c)} <= margins.keys():
            whole += 1
            expected += margins[a, b] > 0 and margins[b, c] > 0 and margins[a, c] < 0
            expected += margins[a, b] < 0 and margins[b, c] < 0 and margins[a, c] > 0
    found = find_cycles(margins, "abcdefghi")
    assert (found.triples, found.intransitive) == (whole, expected)
    strengths = [cycle.strength for cycle in found.worst]
    assert strengths == sorted(strengths, reverse=True) and len(strengths) <= 5
