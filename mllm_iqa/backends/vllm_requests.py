"""Requests to one vLLM engine from any number of threads, batched together as they come.

vLLM's offline engine belongs to one thread at a time and returns everybody's outputs. Here whoever waits for an output
drives the engine while nobody else does, and hands the others theirs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import count, islice
from threading import Condition
from typing import Any

from ..errors import BackendError

Around = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask: vLLM's prompt and its sampling parameters."""

    prompt: Any
    params: Any


class Requests:
    """The queue before an engine, and the outputs that have not been fetched."""

    def __init__(
        self, engine: Any, *, name: str, lora: Any = None, window: int = 64, around: Around = nullcontext
    ) -> None:
        """Make one for an engine.

        Args:
            engine: vLLM's LLMEngine.
            name: of the model, for errors.
            lora: the LoRARequest of every request; None = the model as it is.
            around: entered around every use of the engine.
            window: how many requests of one call are in the engine at once, whose pictures are all in memory.
        """
        self._engine = engine
        self._name = name
        self._lora = lora
        self._around = around
        self._window = window
        self._numbers = count()
        self._changed = Condition()
        self._driven = False
        self._new: deque[tuple[str, Request]] = deque()
        self._dropped: deque[str] = deque()
        self._outputs: dict[str, list[Any]] = {}

    def finished(self, requests: Iterable[Callable[[], Request]]) -> list[Any]:
        """The last output of each request, in order.

        Args:
            requests: each is made when its turn comes.

        Raises:
            BackendError: vLLM refuses one of them, or fails.
        """
        waiting = iter(requests)
        places: dict[str, int] = {}
        done: list[Any] = []
        try:
            while True:
                for make in islice(waiting, self._window - len(places)):
                    places[self._submit(make())] = len(done)
                    done.append(None)
                if not places:
                    return done
                for output in self._next(places):
                    if output.finished:
                        done[places.pop(output.request_id)] = output
                        self._forget(output.request_id)
        finally:
            self._abort(places)

    def streamed(self, request: Request) -> Iterator[Any]:
        """The outputs of one request as they grow."""
        name = self._submit(request)
        live = {name: 0}
        try:
            while live:
                for output in self._next(live):
                    yield output
                    if output.finished:
                        live.clear()
        finally:
            self._abort(live)
            self._forget(name)

    def _submit(self, request: Request) -> str:
        name = str(next(self._numbers))
        with self._changed:
            self._outputs[name] = []
            self._new.append((name, request))
        return name

    def _abort(self, names: Iterable[str]) -> None:
        with self._changed:
            for name in names:
                self._outputs.pop(name, None)
                self._dropped.append(name)

    def _forget(self, name: str) -> None:
        with self._changed:
            self._outputs.pop(name, None)

    def _next(self, names: Iterable[str]) -> list[Any]:
        """New outputs of these requests; drives the engine until there are some, unless another thread does."""
        while True:
            with self._changed:
                found = [output for name in names for output in self._outputs[name]]
                if found:
                    for name in names:
                        self._outputs[name] = []
                    failure = next((output for output in found if isinstance(output, Exception)), None)
                    if failure is not None:
                        raise BackendError(f"{self._name}: vLLM: {_first_line(failure)}") from failure
                    return found
                if self._driven:
                    self._changed.wait()
                    continue
                self._driven = True
            outputs: list[tuple[str, Any]] = []
            try:
                with self._around():
                    outputs = self._step()
            except Exception as error:
                outputs = [(name, error) for name in list(self._outputs)]  # nobody's request survives a dead engine
            finally:
                with self._changed:
                    self._driven = False
                    for name, output in outputs:
                        if name in self._outputs:
                            self._outputs[name].append(output)
                    self._changed.notify_all()

    def _step(self) -> list[tuple[str, Any]]:
        """One step of the engine, by the only thread that drives it."""
        failed: list[tuple[str, Any]] = []
        while self._dropped:
            self._engine.abort_request([self._dropped.popleft()])
        while self._new:
            name, request = self._new.popleft()
            if name not in self._outputs:
                continue
            try:
                (rendered,) = self._engine.renderer.render_cmpl([request.prompt])
                self._engine.add_request(name, rendered, request.params, lora_request=self._lora)
            except (ValueError, TypeError, RuntimeError) as error:  # a request that it cannot take
                failed.append((name, error))
        if not self._engine.has_unfinished_requests():
            known = {name for name, _ in [*failed, *self._new]}
            lost = [name for name, outputs in list(self._outputs.items()) if not outputs and name not in known]
            return failed + [(name, RuntimeError("the request was lost")) for name in lost]
        return failed + [(output.request_id, output) for output in self._engine.step()]


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
