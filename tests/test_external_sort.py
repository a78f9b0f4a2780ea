"""Sorting on disk gives what sorting in memory gives."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mllm_iqa.external_sort import externally_sorted

NAMES = st.lists(st.lists(st.text(max_size=6), min_size=1, max_size=2), max_size=30)


@given(NAMES, st.integers(1, 8))
def test_it_sorts_whatever_is_held(keys: list[list[str]], held: int) -> None:
    assert list(externally_sorted(iter(keys), held=held)) == sorted(keys)


def test_undecodable_names_and_line_breaks_survive() -> None:
    keys = [["b\nc"], [b"\xff.png".decode("utf-8", "surrogateescape")], ["a\\n"], ["a"], ["图"]]
    assert list(externally_sorted(keys, held=2)) == sorted(keys)


def test_only_a_run_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    # A generator that forgets what it gave, counted: after the first key comes out, all are on the disk.
    numbers = list(range(1000))
    random.Random(0).shuffle(numbers)
    found = externally_sorted(([f"{n:04}"] for n in numbers), held=10)
    assert next(found) == ["0000"]
    assert [int(key[0]) for key in found] == list(range(1, 1000))
