"""What a server of ours tells about its model in `/v1/models`, and its clients read there."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from ..checkpoints import Card


class ServedModel(BaseModel):
    """The `mllm_iqa` field of a model's entry.

    Attributes:
        candidates: that a chat completion with `candidates` answers with `candidate_logprobs`.
        name: name and version of the model, as it stands in results.
        max_pixels: budget of one picture; None = native size whatever it is.
        languages: it answers in.
        card: of its checkpoint, where it has one.
    """

    model_config = ConfigDict(frozen=True)

    candidates: Literal[True] = True
    name: str
    max_pixels: int | None
    languages: tuple[str, ...]
    card: Card | None
