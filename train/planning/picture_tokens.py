"""How many tokens a picture takes in each family of models, from its size and the model's configuration."""

from __future__ import annotations

from typing import Any

from transformers import GotOcr2ImageProcessorPil, Idefics3ImageProcessorPil, SmolVLMImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from mllm_iqa.errors import CheckpointError

QWEN = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")


def picture_tokens(config: Any, height: int, width: int, *, max_pixels: int, source: str | None = None) -> int:
    """Tokens that hold the features of one picture (markup around them not counted).

    The sizes are those of transformers' own image processors.

    Args:
        config: of a model of transformers.
        height: of the picture in pixels.
        width: of the picture in pixels.
        max_pixels: budget of one picture; matters in the Qwen families, which see pictures at their own size.
        source: folder whose image processor's settings count instead of the family's defaults.

    Raises:
        CheckpointError: a family that is not known here.
    """
    kind = config.model_type
    if kind in QWEN:
        vision = config.vision_config
        cell = vision.patch_size * vision.spatial_merge_size
        rows, columns = smart_resize(height, width, factor=cell, min_pixels=cell**2, max_pixels=max_pixels)
        return int(rows // cell * (columns // cell))
    if kind == "llava":
        vision = config.vision_config
        classes = config.vision_feature_select_strategy == "full" and vision.model_type == "clip_vision_model"
        return int((vision.image_size // vision.patch_size) ** 2 + classes)
    merged = patches_per_token(config)
    side = _side(config.vision_config.image_size)
    per_tile = (side // _side(config.vision_config.patch_size)) ** 2 // merged
    options: dict[str, Any] = {}
    if kind in ("internvl", "cohere2_vision"):
        if source is None:
            options = {"size": {"height": side, "width": side}, "crop_to_patches": True}
        tiles = _processor(GotOcr2ImageProcessorPil, source, options).get_number_of_image_patches(height, width, {})
        return int(tiles * per_tile)
    if source is None:
        options = {"size": {"longest_edge": 4 * side}, "max_image_size": {"longest_edge": side}}  # as published
    split = SmolVLMImageProcessorPil if kind == "smolvlm" else Idefics3ImageProcessorPil
    tiles, _, _ = _processor(split, source, options).get_number_of_image_patches(height, width, {})
    return int(tiles * per_tile)


def patches_per_token(config: Any) -> int:
    """Patches of the vision tower that become one token.

    Raises:
        CheckpointError: a family that is not known here.
    """
    kind = config.model_type
    if kind in QWEN:
        return int(config.vision_config.spatial_merge_size**2)
    if kind == "llava":
        return 1
    if kind == "internvl":
        return int(round(1 / config.downsample_ratio) ** 2)
    if kind == "cohere2_vision":
        return int(config.downsample_factor**2)
    if kind in ("idefics3", "smolvlm"):
        return int(config.scale_factor**2)
    raise CheckpointError(f"tokens of a picture are not known for models of type {kind!r}")


def _side(size: Any) -> int:
    return int(size if isinstance(size, int) else size[0])


def _processor(kind: Any, source: str | None, options: dict[str, Any]) -> Any:
    return kind(**options) if source is None else kind.from_pretrained(source)
