"""Independent pieces of torch work side by side on a CPU, each on one thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import TypeVar

import torch

A = TypeVar("A")
B = TypeVar("B")


def _use_one_thread() -> None:
    torch.get_num_threads()  # else the first operation would bring the program's setting back
    torch.set_num_threads(1)


@cache
def _workers(threads: int) -> ThreadPoolExecutor:
    """A pool whose threads each run torch on one core."""
    pool = ThreadPoolExecutor(threads, "mllm-iqa", initializer=_use_one_thread)
    started = Barrier(threads + 1)
    for _ in range(threads):
        pool.submit(started.wait)
    started.wait()
    # A thread's setting is its own, but also what later threads of the program begin with: put that back.
    torch.set_num_threads(threads)
    return pool


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)  # a child process inherits the pool without its threads


def one_thread_each(work: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """work(item) for every item, in order, as many at a time as torch would use threads for one.

    Args:
        work: releases the interpreter's lock while it works, as torch's operations do.
        items: at least one.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        yield from map(work, items)
    else:
        yield from _workers(threads).map(work, items)
