"""Pictures encoded once for all their questions, where a model can be handed what its vision tower made of them."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from ..images import Picture
from ..parallel import one_thread_each
from .rows import GridReader, Row, digests_of

CACHED_PICTURES = 64


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a vision tower made of one picture: merged tokens (n, hidden), and features of earlier layers if any."""

    tokens: torch.Tensor
    earlier: tuple[torch.Tensor, ...]


class PictureCache:
    """The encoded pictures of a model of the Qwen families. Not for several threads at once."""

    def __init__(self, model: Any, reader: GridReader) -> None:
        self.model = model
        self.reader = reader
        self._encoded: OrderedDict[str, Encoded] = OrderedDict()

    def __len__(self) -> int:
        return len(self._encoded)

    def clear(self) -> None:
        """Drop all of them."""
        self._encoded.clear()

    def output_for(self, rows: Sequence[Row]) -> Any:
        """What the model takes in place of the pixels of these rows' pictures, in order."""
        digests = [d for row in rows for d in row.digests]
        pictures = [p for row in rows for p in row.pictures]
        self.encode(dict(zip(digests, pictures, strict=True)))
        encoded = [self._encoded[d] for d in digests]
        out: Any = BaseModelOutputWithDeepstackFeatures()
        out.pooler_output = [picture.tokens for picture in encoded]
        out.deepstack_features = [[e.earlier[k] for e in encoded] for k in range(len(encoded[0].earlier))]
        return out

    def features(self, pictures: Sequence[Picture]) -> np.ndarray:
        """Mean and standard deviation of each picture's tokens over their places: float32, shape (N, 2, hidden)."""
        digests = digests_of(pictures)
        self.encode(dict(zip(digests, pictures, strict=True)))
        shown = [self._encoded[digest].tokens.float() for digest in digests]
        pooled = [torch.stack([tokens.mean(dim=0), tokens.std(dim=0, unbiased=False)]) for tokens in shown]
        return np.asarray(torch.stack(pooled).cpu().numpy())

    def encode(self, pictures: Mapping[str, Picture]) -> None:
        """Encode what is not cached and drop the oldest beyond the bound."""
        on_cpu = self.model.device.type == "cpu"
        together: dict[object, list[str]] = defaultdict(list)
        for digest, picture in pictures.items():
            if digest in self._encoded:
                self._encoded.move_to_end(digest)
            else:
                together[digest if on_cpu else picture.pixels.shape].append(digest)
        groups = list(together.values())
        shown = [[pictures[d] for d in digests] for digests in groups]
        # On a CPU one thread a picture: cores that need not wait for one another, working sets that fit their caches.
        encoded = one_thread_each(self._of, shown) if on_cpu and len(shown) > 1 else map(self._of, shown)
        for digests, group in zip(groups, encoded, strict=True):
            self._encoded.update(zip(digests, group, strict=True))
        while len(self._encoded) > max(CACHED_PICTURES, len(pictures)):
            self._encoded.popitem(last=False)

    @torch.inference_mode()
    def _of(self, pictures: list[Picture]) -> list[Encoded]:
        """Some pictures of equal size, encoded."""
        row = Row((), tuple(pictures), ())
        patches = self.reader.patches(pictures).to(self.model.device, self.model.dtype)
        grid = self.reader.grid(row)
        out = self.model.model.get_image_features(
            patches, None if grid is None else grid.to(patches.device), return_dict=True
        )
        earlier = getattr(out, "deepstack_features", None) or ()
        return [Encoded(out.pooler_output[i], tuple(layer[i] for layer in earlier)) for i in range(len(pictures))]
