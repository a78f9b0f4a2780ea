"""Tiny random vision towers of OpenCLIP's real classes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch


def shaken(module: Any) -> Any:
    """Random weights everywhere: norms, biases and layer scales at their starts would hide that they are mixed up."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


@pytest.fixture(scope="session")
def open_clip_tower() -> Callable[..., Any]:
    """Makes a tiny random vision tower of OpenCLIP's own ViT; keywords are those of its `vision_cfg`."""
    pytest.importorskip("open_clip", reason="the extra compose is not installed")
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    def make(*, quick_gelu: bool = False, **vision: Any) -> Any:
        shape = {"image_size": 32, "layers": 3, "width": 64, "head_width": 32, "patch_size": 8}
        text = CLIPTextCfg(context_length=8, vocab_size=64, width=16, heads=2, layers=1)
        return shaken(CLIP(16, CLIPVisionCfg(**shape | vision), text, quick_gelu=quick_gelu).visual)

    return make


@pytest.fixture(scope="session")
def timm_tower() -> Callable[..., Any]:
    """Makes OpenCLIP's wrapper of a tiny random timm model: a SigLIP tower unless told otherwise."""
    pytest.importorskip("open_clip", reason="the extra compose is not installed")
    import timm
    from open_clip.timm_model import TimmModel

    shape = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 3, "num_heads": 2}

    def make(name: str = "vit_base_patch16_siglip_224", **options: Any) -> Any:
        tower = TimmModel("test_vit", embed_dim=16, image_size=32, proj="none")
        chosen = shape | options if name.startswith("vit_base") else options
        tower.trunk = timm.create_model(name, num_classes=0, **chosen)
        return shaken(tower)

    return make
