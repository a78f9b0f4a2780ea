"""One forward pass over rows of one shape: what goes into the model, and what is kept of what comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Any

import torch

from ..errors import BackendError
from ..fast_vision import takes_encoded_pictures
from .rows import GridReader, Reader, Row
from .states import State, foreign_layer, joined
from .vision import PictureCache


class Passes:
    """Forward passes of one model. Not for several threads at once."""

    def __init__(self, model: Any, reader: Reader, *, name: str, forward: Callable[..., Any] | None = None) -> None:
        """Wrap a model.

        Args:
            model: in evaluation mode.
            reader: of its rows.
            name: of the model, for errors.
            forward: what to call instead of the model itself (a compiled one).
        """
        self.model = model
        self.reader = reader
        self.name = name
        self.pictures: PictureCache | None = None
        self._forward = forward
        if isinstance(reader, GridReader) and takes_encoded_pictures(model.model):
            self.pictures = PictureCache(model, reader)
        # Where positions depend on the pictures, the model keeps those of its last prefill to itself; rows of several
        # prefills meet in one pass here, so each row's are computed and handed over.
        self._rope_index = getattr(getattr(model, "model", None), "get_rope_index", None)
        self._keeps_logits = "logits_to_keep" in signature(model.forward).parameters

    def unsupported(self) -> str | None:
        """Why this model cannot be run here; None when nothing is known against it."""
        if self.model.config.is_encoder_decoder:
            return "its answer is not a continuation of its question (an encoder and a decoder)"
        if "past_key_values" not in signature(self.model.forward).parameters:
            return "it cannot go on from keys and values it computed before"
        if self._rope_index is not None:
            known = {"input_ids", "mm_token_type_ids", "image_grid_thw"}
            needed = {
                name
                for name, parameter in signature(self._rope_index).parameters.items()
                if parameter.default is Parameter.empty and parameter.kind is not Parameter.VAR_KEYWORD
            }
            lacking = sorted(needed - known)
            if lacking or "mm_token_type_ids" not in signature(self._rope_index).parameters:
                return f"its positions are computed from {', '.join(lacking) or 'other things than token types'}"
        return None

    @torch.inference_mode()
    def run(self, rows: Sequence[Row], known: int, past: Sequence[State]) -> list[State]:
        """The states after rows of one shape, from those after their first `known` tokens (0: from the start)."""
        device = self.model.device
        ids = torch.tensor([row.ids for row in rows], device=device)
        inputs: dict[str, Any] = {"use_cache": True}
        if self._keeps_logits:
            inputs["logits_to_keep"] = 1
        types = self.reader.types(rows[0], ids)
        if self._rope_index is not None:
            inputs["position_ids"] = self._positions(rows, ids, types)[:, :, known:]
        if known:
            inputs["past_key_values"] = joined(past)
        else:
            inputs.update(self._pixels(rows))
            inputs.update(types)
        forward = self.model if self._forward is None else self._forward
        out = forward(input_ids=ids[:, known:], **inputs)
        logprobs = torch.log_softmax(out.logits[:, -1].float(), dim=-1).cpu()
        if logprobs.isnan().any():
            raise BackendError(f"{self.name}: its probabilities are not numbers; does {self.model.dtype} suit it?")
        layers = out.past_key_values.layers
        foreign = foreign_layer(layers, tokens=ids.shape[1])
        if foreign is not None:
            raise BackendError(f"{self.name}: it keeps {foreign} between passes, which this engine cannot go on from")
        return [State(layers, i, logprobs[i]) for i in range(len(rows))]

    def _positions(self, rows: Sequence[Row], ids: torch.Tensor, types: dict[str, torch.Tensor]) -> torch.Tensor:
        """Rotary positions of rows that share one shape: (axes, N, T)."""
        first = rows[0]
        grid = self.reader.grid(first)
        if "mm_token_type_ids" not in types:
            raise BackendError(f"{self.name}: its processor does not say which tokens are pictures")
        assert self._rope_index is not None
        positions: torch.Tensor
        positions, _ = self._rope_index(
            ids[:1],
            mm_token_type_ids=types["mm_token_type_ids"][:1],
            image_grid_thw=None if grid is None else grid.to(ids.device),
        )
        return positions.expand(-1, len(ids), -1)

    def _pixels(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Vision inputs of rows that share one shape."""
        device, dtype = self.model.device, self.model.dtype
        pictures = [p for row in rows for p in row.pictures]
        if not isinstance(self.reader, GridReader):
            made = {k: torch.cat([row.inputs[k] for row in rows]).to(device) for k in rows[0].inputs}
            return {k: v.to(dtype) if v.is_floating_point() else v for k, v in made.items()}
        if not pictures:
            return {}
        grid = torch.cat([g for g in map(self.reader.grid, rows) if g is not None]).to(device)
        if self.pictures is None:
            return {"pixel_values": self.reader.patches(pictures).to(device, dtype), "image_grid_thw": grid}
        return {"mm_encoder_outputs": {"image": self.pictures.output_for(rows)}, "image_grid_thw": grid}
