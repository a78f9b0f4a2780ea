"""Work done ahead in threads, its results in the order of what it was done on."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def decoding_threads() -> int:
    """How many pictures are decoded side by side: one a core, up to 16."""
    return min(16, os.cpu_count() or 1)


def in_order(work: Callable[[A], B], items: Iterable[A], *, threads: int, ahead: int) -> Iterator[B]:
    """work(item) for every item, in order; while the caller uses one result, threads work on the next.

    Args:
        work: called in a thread; what it raises is raised where its result would have come.
        items: taken in the caller's thread, as needed.
        threads: how many work side by side, at least 1.
        ahead: how many items, at least 1, are taken before their results are asked for: the bound on what is held.
    """
    pending: deque[Future[B]] = deque()
    with ThreadPoolExecutor(threads, "mllm-iqa-prefetch") as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # the caller has had enough, or was interrupted
            for future in pending:
                future.cancel()
