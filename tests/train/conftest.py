"""A bank small enough to train on in a test, and nano's own tokenizer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from mllm_iqa.data_build.bank import SCHEMA, Size, label, shard_rows, write_photos
from mllm_iqa.data_build.scenes import build_scenes
from mllm_iqa.data_build.sources import Photo
from mllm_iqa.train.nano_tokenizer import build_tokenizer
from transformers import PreTrainedTokenizerFast


@pytest.fixture(scope="session")
def nano_tokenizer() -> PreTrainedTokenizerFast:
    return build_tokenizer()


@pytest.fixture(scope="session")
def tiny_bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank with scenes: one train shard of four groups for each of a few sizes, sixteen train photographs."""
    folder = tmp_path_factory.mktemp("tiny-bank")
    rng = np.random.default_rng(0)

    def textured(side: int) -> np.ndarray:
        noise = cv2.GaussianBlur(rng.standard_normal((side, side, 3), dtype=np.float32), (0, 0), 3.0)
        return np.clip(120 + 35 * noise / noise.std(), 0, 255).astype(np.uint8)

    sizes: tuple[Size, ...] = (96, 128, 256, (160, 224))
    for size in sizes:
        rows = list(shard_rows([textured(300)], size, 4, 0, 0))
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / f"train-{label(size)}-0000.parquet")
    photos = []
    for n in range(16):
        path = folder / f"photo-{n}.png"
        cv2.imwrite(str(path), textured(280))
        photos.append(Photo(path, 1.2 + n / 5, "biq2021", "ss01", "train"))
    write_photos(photos, folder / "photos.parquet")
    list(build_scenes(folder))
    return folder


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
