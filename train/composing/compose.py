"""A new multimodal model: an OpenCLIP vision tower, a projector and a causal language model, as a stock checkpoint.

| projector | tower | class (transformers and vLLM) | tokens of a picture |
|---|---|---|---|
| mlp | `CLIPVisionModel`, `SiglipVisionModel` | `LlavaForConditionalGeneration` | one per patch of the padded picture |
| mlp | `InternVLVisionModel` | `InternVLForConditionalGeneration` | one per patch of every tile |
| shuffle | `SiglipVisionModel` | `Cohere2VisionForConditionalGeneration` | one per 2 x 2 patches of every tile |
| shuffle | `InternVLVisionModel` | `InternVLForConditionalGeneration` | one per 2 x 2 patches of every tile |

`shuffle` puts 2 x 2 patches side by side in one token (pixel shuffle), so nothing of them is averaged away; with tiles
of the tower's own size a large picture keeps its resolution. No stock class that vLLM serves shuffles the patches of a
CLIP tower, and its Cohere2Vision reads no output layer, so that takes a language model which ties it to its
words. Tower and language model keep their weights; the projector is random until it is trained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from transformers import (
    Cohere2VisionConfig,
    Cohere2VisionForConditionalGeneration,
    Cohere2VisionProcessor,
    GotOcr2ImageProcessorPil,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaImageProcessorPil,
    LlavaProcessor,
    PreTrainedModel,
)

from mllm_iqa.errors import CheckpointError

from .language_model import LanguageModel
from .open_clip_tower import Tower

Projector = Literal["mlp", "shuffle"]
Family = Literal["llava", "cohere2_vision", "internvl"]

MERGED = 2
"""Patches along each side that `shuffle` makes one token of."""

_FAMILY: dict[tuple[str, Projector], Family] = {
    ("clip_vision_model", "mlp"): "llava",
    ("siglip_vision_model", "mlp"): "llava",
    ("siglip_vision_model", "shuffle"): "cohere2_vision",
    ("internvl_vision", "mlp"): "internvl",
    ("internvl_vision", "shuffle"): "internvl",
}

_TOKENS: dict[Family, dict[str, str]] = {
    "llava": {"image_token": "<image>"},
    "cohere2_vision": {
        "image_token": "<image>",
        "boi_token": "<img>",
        "eoi_token": "</img>",
        "img_line_break_token": "<img_break>",
    },
    "internvl": {
        "context_image_token": "<image>",
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "video_token": "<video>",
    },
}
"""Attributes of the tokenizer that each family's processor reads."""


@dataclass(frozen=True, slots=True)
class Composed:
    """A composed model with its processor, ready to be saved; `tokens` of a picture that fills one tile."""

    model: Any
    processor: Any
    tokens: int


def family_of(tower: Tower, projector: Projector) -> Family:
    """Which stock class holds this tower and projector.

    Raises:
        CheckpointError: none does, or the patches cannot be merged two by two.
    """
    kind = tower.model.config.model_type
    if (kind, projector) not in _FAMILY:
        raise CheckpointError(
            f"no stock class that vLLM serves has projector {projector!r} on a CLIP tower; take projector 'mlp', or a "
            "SigLIP tower such as ViT-SO400M-16-SigLIP2-384"
        )
    side = tower.image_size // tower.patch_size
    if projector == "shuffle" and side % MERGED:
        raise CheckpointError(
            f"the tower cuts a picture into {side} x {side} patches, which cannot be merged {MERGED} by {MERGED}; take "
            "projector 'mlp' or a tower with an even number"
        )
    return _FAMILY[kind, projector]


def picture_tokens(family: Family) -> dict[str, str]:
    """Special tokens that the language model's tokenizer needs: attribute -> token."""
    return dict(_TOKENS[family])


@torch.no_grad()
def compose(tower: Tower, language: LanguageModel, *, projector: Projector, seed: int) -> Composed:
    """Assemble the parts; no weight of the tower or of the language model is copied or changed but for its precision.

    Args:
        tower: whose model is moved to the language model's precision.
        language: with the tokens of `picture_tokens` in its tokenizer.
        projector: see the module.
        seed: of the projector's weights (normal, with the language model's `initializer_range`; biases 0).

    Raises:
        CheckpointError: parts that no stock class holds, or a language model whose answers the class would change.
    """
    family = family_of(tower, projector)
    if family == "cohere2_vision" and not language.model.config.tie_word_embeddings:
        raise CheckpointError(
            f"{language.source} has an output layer of its own, which vLLM does not read for projector 'shuffle' on a "
            "SigLIP tower; take projector 'mlp', or a language model with tied embeddings"
        )
    config, kind = _config(family, tower, language, projector)
    with torch.device("meta"):
        model: Any = kind(config)
    model.model.vision_tower = tower.model.to(language.model.dtype)
    model.model.language_model = language.body
    model.lm_head = language.model.get_output_embeddings()
    model.model.multi_modal_projector = _projector(type(model.model.multi_modal_projector), config, seed=seed).to(
        language.model.dtype
    )
    model.generation_config = language.model.generation_config
    _check_same_answers(model.eval(), language)
    side = tower.image_size // tower.patch_size // (MERGED if projector == "shuffle" else 1)
    return Composed(model, _processor(family, tower, language, side), side**2)


def _config(
    family: Family, tower: Tower, language: LanguageModel, projector: Projector
) -> tuple[Any, type[PreTrainedModel]]:
    text = language.model.config
    parts: dict[str, Any] = {
        "vision_config": tower.model.config,
        "text_config": text,
        "tie_word_embeddings": text.tie_word_embeddings,
        "dtype": language.model.dtype,
    }
    image: Any = language.tokenizer.convert_tokens_to_ids("<image>")
    if family == "llava":
        strategy = "default" if tower.model.config.model_type == "clip_vision_model" else "full"
        seen: dict[str, Any] = {"image_seq_length": tower.tokens, "vision_feature_select_strategy": strategy}
        return LlavaConfig(**parts, **seen, image_token_index=image), LlavaForConditionalGeneration
    if family == "cohere2_vision":
        gated: dict[str, Any] = {"downsample_factor": MERGED, "alignment_intermediate_size": 2 * text.hidden_size}
        return Cohere2VisionConfig(**parts, **gated, image_token_id=image), Cohere2VisionForConditionalGeneration
    merged = MERGED if projector == "shuffle" else 1
    reduced: dict[str, Any] = {"downsample_ratio": 1 / merged, "image_seq_length": tower.tokens // merged**2}
    return InternVLConfig(**parts, **reduced, image_token_id=image), InternVLForConditionalGeneration


def _projector(kind: type[nn.Module], config: Any, *, seed: int) -> nn.Module:
    layer = kind(config)
    generator = torch.Generator().manual_seed(seed)
    for module in layer.modules():
        if isinstance(module, nn.Linear):
            module.weight.normal_(0.0, config.text_config.initializer_range, generator=generator)
            if module.bias is not None:
                module.bias.zero_()
    return layer


def _check_same_answers(model: Any, language: LanguageModel) -> None:
    """Text alone must give the language model's own logits: some scale or cap them after the output layer."""
    rows = language.model.get_input_embeddings().weight.shape[0]
    ids = torch.randint(rows, (1, 16), generator=torch.Generator().manual_seed(0))
    ids[ids == model.config.image_token_id] = 0
    expected, found = language.model(input_ids=ids).logits, model(input_ids=ids).logits
    if not torch.allclose(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
        raise CheckpointError(
            f"{language.source}: {type(language.model).__name__} changes its logits after the output layer, which "
            f"{type(model).__name__} does not; choose another language model"
        )


def _processor(family: Family, tower: Tower, language: LanguageModel, side: int) -> Any:
    pixels = tower.image_size
    looks: dict[str, Any] = {"image_mean": list(tower.mean), "image_std": list(tower.std)}
    square = {"height": pixels, "width": pixels}
    common: dict[str, Any] = {"tokenizer": language.tokenizer, "chat_template": language.tokenizer.chat_template}
    if family == "llava":
        # Padded to a square: neither cut nor stretched, since both would pass for damage.
        images = LlavaImageProcessorPil(size={"shortest_edge": pixels}, crop_size=square, do_pad=True, **looks)
        classes = int(tower.model.config.model_type == "clip_vision_model")
        return LlavaProcessor(  # type: ignore[no-untyped-call]
            image_processor=images,
            patch_size=tower.patch_size,
            vision_feature_select_strategy="default" if classes else "full",
            num_additional_image_tokens=classes,
            **common,
        )
    tiles: Any = GotOcr2ImageProcessorPil(size=square, crop_to_patches=True, **looks)
    if family == "cohere2_vision":
        tiles.patch_size = side  # the name under which the family's processor looks for the tokens along a tile's side
        return Cohere2VisionProcessor(image_processor=tiles, **common)  # type: ignore[no-untyped-call]
    from transformers import InternVLVideoProcessor  # of torchvision

    return InternVLProcessor(
        image_processor=tiles, video_processor=InternVLVideoProcessor(size=square), image_seq_length=side**2, **common
    )
