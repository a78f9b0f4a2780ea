"""Several encoded examples as one batch: padded on the right, pictures side by side, targets by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from mllm_iqa.backends.huggingface import HuggingFaceBackend

from .encode import Encoded, PictureMemory, encode
from .examples import Example


@dataclass(frozen=True, slots=True)
class Targets:
    """What a batch of N examples teaches; K positions are looked at, C tokens at most share a soft label.

    Attributes:
        names: of the records.
        keep: (K,) positions of the padded rows whose predictions matter; logits are computed there alone.
        labels: (N, K) the token each of them should predict, -100 = none.
        soft_row, soft_at: (S,) row, and index into `keep`, of every token with a soft label.
        soft_tokens: (S, C) the tokens, 0 where there are fewer; soft_probs: (S, C), 0 there.
        scale: (N,) 1 where the labeled word is a level, 2 a severity, 0 neither or none.
        word_at: (N,) index into `keep` that predicts the labeled word's first token, 0 where scale is 0.
        word_first: (N, 5) first tokens of the five words; word_probs: (N, 5) their soft label.
        mos, std: (N,) human score and spread, NaN where unknown; dataset: (N,) which set it may be compared in.
    """

    names: tuple[str, ...]
    keep: torch.Tensor
    labels: torch.Tensor
    soft_row: torch.Tensor
    soft_at: torch.Tensor
    soft_tokens: torch.Tensor
    soft_probs: torch.Tensor
    scale: torch.Tensor
    word_at: torch.Tensor
    word_first: torch.Tensor
    word_probs: torch.Tensor
    mos: torch.Tensor
    std: torch.Tensor
    dataset: torch.Tensor

    def to(self, device: torch.device, **options: Any) -> Targets:
        """The same on a device, as accelerate moves batches."""
        moved: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        for name, value in moved.items():
            if isinstance(value, torch.Tensor):
                moved[name] = value.to(device, **options)
        return Targets(**moved)


SCALES = {"": 0, "level": 1, "severity": 2}


class Collator:
    """Makes batches of examples; the model's inputs and, under "targets", what they teach.

    Args:
        backend: of the model; its template, tokenizer and processor.
        max_pixels: budget of one picture.
        datasets: names of the data sets; a set not named here counts as one of its own.
    """

    def __init__(self, backend: HuggingFaceBackend, max_pixels: int, datasets: Sequence[str]) -> None:
        self.backend, self.max_pixels = backend, max_pixels
        self.memory = PictureMemory()
        self.numbers = {name: n for n, name in enumerate(datasets)}

    def __call__(self, examples: Sequence[Example]) -> dict[str, Any]:
        """Encode the examples and put them into one batch."""
        encoded = [encode(example, self.backend, self.max_pixels, self.memory) for example in examples]
        pad = self.backend.tokenizer.pad_token_id
        inputs = stacked([e.inputs for e in encoded], pad if pad is not None else self.backend.tokenizer.eos_token_id)
        targets = targets_of(encoded, [self.numbers.get(e.dataset, -1) for e in examples])
        return {**inputs, "targets": targets}


def stacked(rows: Sequence[dict[str, torch.Tensor]], pad: int) -> dict[str, torch.Tensor]:
    """Inputs of several conversations as those of one batch, padding masked.

    Words are padded on the right, where no token that counts can see them. Pictures of any sizes are concatenated
    along their first axis; where a second axis counts a picture's tiles (Idefics3) it is padded with empty tiles,
    which those models drop.
    """
    length = max(row["input_ids"].shape[1] for row in rows)
    words = {name for name, tensor in rows[0].items() if tensor.shape[:2] == rows[0]["input_ids"].shape}
    batch = {
        name: torch.cat([_right_padded(row[name], length, pad if name == "input_ids" else 0) for row in rows])
        for name in rows[0]
        if name in words
    }
    counts = torch.tensor([row["input_ids"].shape[1] for row in rows])
    batch["attention_mask"] = (torch.arange(length)[None] < counts[:, None]).long()
    for name in {name for row in rows for name in row} - words:
        tensors = [row[name] for row in rows if name in row]
        if any(t.shape[1:] != tensors[0].shape[1:] for t in tensors):
            most = max(t.shape[1] for t in tensors)
            tensors = [_right_padded(t, most, 0) for t in tensors]
        batch[name] = torch.cat(tensors)
    return batch


def _right_padded(tensor: torch.Tensor, length: int, value: int) -> torch.Tensor:
    missing = tensor.new_full((tensor.shape[0], length - tensor.shape[1], *tensor.shape[2:]), value)
    return torch.cat([tensor, missing], dim=1)


def targets_of(encoded: Sequence[Encoded], datasets: Sequence[int]) -> Targets:
    """What encoded examples teach; `datasets` numbers the set each is of."""
    wanted = {int(t) - 1 for e in encoded for t in torch.nonzero(e.labels != -100).flatten()}
    wanted |= {label.position - 1 for e in encoded if e.word is not None for label in e.word.labels}
    keep = sorted(wanted)
    index = {position: k for k, position in enumerate(keep)}
    labels = torch.full((len(encoded), len(keep)), -100)
    soft: list[tuple[int, int, tuple[int, ...], tuple[float, ...]]] = []
    scale = torch.zeros(len(encoded), dtype=torch.long)
    word_at = torch.zeros(len(encoded), dtype=torch.long)
    word_first = torch.zeros(len(encoded), 5, dtype=torch.long)
    word_probs = torch.zeros(len(encoded), 5)
    for row, e in enumerate(encoded):
        for position in torch.nonzero(e.labels != -100).flatten().tolist():
            labels[row, index[position - 1]] = e.labels[position]
        if e.word is None or e.example.word is None:
            continue
        soft += [(row, index[t.position - 1], t.tokens, t.probs) for t in e.word.labels]
        if e.example.word.scale:
            scale[row] = SCALES[e.example.word.scale]
            word_at[row] = index[e.word.position - 1]
            word_first[row] = torch.tensor(e.word.first)
            word_probs[row] = torch.tensor(e.example.word.probs)
    width = max((len(tokens) for *_, tokens, _ in soft), default=1)
    return Targets(
        names=tuple(e.example.name for e in encoded),
        keep=torch.tensor(keep, dtype=torch.long),
        labels=labels,
        soft_row=torch.tensor([row for row, *_ in soft], dtype=torch.long),
        soft_at=torch.tensor([at for _, at, *_ in soft], dtype=torch.long),
        soft_tokens=torch.tensor([[*t, *[0] * (width - len(t))] for *_, t, _ in soft]).view(len(soft), width).long(),
        soft_probs=torch.tensor([[*p, *[0.0] * (width - len(p))] for *_, p in soft]).view(len(soft), width).float(),
        scale=scale,
        word_at=word_at,
        word_first=word_first,
        word_probs=word_probs,
        mos=_floats([e.example.mos for e in encoded]),
        std=_floats([e.example.std for e in encoded]),
        dataset=torch.tensor(datasets),
    )


def _floats(values: Sequence[float | None]) -> torch.Tensor:
    return torch.tensor([float("nan") if v is None else v for v in values])
