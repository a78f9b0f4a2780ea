"""The vision tower of an OpenCLIP model as the transformers class that computes the same, so that stock engines run it.

| tower | class |
|---|---|
| OpenCLIP ViT with a norm before its blocks (OpenAI, LAION, DataComp, DFN, MetaCLIP ...) | `CLIPVisionModel` |
| OpenCLIP ViT without one (CLIPA) | `InternVLVisionModel` |
| timm ViT without a class token (SigLIP, SigLIP 2) | `SiglipVisionModel` |

Anything else is refused by name. A layer scale is folded into the weights it scales where the class has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    InternVLVisionConfig,
    InternVLVisionModel,
    PreTrainedModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from mllm_iqa.errors import CheckpointError

MAX_DIFFERENCE = 1e-4
"""Largest difference of a feature, after the tower's final norm (so of unit scale), that counts as the same."""

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Tower:
    """A converted vision tower.

    Attributes:
        model: `CLIPVisionModel`, `InternVLVisionModel` or `SiglipVisionModel`, float32, in evaluation mode.
        image_size: side of its square input in pixels; patch_size: of a patch.
        mean, std: per RGB channel, of pixels in 0..1.
        max_difference: largest difference of a feature from OpenCLIP's, over all layers; see `feature_difference`.
    """

    model: PreTrainedModel
    image_size: int
    patch_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    max_difference: float

    @property
    def tokens(self) -> int:
        """Patches of one input, the class token not counted."""
        return (self.image_size // self.patch_size) ** 2


def load_tower(name: str, pretrained: str | None = None) -> Tower:
    """Load an OpenCLIP model and convert its vision tower.

    Args:
        name: of an architecture ("ViT-B-32"), or "hf-hub:owner/name" or "local-dir:folder", which bring weights.
        pretrained: tag or weights file of an architecture; None for the latter two.

    Raises:
        CheckpointError: no such model, no weights, or a tower that no class computes exactly.
    """
    import open_clip

    schema, _ = open_clip.factory.parse_model_name(name)
    if schema is None and pretrained is None:
        tags = open_clip.list_pretrained_tags_by_model(name)
        known = f"one of {', '.join(tags)}, or a weights file" if tags else "a weights file"
        raise CheckpointError(f"{name}: which weights? Give --pretrained, {known}")
    if schema is not None and pretrained is not None:
        raise CheckpointError(f"{name} brings its own weights; leave --pretrained {pretrained} out")
    try:
        model = open_clip.create_model(name, pretrained=pretrained, require_pretrained=True)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(f"OpenCLIP has no model {name!r} with weights {pretrained!r}: {error}") from error
    return convert_tower(model.visual, name=name)


def convert_tower(visual: Any, *, name: str) -> Tower:
    """Convert the `visual` part of an OpenCLIP model.

    Args:
        visual: an OpenCLIP vision tower with float32 weights.
        name: of the model, for messages.

    Raises:
        CheckpointError: an architecture that no class of transformers computes exactly; the message names it.
    """
    visual.eval()
    parts = _read(visual, name)
    model = _built(parts)
    model.eval()  # type: ignore[no-untyped-call]
    difference = feature_difference(visual, model)
    if not difference <= MAX_DIFFERENCE:
        raise _refusal(name, f"of a kind whose features would differ by {difference:.1e}")
    mean, std = (tuple(float(x) for x in getattr(visual, key, default)) for key, default in _OPENAI.items())
    return Tower(model, parts.image_size, parts.patch_size, mean, std, difference)


@torch.inference_mode()
def feature_difference(visual: Any, model: Any) -> float:
    """Largest |difference| of patch features between a tower and its conversion, over all layers, on random pixels.

    Features are compared after the tower's final norm, which gives those of every layer unit scale.

    Args:
        visual: an OpenCLIP vision tower.
        model: what `convert_tower` made of it.
    """
    config = model.config
    side = config.image_size if isinstance(config.image_size, int) else config.image_size[0]
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    if _kind(visual) == "VisionTransformer":
        made = visual.forward_intermediates(
            pixels, normalize_intermediates=True, intermediates_only=True, output_fmt="NLC"
        )
        expected = made["image_intermediates"]
    else:
        expected = visual.trunk.forward_intermediates(pixels, norm=True, intermediates_only=True, output_fmt="NLC")
    norm = model.layernorm if config.model_type == "internvl_vision" else model.post_layernorm
    layers = model(pixels, output_hidden_states=True).hidden_states[-len(expected) :]
    return max(
        float((norm(found)[:, -wanted.shape[1] :] - wanted).abs().max())
        for found, wanted in zip(layers, expected, strict=True)
    )


_OPENAI = {
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
}
"""OpenCLIP's own default where a tower does not say how its pixels are normalized."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """The weights of a ViT under names of ours: `top` outside the blocks, and one dict for each block."""

    image_size: int
    patch_size: int
    heads: int
    eps: float
    activation: str
    top: Tensors
    blocks: list[Tensors]


def _kind(visual: Any) -> str:
    return type(visual).__name__


def _refusal(name: str, what: str) -> CheckpointError:
    return CheckpointError(
        f"the vision tower of {name} is {what}, which no class of transformers "
        "computes exactly; use a plain ViT of OpenCLIP, such as ViT-L-14, or a SigLIP tower, such as ViT-B-16-SigLIP"
    )


def _read(visual: Any, name: str) -> _Parts:
    """Take a tower apart; raises a CheckpointError that names what does not fit."""
    if _kind(visual) == "VisionTransformer":
        if visual.attn_pool is not None:
            raise _refusal(name, "a ViT with attentional pooling (CoCa)")
        sizes, patch, norm, blocks = visual.image_size, visual.patch_size, visual.ln_post, visual.transformer.resblocks
        top = {
            "cls": visual.class_embedding,
            "patch.weight": visual.conv1.weight,
            "position": visual.positional_embedding,
            **_pair("pre", visual.ln_pre),
        }
    elif _kind(visual) == "TimmModel" and _kind(visual.trunk) == "VisionTransformer":
        trunk = visual.trunk
        if trunk.num_prefix_tokens or trunk.pos_embed is None or _pair("pre", trunk.norm_pre):
            raise _refusal(name, "a timm ViT with class or register tokens, a norm before its blocks or no positions")
        sizes, patch, norm, blocks = trunk.patch_embed.img_size, trunk.patch_embed.patch_size, trunk.norm, trunk.blocks
        top = {"position": trunk.pos_embed[0], **_pair("patch", trunk.patch_embed.proj)}
    else:
        raise _refusal(name, f"of type {_kind(visual.trunk if _kind(visual) == 'TimmModel' else visual)}")
    if len(set(sizes)) > 1 or len(set(patch)) > 1:
        raise _refusal(name, f"a ViT for pictures of {sizes} pixels in patches of {patch}, not squares")
    if not isinstance(norm, nn.LayerNorm):
        raise _refusal(name, "a ViT without a final norm of its patches")
    if unlike := [_kind(b) for b in blocks if _kind(b) not in ("ResidualAttentionBlock", "Block")]:
        raise _refusal(name, f"a ViT with blocks of type {unlike[0]}")
    return _Parts(
        image_size=int(sizes[0]),
        patch_size=int(patch[0]),
        heads=int(blocks[0].attn.num_heads),
        eps=float(norm.eps),
        activation=_activation(blocks[0].mlp, name),
        top=top | _pair("post", norm),
        blocks=[_block(block) for block in blocks],
    )


def _pair(name: str, layer: Any) -> Tensors:
    """Weight and bias of a layer under a name of ours; nothing for an identity, and no bias where it has none."""
    return {f"{name}.{key}": value for key in ("weight", "bias") if (value := getattr(layer, key, None)) is not None}


def _activation(mlp: Any, name: str) -> str:
    """What transformers calls the activation between the two layers of a block."""
    layer = mlp.gelu if hasattr(mlp, "gelu") else mlp.act
    tanh = _kind(layer) == "GELUTanh" or getattr(layer, "approximate", "none") == "tanh"
    if _kind(layer) == "QuickGELU":
        return "quick_gelu"
    if _kind(layer) not in ("GELU", "GELUTanh"):
        raise _refusal(name, f"a ViT with activation {_kind(layer)}")
    return "gelu_pytorch_tanh" if tanh else "gelu"


def _block(block: Any) -> Tensors:
    """The weights of one block, its layer scales folded into the two layers they scale."""
    if _kind(block) == "ResidualAttentionBlock":
        attention, norms, scales = block.attn, (block.ln_1, block.ln_2), (block.ls_1, block.ls_2)
        qkv = {"weight": attention.in_proj_weight, "bias": attention.in_proj_bias}
        output, fc1, fc2 = attention.out_proj, block.mlp.c_fc, block.mlp.c_proj
    else:
        attention, norms, scales = block.attn, (block.norm1, block.norm2), (block.ls1, block.ls2)
        qkv = {"weight": attention.qkv.weight, "bias": attention.qkv.bias}
        output, fc1, fc2 = attention.proj, block.mlp.fc1, block.mlp.fc2
    found = _pair("norm1", norms[0]) | _pair("norm2", norms[1]) | _pair("fc1", fc1)
    for key, value in qkv.items():
        for part, tensor in zip("qkv", value.chunk(3), strict=True):
            found[f"{part}.{key}"] = tensor
    for part, layer, scale in (("out", output, scales[0]), ("fc2", fc2, scales[1])):
        gamma = getattr(scale, "gamma", torch.ones(layer.out_features))
        found |= {f"{part}.weight": layer.weight * gamma[:, None], f"{part}.bias": layer.bias * gamma}
    return found


_CLIP_BLOCK = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "out": "self_attn.out_proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}
_CLIP_TOP = {
    "cls": "embeddings.class_embedding",
    "patch": "embeddings.patch_embedding",
    "position": "embeddings.position_embedding.weight",
    "pre": "pre_layrnorm",
    "post": "post_layernorm",
}
_INTERNVL_BLOCK = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "q": "attention.q_proj",
    "k": "attention.k_proj",
    "v": "attention.v_proj",
    "out": "attention.projection_layer",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}
_INTERNVL_TOP = {
    "cls": "embeddings.cls_token",
    "patch": "embeddings.patch_embeddings.projection",
    "position": "embeddings.position_embeddings",
    "post": "layernorm",
}


def _renamed(tensors: Tensors, names: dict[str, str]) -> Iterator[tuple[str, torch.Tensor]]:
    for name, tensor in tensors.items():
        part, dot, key = name.partition(".")
        yield f"{names[part]}{dot}{key}", tensor.detach()


@torch.no_grad()
def _built(parts: _Parts) -> PreTrainedModel:
    """The transformers model with these weights; the strict loading is the proof that none is left over or missing."""
    width = parts.top["position"].shape[-1]
    shape: dict[str, Any] = {
        "hidden_size": width,
        "intermediate_size": parts.blocks[0]["fc1.weight"].shape[0],
        "num_hidden_layers": len(parts.blocks),
        "num_attention_heads": parts.heads,
        "image_size": parts.image_size,
        "patch_size": parts.patch_size,
        "hidden_act": parts.activation,
        "layer_norm_eps": parts.eps,
    }
    model: PreTrainedModel
    if "pre.weight" in parts.top:
        model, top, block, blocks = CLIPVisionModel(CLIPVisionConfig(**shape)), _CLIP_TOP, _CLIP_BLOCK, "layers"
    elif "cls" not in parts.top:
        shape["vision_use_head"] = False  # nothing reads the pooled feature
        config = SiglipVisionConfig(**shape)
        model, top, block, blocks = SiglipVisionModel(config), _CLIP_TOP, _CLIP_BLOCK, "layers"
    else:
        unscaled: dict[str, Any] = {"layer_scale_init_value": 1.0, "attention_bias": True, "use_mean_pooling": False}
        model = InternVLVisionModel(InternVLVisionConfig(**shape, **unscaled))
        top, block, blocks = _INTERNVL_TOP, _INTERNVL_BLOCK, "layer"
    weights = dict(_renamed(parts.top, top))
    for i, tensors in enumerate(parts.blocks):
        weights |= {f"encoder.{blocks}.{i}.{name}": tensor for name, tensor in _renamed(tensors, block)}
        if blocks == "layer":
            weights |= {f"encoder.layer.{i}.lambda_{n}": torch.ones(width) for n in (1, 2)}
    if blocks == "layer":  # the class has more dimensions and a bias here
        weights["embeddings.cls_token"] = weights["embeddings.cls_token"][None, None]
        weights["embeddings.position_embeddings"] = weights["embeddings.position_embeddings"][None]
        weights["embeddings.patch_embeddings.projection.bias"] = torch.zeros(width)
    model.load_state_dict(weights, strict=True)
    return model
