"""Conversion of OpenCLIP towers: equal features, layer by layer, or a refusal that names the architecture."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

pytest.importorskip("open_clip", reason="the extra compose is not installed")

from mllm_iqa.train.composing.open_clip_tower import MAX_DIFFERENCE, convert_tower, feature_difference, load_tower

from mllm_iqa.errors import CheckpointError

pytestmark = pytest.mark.torchvision

Make = Callable[..., Any]
CLIPA = {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True}


@pytest.mark.parametrize(
    ("options", "expected", "activation"),
    [
        ({}, "CLIPVisionModel", "gelu"),
        ({"quick_gelu": True}, "CLIPVisionModel", "quick_gelu"),
        ({"act_kwargs": {"approximate": "tanh"}}, "CLIPVisionModel", "gelu_pytorch_tanh"),
        ({"norm_kwargs": {"eps": 1e-3}}, "CLIPVisionModel", "gelu"),
        ({"ls_init_value": 0.5}, "CLIPVisionModel", "gelu"),
        ({"mlp_ratio": 2.5, "head_width": 16}, "CLIPVisionModel", "gelu"),
        (CLIPA, "InternVLVisionModel", "gelu"),
        (CLIPA | {"quick_gelu": True, "ls_init_value": 0.5}, "InternVLVisionModel", "quick_gelu"),
    ],
)
def test_an_open_clip_vit_keeps_its_features(
    open_clip_tower: Make, options: dict[str, Any], expected: str, activation: str
) -> None:
    visual = open_clip_tower(**options)
    tower = convert_tower(visual, name="tiny")
    assert type(tower.model).__name__ == expected
    assert tower.model.config.hidden_act == activation
    assert tower.max_difference < MAX_DIFFERENCE
    assert (tower.image_size, tower.patch_size, tower.tokens) == (32, 8, 16)  # (32 / 8)^2


@pytest.mark.parametrize(
    ("options", "activation"),
    [({}, "gelu"), ({"act_layer": "gelu_tanh"}, "gelu_pytorch_tanh"), ({"init_values": 0.5}, "gelu")],
)
def test_a_siglip_tower_keeps_its_features(timm_tower: Make, options: dict[str, Any], activation: str) -> None:
    tower = convert_tower(timm_tower(**options), name="tiny")
    assert type(tower.model).__name__ == "SiglipVisionModel"
    assert tower.model.config.hidden_act == activation
    assert tower.max_difference < MAX_DIFFERENCE
    assert not any(name.startswith("head") for name in tower.model.state_dict())


def test_the_features_of_every_layer_are_compared(open_clip_tower: Make) -> None:
    visual = open_clip_tower()
    model = convert_tower(visual, name="tiny").model
    for name, weight in model.named_parameters():
        if "position" in name or name == "encoder.layers.1.mlp.fc1.weight":
            kept = weight.detach().clone()
            weight.data += 0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
            assert feature_difference(visual, model) > MAX_DIFFERENCE, name
            weight.data = kept
    assert feature_difference(visual, model) < MAX_DIFFERENCE


def test_pixels_are_normalized_as_the_tower_was_trained(open_clip_tower: Make) -> None:
    visual = open_clip_tower()
    assert convert_tower(visual, name="tiny").mean == (0.48145466, 0.4578275, 0.40821073)  # OpenAI's CLIP
    visual.image_mean, visual.image_std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    tower = convert_tower(visual, name="tiny")
    assert (tower.mean, tower.std) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"layers": (1, 1, 1, 1)}, "ModifiedResNet"),
        ({"attentional_pool": True, "attn_pooler_heads": 2}, "attentional pooling (CoCa)"),
        ({"qk_norm": True}, "CustomResidualAttentionBlock"),
        ({"image_size": (32, 64)}, "(32, 64) pixels"),
    ],
)
def test_an_open_clip_tower_without_an_equal_is_refused(
    open_clip_tower: Make, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(CheckpointError, match=re.escape(named)) as caught:
        convert_tower(open_clip_tower(**options), name="tiny")
    assert str(caught.value).startswith("the vision tower of tiny is ")


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("convnext_atto", {}, "type ConvNeXt"),
        ("eva02_tiny_patch14_224", {"depth": 1}, "type Eva"),
        ("vit_base_patch16_siglip_224", {"class_token": True, "global_pool": "token"}, "class or register tokens"),
        ("vit_base_patch16_siglip_224", {"global_pool": "avg"}, "without a final norm"),
        ("vit_base_patch16_siglip_224", {"act_layer": "silu"}, "activation SiLU"),
    ],
)
def test_a_timm_tower_without_an_equal_is_refused(
    timm_tower: Make, name: str, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(CheckpointError, match=re.escape(named)):
        convert_tower(timm_tower(name, **options), name="tiny")


def test_what_cannot_be_loaded_is_said_in_one_sentence() -> None:
    with pytest.raises(CheckpointError, match="which weights\\? Give --pretrained, one of openai, laion400m_e31"):
        load_tower("ViT-B-32")
    with pytest.raises(CheckpointError, match="OpenCLIP has no model 'ViT-B-33'"):
        load_tower("ViT-B-33", "openai")
    with pytest.raises(CheckpointError, match="brings its own weights; leave --pretrained openai out"):
        load_tower("hf-hub:owner/name", "openai")
    with pytest.raises(CheckpointError, match="not a known tag or valid file path"):
        load_tower("ViT-B-32", "no_such_tag")
