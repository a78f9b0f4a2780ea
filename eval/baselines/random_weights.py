"""Models whose weights need a download, built with random ones: no use for a score, but as slow as the real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from mllm_iqa.fast_vision import grid_of, patchify
from mllm_iqa.images import pad_to_multiple

from .loading import tensor_of

Time = Callable[[np.ndarray], object]
"""What is to be timed, on a uint8 RGB (H, W, 3) picture."""

_QUESTION_TOKENS = 32


def musiq() -> Time:
    """MUSIQ (Ke et al., 2021) in pyiqa's class: three scales, 14 layers of width 384."""
    from pyiqa.archs.musiq_arch import MUSIQ

    model: Any = MUSIQ(pretrained=False).eval()
    return lambda picture: model(tensor_of(picture.copy()))


def clipiqa() -> Time:
    """CLIP-IQA (Wang et al., 2023) in pyiqa's class, on a CLIP ResNet-50 of the published sizes."""
    from pyiqa.archs import clipiqa_arch
    from pyiqa.archs.clip_model import CLIP

    def untrained(name: str, device: str) -> Any:
        return CLIP(1024, 224, (3, 4, 6, 3), 64, None, 77, 49408, 512, 8, 12).to(device).eval()

    original = clipiqa_arch.load
    clipiqa_arch.load = untrained  # its constructor takes no weights from outside
    try:
        model: Any = clipiqa_arch.CLIPIQA(pretrained=False).eval()
    finally:
        clipiqa_arch.load = original
    return lambda picture: model(tensor_of(picture.copy()))


def qwen(*, layers: int = 24, depth: int = 12) -> Time:
    """A vision-language model of 0.85 billion parameters in the class of Qwen3.5, asked for one token.

    One pass over the picture's tokens (a quarter as many as it has patches of 16 px) and a question of 32 tokens, in
    float32, as a level is read: nothing is generated. The linear attention of three of four layers runs as the plain
    PyTorch that transformers has for a CPU.

    Args:
        layers: of the language model.
        depth: layers of the vision tower.
    """
    from transformers import Qwen3_5Config, Qwen3_5ForConditionalGeneration

    config = Qwen3_5Config(
        text_config={
            "hidden_size": 1024,
            "intermediate_size": 3584,
            "num_hidden_layers": layers,
            "num_attention_heads": 8,
            "num_key_value_heads": 2,
            "head_dim": 256,
            "linear_num_key_heads": 16,
            "linear_num_value_heads": 16,
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": depth,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_heads": 12,
            "out_hidden_size": 1024,
        },
        tie_word_embeddings=True,
    )
    build: Any = Qwen3_5ForConditionalGeneration
    model = build(config).eval()

    def ask(picture: np.ndarray) -> torch.Tensor:
        pixels = pad_to_multiple(picture, 32)[None]
        grid = grid_of(pixels)
        picture_tokens = int(grid.prod()) // 4
        ids = [config.vision_start_token_id, *[config.image_token_id] * picture_tokens, config.vision_end_token_id]
        ids += list(range(100, 100 + _QUESTION_TOKENS))
        input_ids = torch.tensor([ids])
        answer: torch.Tensor = model(
            input_ids=input_ids,
            mm_token_type_ids=(input_ids == config.image_token_id).long(),
            pixel_values=patchify(pixels),
            image_grid_thw=grid,
            logits_to_keep=1,
            use_cache=False,
        ).logits
        return answer

    return ask


RANDOM_WEIGHTS: dict[str, tuple[str, Callable[[], Time]]] = {
    "musiq": ("MUSIQ, random weights", musiq),
    "clipiqa": ("CLIP-IQA (ResNet-50), random weights", clipiqa),
    "qwen": ("Qwen3.5 class, 0.85 B parameters, random weights", qwen),
}
"""Name -> title and builder."""
