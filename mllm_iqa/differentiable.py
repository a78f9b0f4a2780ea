"""A score that gradients flow through: tensors in, MOS out. For models of the Qwen-VL families, `nano` among them.

A quality model is a learned function with blind spots. What climbs its gradient finds them long before it finds a
better picture: a change too small to see can move the score by a whole level (`mllm-iqa eval robustness` measures how
small). Use `mllm_iqa.guarded` around it when pictures are optimised, and look at the pictures.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from .backends.base import Conversation
from .errors import BackendError, ImageError
from .images import MAX_ASPECT, MIN_SIDE, Picture, fitted_size
from .levels import LEVELS, VALUES
from .prompt_files import load_prompt
from .types import ImageInfo

if TYPE_CHECKING:
    from .assistant import Assistant

FAMILIES: tuple[str, ...] = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
"""Model types whose picture input is computed here; the others' processors work outside torch."""


class MetricGamingWarning(UserWarning):
    """Gradients of a score are about to be used without anything that keeps the picture honest."""


class DifferentiableScore:
    """MOS of pictures as a function that torch can differentiate.

    The same question, read-out and preparation as `Assistant.score(image, explain=False)`, computed in torch from the
    picture to the MOS. For pictures whose values are whole 255ths and that fit the model's pixel budget the MOS is
    that of `Assistant.score` to 1e-3. Values between are not rounded to 8 bits, and larger pictures are reduced by the
    same Lanczos filter without Pillow's rounding between its passes: both move the MOS by less than 0.03.

    The weights of the model are frozen (`requires_grad_(False)`); only pictures get gradients.
    """

    def __init__(self, assistant: Assistant, *, gaming_is_handled: bool = False) -> None:
        """Wrap a loaded model.

        Args:
            assistant: of a Qwen-VL checkpoint run by transformers, as `Assistant.load("nano")` gives.
            gaming_is_handled: you guard against metric gaming yourself; no warning then.

        Raises:
            BackendError: another engine, or another model family.
        """
        backend: Any = assistant.backend
        kind = getattr(getattr(getattr(backend, "model", None), "config", None), "model_type", None)
        if kind not in FAMILIES:
            raise BackendError(
                f"{backend.name}: no differentiable score for "
                f"{'this engine' if kind is None else f'models of type {kind!r}'}; there is one for "
                f"{', '.join(FAMILIES)} run by transformers"
            )
        self._backend = backend
        self._model = backend.model.requires_grad_(False)
        self._max_pixels = assistant.max_pixels
        self._prompt = load_prompt("rate.v1")
        self._paths = _level_tokens(backend.tokenizer, self._prompt.answer_prefix)
        self._warns = not gaming_is_handled

    @property
    def device(self) -> torch.device:
        """Where the model is; pictures are moved there."""
        device: torch.device = self._model.device
        return device

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """MOS of each picture.

        Args:
            pixels: floating point, shape (N, 3, H, W), RGB in sRGB, values in [0, 1].

        Returns:
            float32, shape (N,), in [1, 5].

        Raises:
            ImageError: another shape or dtype, values outside [0, 1], or a size that `load_image` refuses.
        """
        if self._warns and pixels.requires_grad:
            self._warns = False
            warnings.warn(
                "the gradient of a quality model leads to pictures that please the model, not people; wrap the score "
                "in mllm_iqa.guarded.GuardedScore, or say gaming_is_handled=True",
                MetricGamingWarning,
                stacklevel=2,
            )
        probs = self.level_probabilities(pixels)
        return probs @ torch.from_numpy(VALUES.copy()).to(probs)

    def level_probabilities(self, pixels: torch.Tensor) -> torch.Tensor:
        """Probabilities of the five levels, shape (N, 5), aligned with `levels.LEVELS`; arguments as in the call."""
        _check(pixels)
        x = self._fitted(pixels.to(self.device, torch.float32))
        # Every proper beginning of a level is a place where a next-token distribution is needed; mostly only ().
        stems = {path[:n] for path in self._paths for n in range(len(path))}
        after = {stem: self._next_logprobs(x, stem) for stem in stems}
        levels = [sum(after[path[:n]][:, token] for n, token in enumerate(path)) for path in self._paths]
        return torch.softmax(torch.stack([x.new_zeros(len(x)) + level for level in levels], dim=1), dim=1)

    # Parts.

    def _next_logprobs(self, x: torch.Tensor, said: tuple[int, ...]) -> torch.Tensor:
        """Log-probs of the token after the answer's beginning and the tokens `said`, shape (N, vocabulary)."""
        inputs = self._inputs(x, said)
        logits = self._model(**inputs, use_cache=False, logits_to_keep=1).logits[:, -1]
        return torch.log_softmax(logits.float(), dim=-1)

    def _inputs(self, x: torch.Tensor, said: tuple[int, ...]) -> dict[str, torch.Tensor]:
        """What the model takes for N pictures of one size, the level's tokens `said` so far at the end."""
        count, _, height, width = x.shape
        blank = Picture(np.zeros((height, width, 3), np.uint8), ImageInfo("", width, height, width, height))
        asked = Conversation.ask([blank], self._prompt.question, self._prompt.answer_prefix)
        one = self._backend.inputs_of(self._backend.text_of(asked), [blank])
        ids = torch.cat([one["input_ids"], torch.tensor([said], dtype=torch.long)], dim=1)
        types = functional.pad(one["mm_token_type_ids"], (0, len(said)))
        processor = self._backend.image_processor
        return {
            "input_ids": ids.expand(count, -1).to(self.device),
            "attention_mask": torch.ones_like(ids).expand(count, -1).to(self.device),
            "mm_token_type_ids": types.expand(count, -1).to(self.device),
            "image_grid_thw": one["image_grid_thw"].expand(count, -1).to(self.device),
            "pixel_values": patches(
                x,
                patch=processor.patch_size,
                merge=processor.merge_size,
                frames=processor.temporal_patch_size,
                mean=processor.image_mean,
                std=processor.image_std,
            ).to(self._model.dtype),
        }

    def _fitted(self, x: torch.Tensor) -> torch.Tensor:
        """Reduced to the pixel budget, as intake does."""
        height, width = x.shape[2:]
        new_width, new_height = fitted_size(width, height, self._max_pixels)
        return x if (new_width, new_height) == (width, height) else lanczos(x, new_height, new_width)


def _check(pixels: torch.Tensor) -> None:
    if pixels.ndim != 4 or pixels.shape[1] != 3 or not pixels.is_floating_point():
        raise ImageError(f"expected floating-point pixels (N, 3, H, W), got {pixels.dtype} of {tuple(pixels.shape)}")
    if not len(pixels):
        raise ImageError("expected at least one picture, got none")
    height, width = pixels.shape[2:]
    if min(height, width) < MIN_SIDE or max(height, width) > MAX_ASPECT * min(height, width):
        raise ImageError(f"{width}x{height} pixels: the smaller side must be at least {MIN_SIDE}, the sides not differ "
                         f"by more than {MAX_ASPECT}:1")  # fmt: skip
    low, high = float(pixels.detach().min()), float(pixels.detach().max())
    if not (low >= 0.0 and high <= 1.0):
        raise ImageError(f"pixel values {low:g}..{high:g} must be finite and in [0, 1]; clamp them first")


def _level_tokens(tokenizer: Any, prefix: str) -> list[tuple[int, ...]]:
    """Tokens of each level as they come after the answer's beginning."""
    prompt = load_prompt("rate.v1")
    start = tokenizer(prefix, add_special_tokens=False)["input_ids"]
    paths = []
    for level in LEVELS:
        joined = tokenizer(prefix + prompt.phrase("level", level=level), add_special_tokens=False)["input_ids"]
        if joined[: len(start)] != start or len(joined) == len(start):
            raise BackendError(f"the level {level!r} melts into the words before it with this tokenizer")
        paths.append(tuple(joined[len(start) :]))
    return paths


def patches(
    x: torch.Tensor, *, patch: int, merge: int, frames: int, mean: list[float], std: list[float]
) -> torch.Tensor:
    """Pictures as the vision towers of the Qwen-VL families take them, differentiably.

    Args:
        x: shape (N, 3, H, W), in [0, 1]; edges are continued by reflection to multiples of `patch * merge`.
        patch: side of a patch in pixels.
        merge: patches merged per side.
        frames: how often each picture stands in time.
        mean: of each channel, subtracted.
        std: of each channel, divided by.

    Returns:
        Shape (N * H'/patch * W'/patch, 3 * frames * patch * patch), in the order of the family's image processor.
    """
    step = patch * merge
    height, width = x.shape[2:]
    missing = (-height % step, -width % step)
    if any(missing):
        x = functional.pad(x, (0, missing[1], 0, missing[0]), mode="reflect")
    count, channels, height, width = x.shape
    middle, spread = (x.new_tensor(v)[:, None, None] for v in (mean, std))
    x = ((x - middle) / spread).view(count, channels, height // step, merge, patch, width // step, merge, patch)
    x = x.permute(0, 2, 5, 3, 6, 1, 4, 7).unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, frames, -1, -1)
    return x.reshape(count * (height // patch) * (width // patch), channels * frames * patch * patch)


def lanczos(x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resize as Pillow's Lanczos filter does, differentiably and without its rounding to 8 bits.

    Args:
        x: shape (N, C, H, W), in [0, 1].
        height: of the result.
        width: of the result.

    Returns:
        Shape (N, C, height, width), in [0, 1].
    """
    across = torch.from_numpy(_lanczos_weights(x.shape[3], width)).to(x)
    down = torch.from_numpy(_lanczos_weights(x.shape[2], height)).to(x)
    return (down @ (x @ across.T).clamp(0, 1)).clamp(0, 1)


@cache
def _lanczos_weights(old: int, new: int) -> np.ndarray:
    """Weights of the old pixels for each new one, shape (new, old), rows summing to 1; Pillow's `precompute_coeffs`."""
    scale = old / new
    stretch = max(scale, 1.0)
    out = np.zeros((new, old))
    for i in range(new):
        center = (i + 0.5) * scale
        first = max(0, int(center - 3 * stretch + 0.5))
        last = min(old, int(center + 3 * stretch + 0.5))
        at = (np.arange(first, last) - center + 0.5) / stretch
        weights = np.where(np.abs(at) < 3, np.sinc(at) * np.sinc(at / 3), 0.0)
        out[i, first:last] = weights / weights.sum()
    return out
