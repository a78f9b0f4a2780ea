"""Work side by side: the order of results, one thread for each, and the program's own setting left alone."""

import threading
from collections.abc import Iterator

import pytest
import torch

from mllm_iqa.parallel import _workers, one_thread_each


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    _workers.cache_clear()  # so that every test starts threads of its own
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_results_come_in_order_from_threads_of_one_core() -> None:
    meet = threading.Barrier(3, timeout=60)

    def work(n: int) -> tuple[int, int, str]:
        if n < 3:
            meet.wait()  # passes only where three run at once
        return n, torch.get_num_threads(), threading.current_thread().name

    results = list(one_thread_each(work, range(9)))
    assert [n for n, _, _ in results] == list(range(9))
    assert {threads for _, threads, _ in results} == {1}
    assert len({name for _, _, name in results}) == 3


@pytest.mark.usefixtures("three_threads")
def test_other_threads_keep_the_setting_of_the_program() -> None:
    list(one_thread_each(abs, range(6)))
    found: list[int] = []
    late = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    late.start()
    late.join()
    assert (torch.get_num_threads(), found) == (3, [3])


@pytest.mark.usefixtures("three_threads")
def test_an_error_is_raised_where_its_result_is_taken() -> None:
    results = one_thread_each(lambda n: 1 // n, [1, 0])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_one_core_works_in_the_caller() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert set(one_thread_each(lambda _: threading.current_thread(), range(3))) == {threading.current_thread()}
    finally:
        torch.set_num_threads(before)
