"""Does a family of models that nobody has tried here run as transformers runs it? Asked once, when one is loaded.

Two small passes: the conversation in one go, as transformers would do it with all that the processor made, and in two
pieces as this engine does it. Where they differ the model is refused, so that no score is ever silently wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import BackendError
from ..images import load_image
from ..prompt_files import load_prompt
from .base import Conversation
from .loading import first_line
from .rows import ProcessorReader, Row

if TYPE_CHECKING:
    from .huggingface import HuggingFaceBackend

TESTED_FAMILIES = frozenset(
    {
        "glm4v",
        "idefics3",
        "internvl",
        "llava",
        "llava_onevision",
        "qwen2_5_vl",
        "qwen2_vl",
        "qwen3_5",
        "qwen3_vl",
        "smolvlm",
    }
)
"""Model types whose numbers the tests compare with transformers' own, on checkpoints of the true class."""

_MOST_MOVED = 0.05
"""Probability mass that may lie elsewhere: float16 and bfloat16 round differently in passes of other shapes."""


def check_family(backend: HuggingFaceBackend) -> str | None:
    """What keeps this engine from running a model as transformers does; None when both agree."""
    picture = load_image(np.indices((96, 128)).sum(axis=0)[..., None].repeat(3, axis=2).astype(np.uint8))
    prompt = load_prompt("rate.v1")
    text = backend.text_of(Conversation.ask([picture], prompt.question, prompt.answer_prefix))
    try:
        row = backend._reader.row(text, (picture,))
        start = Row(row.ids[:-3], row.pictures, row.digests, row.inputs, {k: v[:-3] for k, v in row.types.items()})
        found = _next_probs(backend, start, row)
        expected = _plain_probs(backend, text, row)
    except BackendError as error:
        return first_line(error)
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        return f"a trial question failed: {first_line(error)}"
    moved = float((found - expected).abs().sum()) / 2
    return None if moved <= _MOST_MOVED else f"its answers differ from transformers' own (by {moved:.2f} of 1)"


def _next_probs(backend: HuggingFaceBackend, start: Row, row: Row) -> torch.Tensor:
    (before,) = backend._pass([start], 0, [])
    (after,) = backend._pass([row], len(start.ids), [before])
    return after.logprobs.exp()


@torch.inference_mode()
def _plain_probs(backend: HuggingFaceBackend, text: str, row: Row) -> torch.Tensor:
    """Next-token probabilities from one forward pass over all that the processor made."""
    model = backend.model
    if isinstance(backend._reader, ProcessorReader):
        made = backend._reader.made(text, row.pictures)
    else:
        made = dict(backend.inputs_of(text, row.pictures))
    inputs = {k: v.to(model.device, model.dtype if v.is_floating_point() else v.dtype) for k, v in made.items()}
    probs: torch.Tensor = model(**inputs).logits[0, -1].float().softmax(-1).cpu()
    return probs
