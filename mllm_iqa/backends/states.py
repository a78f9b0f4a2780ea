"""What passes leave behind, and the cache of it: a conversation that begins like an earlier one goes on from there.

A state is a snapshot at the end of a row. Layers that keep every token's key, those that keep a window's, and those
that fold all tokens into one recurrent state can all be gone on from at that point, so all of them are kept.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from transformers.cache_utils import (
    DynamicCache,
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
    LinearAttentionLayer,
)

from .rows import Row, RowKey

CACHED_ROWS = 64
MAX_BYTES = 512 * 2**20
"""Of the states that the cache keeps alive, and of those that go on from it in one pass."""

_LAYERS = (
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
)
_RECURRENT = ("conv_states", "recurrent_states")
_FLAGS = ("is_conv_states_initialized", "is_recurrent_states_initialized", "has_previous_state", "conv_kernel_size")


@dataclass(frozen=True, slots=True)
class State:
    """What a pass leaves behind for one of its rows.

    All states of a pass share one `layers`, so that rows which stay together go on without a copy.

    Attributes:
        layers: of the pass's cache; empty where only `logprobs` was wanted.
        row: which of the pass's rows this is.
        logprobs: natural log-probabilities of the next token, float32 on the CPU, shape (vocabulary,).
    """

    layers: list[Any]
    row: int
    logprobs: torch.Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of this row's part of the layers."""
        return sum(tensor[0].nbytes for layer in self.layers for tensor in _tensors(layer))


def foreign_layer(layers: Sequence[Any], *, tokens: int) -> str | None:
    """The class name of the first layer that a pass cannot go on from; None when it can go on from all of them.

    Args:
        layers: of the cache that a pass over rows of `tokens` tokens left behind.
        tokens: see above.
    """
    for layer in layers:
        if type(layer) not in _LAYERS:
            return type(layer).__name__
        if isinstance(layer, DynamicLayer) and layer.get_seq_length() != tokens:
            return f"{type(layer).__name__} of other tokens"  # attention to something else than the conversation
    return None


def joined(states: Sequence[State]) -> DynamicCache:
    """A cache with the rows of these states, in order; a pass may write into it without changing the states."""
    first = states[0].layers
    rows = [state.row for state in states]
    together = all(state.layers is first for state in states)

    def pick(found: list[torch.Tensor]) -> torch.Tensor:
        if not together:
            return torch.cat([tensor[row : row + 1] for tensor, row in zip(found, rows, strict=True)])
        return found[0] if rows == list(range(len(found[0]))) else found[0][rows]

    sources = [state.layers for state in states]
    layers = [[first[i]] if together else [source[i] for source in sources] for i in range(len(first))]
    cache = DynamicCache()
    cache.layers = [_rebuilt(of_layer, pick) for of_layer in layers]
    cache.layer_class_to_replicate = None
    return cache


def _rebuilt(sources: Sequence[Any], pick: Callable[[list[torch.Tensor]], torch.Tensor]) -> Any:
    """A layer like these, whose tensors are picked from theirs."""
    made = copy.copy(sources[0])
    if isinstance(made, DynamicLayer) and made.is_initialized:  # it grows by concatenation, never in place
        made.keys = pick([layer.keys for layer in sources])
        made.values = pick([layer.values for layer in sources])
    if isinstance(made, LinearAttentionLayer):  # it is overwritten in place
        for name in _RECURRENT:
            parts: dict[int, torch.Tensor | None] = {}
            for i, tensor in getattr(made, name).items():
                found = [getattr(layer, name)[i] for layer in sources]
                parts[i] = None if tensor is None else pick(found).clone()
            setattr(made, name, parts)
        for name in _FLAGS:
            setattr(made, name, dict(getattr(made, name)))
    return made


def _tensors(layer: Any) -> list[torch.Tensor]:
    found = [layer.keys, layer.values] if isinstance(layer, DynamicLayer) and layer.is_initialized else []
    if isinstance(layer, LinearAttentionLayer):
        found += [tensor for name in _RECURRENT for tensor in getattr(layer, name).values()]
    return [tensor for tensor in found if tensor is not None]


def held_bytes(states: Iterable[State]) -> int:
    """Bytes that these states keep alive: a state keeps those of its whole pass."""
    passes = {id(state.layers): state.layers for state in states}
    return sum(tensor.nbytes for layers in passes.values() for layer in layers for tensor in _tensors(layer))


class RowCache:
    """The latest states by row, bounded in number and bytes. Not for several threads at once."""

    def __init__(self) -> None:
        self._states: OrderedDict[RowKey, State] = OrderedDict()

    def __len__(self) -> int:
        return len(self._states)

    def get(self, row: Row) -> State | None:
        """The state after this very row."""
        return self._states.get(row.key)

    def beginning(self, row: Row, known: Mapping[RowKey, State]) -> tuple[int, State | None]:
        """Length and state of the longest cached or known proper beginning of a row; 0 and None without one."""
        longest, found = 0, None
        for (digests, ids), state in chain(self._states.items(), known.items()):
            if longest < len(ids) < len(row.ids) and digests == row.digests and row.ids[: len(ids)] == ids:
                longest, found = len(ids), state
        return longest, found

    def remember(self, rows: Sequence[Row], states: Sequence[State]) -> None:
        """Keep the states of a pass and drop the oldest beyond the bounds."""
        for row, state in zip(rows, states, strict=True):
            self._states[row.key] = state
            self._states.move_to_end(row.key)
        while len(self) > CACHED_ROWS or (len(self) > 1 and held_bytes(self._states.values()) > MAX_BYTES):
            self._states.popitem(last=False)

    def states(self) -> list[State]:
        """All of them, oldest first."""
        return list(self._states.values())

    def clear(self) -> None:
        """Drop all of them."""
        self._states.clear()
