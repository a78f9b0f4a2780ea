"""Conversations as a model reads them: token ids, pictures, and what its processor makes of those.

Two readers: `GridReader` for the Qwen families, whose pictures keep their own size and become one token per merged
patch, and `ProcessorReader` for every other model, whose own processor does all of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch

from ..errors import BackendError
from ..images import Picture, pad_to_multiple

GRID_FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe")
"""Model types that `GridReader` reads: one image processor, one chat format, one way of placing pictures."""

_PLACEHOLDER = "<|image_pad|>"  # a picture's token in the tokenizers of those families
_TYPES = ("mm_token_type_ids", "token_type_ids")  # what processors call the type (word or picture) of every token

RowKey = tuple[tuple[str, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Row:
    """One conversation, tokenized.

    Attributes:
        ids: its tokens; pictures: shown in it; digests: of those pictures.
        inputs: what the processor made of the pictures; empty for a `GridReader`'s row, whose pictures are encoded
            when a pass needs them.
        types: by the processor's name for it, the type of every token that the processor made: (T,), 0 is a word.
    """

    ids: tuple[int, ...]
    pictures: tuple[Picture, ...]
    digests: tuple[str, ...]
    inputs: Mapping[str, torch.Tensor] = field(default_factory=dict)
    types: Mapping[str, torch.Tensor] = field(default_factory=dict)

    @property
    def key(self) -> RowKey:
        """What equal rows share."""
        return self.digests, self.ids

    @property
    def shape(self) -> tuple[Any, ...]:
        """What rows that may share a pass have in common: tokens, and the size of each picture."""
        return len(self.ids), tuple(p.pixels.shape for p in self.pictures)

    def grown(self, ids: tuple[int, ...]) -> Row:
        """The same row with more words at its end."""
        return replace(self, ids=self.ids + ids)

    def types_of(self, name: str) -> torch.Tensor:
        """Types of all its tokens, (T,); the words that it grew by are of type 0."""
        known = self.types[name]
        return torch.nn.functional.pad(known, (0, len(self.ids) - len(known)))


class Reader(Protocol):
    """How one model's conversations become rows."""

    def row(self, text: str, pictures: tuple[Picture, ...]) -> Row:
        """The row of a chat template's text, which holds a placeholder for each picture."""

    def adds_special(self, text: str) -> bool:
        """Whether the tokenizer's own beginning belongs before this text: not where the template wrote it already."""

    def types(self, row: Row, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """The type of every token of rows like this one, by the name that the model takes it under; each (N, T)."""

    def grid(self, row: Row) -> torch.Tensor | None:
        """Patches of the row's pictures as (n, 3): time, height, width; None without pictures, or without a grid."""


def digests_of(pictures: Sequence[Picture]) -> tuple[str, ...]:
    """A hash of each picture's pixels and size."""
    return tuple(hashlib.sha256(p.pixels.tobytes() + str(p.pixels.shape).encode()).hexdigest() for p in pictures)


class GridReader:
    """Rows of the Qwen families: a picture is padded to whole merged patches and never resized."""

    def __init__(self, tokenizer: Any, image_processor: Any, *, name: str, image_token_id: int) -> None:
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.name = name
        self.image_token_id = image_token_id
        self.multiple: int = image_processor.patch_size * image_processor.merge_size

    def row(self, text: str, pictures: tuple[Picture, ...]) -> Row:
        """See `Reader`."""
        pieces = text.split(_PLACEHOLDER)
        if len(pieces) != len(pictures) + 1:
            raise BackendError(f"{self.name}: the chat template does not place one image per picture")
        placed = pieces[0] + "".join(
            _PLACEHOLDER * self.tokens_of(picture) + piece for picture, piece in zip(pictures, pieces[1:], strict=True)
        )
        ids = self.tokenizer(placed, add_special_tokens=False)["input_ids"]
        return Row(tuple(ids), pictures, digests_of(pictures))

    def adds_special(self, text: str) -> bool:
        """See `Reader`: their templates write whatever begins a text."""
        return False

    def types(self, row: Row, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """See `Reader`. Pictures come first; a later token of theirs is only a word."""
        places: torch.Tensor = ids == self.image_token_id
        pictured = places & (places.cumsum(dim=1) <= sum(map(self.tokens_of, row.pictures)))
        return {"mm_token_type_ids": pictured.long()}

    def grid(self, row: Row) -> torch.Tensor | None:
        """See `Reader`."""
        if not row.pictures:
            return None
        patch = self.image_processor.patch_size
        sides = [[-(-s // self.multiple) * self.multiple // patch for s in p.pixels.shape[:2]] for p in row.pictures]
        return torch.tensor([[1, *side] for side in sides])

    def tokens_of(self, picture: Picture) -> int:
        """How many tokens a picture becomes."""
        height, width = (-(-side // self.multiple) for side in picture.pixels.shape[:2])
        return int(height * width)

    def patches(self, pictures: Sequence[Picture]) -> torch.Tensor:
        """The vision tower's input for these pictures, float32 on the CPU."""
        padded = [pad_to_multiple(p.pixels, self.multiple) for p in pictures]
        return torch.as_tensor(self.image_processor(padded, do_resize=False, return_tensors="pt")["pixel_values"])


class ProcessorReader:
    """Rows of any other model, made by its own processor, one conversation at a time so that nothing is padded."""

    def __init__(self, processor: Any, *, name: str) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.name = name

    def row(self, text: str, pictures: tuple[Picture, ...]) -> Row:
        """See `Reader`."""
        made = self.made(text, pictures)
        ids = made.pop("input_ids")[0].tolist()
        made.pop("attention_mask", None)
        types = {name: made.pop(name)[0] for name in _TYPES if name in made}
        return Row(tuple(ids), pictures, digests_of(pictures), made, types)

    def made(self, text: str, pictures: Sequence[Picture]) -> dict[str, torch.Tensor]:
        """All that the processor makes of one conversation."""
        shown = [[p.pixels for p in pictures]] if pictures else None
        special = self.adds_special(text)
        try:
            made = self.processor(text=[text], images=shown, add_special_tokens=special, return_tensors="pt")
        except (ValueError, IndexError, RuntimeError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise BackendError(f"{self.name}: its processor refuses this conversation: {first}") from error
        other = [key for key, value in made.items() if not isinstance(value, torch.Tensor)]
        if other:
            raise BackendError(f"{self.name}: its processor makes {other[0]}, which this engine cannot pass on")
        return dict(made)

    def adds_special(self, text: str) -> bool:
        """See `Reader`."""
        bos = self.tokenizer.bos_token
        return bos is None or not text.startswith(bos)

    def types(self, row: Row, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        """See `Reader`."""
        return {name: row.types_of(name).to(ids.device).expand(len(ids), -1) for name in row.types}

    def grid(self, row: Row) -> torch.Tensor | None:
        """See `Reader`."""
        return row.inputs.get("image_grid_thw")
