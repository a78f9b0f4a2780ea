"""Tiny random vision towers of OpenCLIP's real classes, and language models to compose them with."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM


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


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def language_folder(tmp_path_factory: pytest.TempPathFactory, nano_tokenizer: Any) -> Callable[..., Path]:
    """Saves a tiny random causal language model; keywords go to its config. No chat template unless given."""

    def make(config: Any, kind: Any, *, chat_template: str | None = None, **shape: Any) -> Path:
        folder = tmp_path_factory.mktemp(kind.__name__)
        tokenizer = copy.deepcopy(nano_tokenizer)
        tokenizer.chat_template = chat_template
        size: dict[str, Any] = {
            "vocab_size": len(tokenizer),
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "initializer_range": 0.2,
        }
        torch.manual_seed(0)
        kind(config(**size | shape)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def tied_language_model(language_folder: Callable[..., Path]) -> Path:
    """A tiny Qwen2 whose output layer is tied to its words."""
    return language_folder(Qwen2Config, Qwen2ForCausalLM, chat_template=CHATML, tie_word_embeddings=True)


@pytest.fixture(scope="session")
def llama(language_folder: Callable[..., Path]) -> Path:
    """A tiny Llama with an output layer of its own."""
    return language_folder(LlamaConfig, LlamaForCausalLM, chat_template=CHATML)
