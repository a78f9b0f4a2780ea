"""Assistants by name, loaded once and shared; the least recently used one is dropped when there are too many."""

from __future__ import annotations

import threading
from collections import OrderedDict

from mllm_iqa.assistant import Assistant

from .turns import TakingTurns


class Models:
    """`Models(device="cpu")("nano")` gives the assistant of a model; a second call gives the same one."""

    def __init__(self, *, device: str = "auto", loaded: int = 2) -> None:
        """Settings for all models.

        Args:
            device: see `Assistant.load`.
            loaded: how many models stay in memory.
        """
        self._device = device
        self._limit = loaded
        self._lock = threading.Lock()
        self._loading: dict[str, threading.Lock] = {}
        self._assistants: OrderedDict[str, Assistant] = OrderedDict()

    def __call__(self, model: str) -> Assistant:
        """The assistant of a model, loaded if it is not.

        Raises:
            CheckpointError: no such model, or one that cannot be loaded.
        """
        with self._lock:
            lock = self._loading.setdefault(model, threading.Lock())
        with lock:  # two users of a new model wait for one loading; users of loaded ones go on
            found = self._known(model)
            if found is None:
                found = self._loaded(model)
        return found

    def _known(self, model: str) -> Assistant | None:
        with self._lock:
            if model in self._assistants:
                self._assistants.move_to_end(model)
            return self._assistants.get(model)

    def _loaded(self, model: str) -> Assistant:
        assistant = Assistant.load(model, device=self._device)
        assistant.backend = TakingTurns(assistant.backend)
        with self._lock:
            self._assistants[model] = assistant
            while len(self._assistants) > self._limit:
                dropped, _ = self._assistants.popitem(last=False)
                self._loading.pop(dropped, None)
        return assistant
