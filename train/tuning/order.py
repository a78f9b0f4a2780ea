"""In what order examples are seen: batches of one data set and of similar length, shuffled anew every epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

_BATCHES_SORTED_TOGETHER = 50
"""Examples are sorted within blocks of so many batches: similar lengths meet, yet other ones each epoch."""


class GroupedOrder(Sampler[int]):
    """Indices of one epoch; a function of the seed and the epoch alone, so that a resumed run sees the same.

    Args:
        lengths: of the examples, in any unit.
        datasets: which data set each is of; pairs of one set are what the ranking loss learns from.
        batch: examples that are seen together.
        seed: of the shuffling.
    """

    def __init__(self, lengths: Sequence[int], datasets: Sequence[str], *, batch: int, seed: int) -> None:
        self.lengths, self.datasets, self.batch, self.seed = lengths, datasets, batch, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.lengths)).tolist()
        block = self.batch * _BATCHES_SORTED_TOGETHER
        batches: list[list[int]] = []
        for start in range(0, len(order), block):
            members = sorted(order[start : start + block], key=lambda i: (self.datasets[i], self.lengths[i]))
            batches += [members[n : n + self.batch] for n in range(0, len(members), self.batch)]
        whole = [b for b in batches if len(b) == self.batch]
        rest = [i for b in batches if len(b) < self.batch for i in b]
        for number in rng.permutation(len(whole)):
            yield from whole[number]
        yield from rest
