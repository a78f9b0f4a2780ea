"""Work done ahead keeps the order, the bound and the errors."""

import threading
import time

import pytest

from mllm_iqa.prefetch import in_order


def test_results_come_in_order_whoever_is_ready_first() -> None:
    def late_first(n: int) -> int:
        time.sleep(0.05 if n == 0 else 0)
        return n * n

    assert list(in_order(late_first, range(20), threads=4, ahead=8)) == [n * n for n in range(20)]


def test_no_more_is_taken_than_the_bound() -> None:
    taken: list[int] = []

    def items() -> object:
        for n in range(100):
            taken.append(n)
            yield n

    results = in_order(lambda n: n, items(), threads=2, ahead=5)  # type: ignore[arg-type]
    assert taken == []
    for count in range(1, 20):
        next(results)
        assert len(taken) == 5 + count
    results.close()  # type: ignore[attr-defined]
    assert len(taken) == 24


def test_work_goes_on_while_the_caller_is_busy() -> None:
    done = threading.Event()
    results = in_order(lambda n: done.set() if n == 1 else None, range(3), threads=1, ahead=2)
    next(results)
    assert done.wait(30)  # the second was worked on although nobody asked for it


def test_an_error_comes_where_its_result_would() -> None:
    def fail_at_two(n: int) -> int:
        if n == 2:
            raise RuntimeError("two")
        return n

    results = in_order(fail_at_two, range(9), threads=3, ahead=4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(RuntimeError, match="two"):
        next(results)


def test_nothing_gives_nothing() -> None:
    assert list(in_order(str, [], threads=1, ahead=1)) == []
