"""Which parts of a picture speak for damage, from gradients: for Qwen-VL models run by transformers, `nano` among them.

One pass forward and one backward over the whole picture, where tiles take dozens of passes. What is followed is the
probability of "no visible distortion", and what it is followed to are the vision features of every place: gradient
times (feature - mean feature of the picture). A place whose features are those of the picture's mean gets nothing, so
damage all over a picture is not shown. How well it finds damage is measured in docs/where.md: worse than tiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from .backends.base import Conversation
from .differentiable import FAMILIES
from .errors import BackendError
from .images import Picture
from .prompt_files import load_prompt

if TYPE_CHECKING:
    from .assistant import Assistant


def attribution(assistant: Assistant, picture: Picture) -> np.ndarray:
    """How much each place lowers the probability that the picture is clean.

    Args:
        assistant: of a Qwen-VL checkpoint run by transformers.
        picture: as the model judges it.

    Returns:
        float32, shape (H, W) of the picture, in [0, 1]: 1 at the place that lowers it most, 0 where it is raised or
        nothing changes. All 0 where no place lowers it.

    Raises:
        BackendError: another engine, or another model family.
    """
    backend: Any = assistant.backend
    kind = getattr(getattr(getattr(backend, "model", None), "config", None), "model_type", None)
    if kind not in FAMILIES:
        raise BackendError(
            f"{backend.name}: no attribution for {'this engine' if kind is None else f'models of type {kind!r}'}; "
            f"there is one for {', '.join(FAMILIES)} run by transformers; tiles work on every engine"
        )
    grid = _token_attribution(backend, picture)
    step = backend.image_processor.patch_size * backend.image_processor.merge_size
    height, width = picture.pixels.shape[:2]
    return spread(grid, step, height=height, width=width)


def spread(grid: np.ndarray, step: int, *, height: int, width: int) -> np.ndarray:
    """A value of each merged patch as a smooth map of the picture, scaled so that its largest value is 1.

    Args:
        grid: shape (rows, columns): one value for every `step` x `step` pixels, rows from the top; the last ones may
            reach beyond the picture.
        step: in px.
        height: of the picture, in px.
        width: of the picture, in px.

    Returns:
        float32 (H, W) in [0, 1]; negative values are 0.
    """
    values = torch.from_numpy(np.asarray(grid, dtype=np.float32))[None, None]
    smooth = functional.avg_pool2d(functional.pad(values, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    size = (grid.shape[0] * step, grid.shape[1] * step)
    large = functional.interpolate(smooth, size=size, mode="bilinear", align_corners=False)[0, 0]
    kept = large[:height, :width].clamp(min=0).numpy()
    top = float(kept.max())
    return np.ascontiguousarray(kept / top if top > 0 else kept)


def _token_attribution(backend: Any, picture: Picture) -> np.ndarray:
    """The value of each merged patch, shape (rows, columns)."""
    model = backend.model
    prompt = load_prompt("distortion.v1")
    text = backend.text_of(Conversation.ask([picture], prompt.question, prompt.answer_prefix))
    inputs = {name: value.to(model.device) for name, value in backend.inputs_of(text, [picture]).items()}
    pixels = inputs.pop("pixel_values").to(model.dtype)
    grid = inputs["image_grid_thw"]
    with torch.no_grad():
        seen = model.model.get_image_features(pixels, grid)
    shallow = getattr(seen, "deepstack_features", None)
    with torch.enable_grad():
        # Low-level damage shows in the shallowest features that the language model sees: on training photographs they
        # found it better than deeper ones and than all together.
        followed = [part.detach().requires_grad_(True) for part in (shallow[0] if shallow else seen.pooler_output)]
        if shallow:
            seen.deepstack_features = [tuple(followed), *shallow[1:]]
        else:
            seen.pooler_output = tuple(followed)
        out = model(**inputs, mm_encoder_outputs={"image": seen}, use_cache=False, logits_to_keep=1)
        clean = torch.log_softmax(out.logits[0, -1].float(), dim=-1)[_first_token(backend, prompt)]
        (gradient,) = torch.autograd.grad(-clean, followed)
    feature = followed[0].detach()
    values = (gradient * (feature - feature.mean(dim=0))).sum(dim=-1)
    merge = backend.image_processor.merge_size
    _, rows, columns = (int(n) for n in grid[0].tolist())
    return np.asarray(values.float().cpu().numpy()).reshape(rows // merge, columns // merge)


def _first_token(backend: Any, prompt: Any) -> int:
    """The token with which "no visible distortion" begins after the answer's beginning."""
    start = backend.tokenizer(prompt.answer_prefix, add_special_tokens=False)["input_ids"]
    whole = backend.tokenizer(prompt.answer_prefix + prompt.phrase("none"), add_special_tokens=False)["input_ids"]
    return int(whole[len(start)])
