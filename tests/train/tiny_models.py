"""Checkpoints of the real classes at toy size with random weights, made offline in about a second each.

Each has the processor, the special tokens and the chat template of its family, and nano's words.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mllm_iqa.train.nano.tokenizer import CHAT_TEMPLATE, build_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessorPil,
    GotOcr2ImageProcessorPil,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

TEMPLATE = CHAT_TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", "IMAGE")
SMALL = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}


def tokenizer_with(*special: str, words: bool = True) -> PreTrainedTokenizerFast:
    """Nano's tokenizer, or one that knows letters alone, with more special tokens."""
    tokenizer = build_tokenizer() if words else _letters()
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return tokenizer


def _letters() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = build_tokenizer().all_special_tokens
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=0,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[*names, "<|video_pad|>", *(t for t in special if t not in names)],
        show_progress=False,
    )
    tokenizer.train_from_iterator(["a"], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = CHAT_TEMPLATE
    return fast


def _text(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return SMALL | {
        "vocab_size": len(tokenizer),
        "num_key_value_heads": 1,
        "head_dim": 32,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.2,
    }


def _write(model: Any, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)


def _qwen_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    tokens = {"image_token_id": "<|image_pad|>", "video_token_id": "<|video_pad|>"}
    tokens |= {"vision_start_token_id": "<|vision_start|>", "vision_end_token_id": "<|vision_end|>"}
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in tokens.items()}


def qwen3_vl(folder: Path, *, words: bool = True) -> None:
    tokenizer = tokenizer_with(words=words)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [6, 5, 5], "mrope_interleaved": True}
    vision = {"depth": 2, "hidden_size": 64, "intermediate_size": 96, "num_heads": 2, "out_hidden_size": 64}
    vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0], "initializer_range": 0.1}
    config = Qwen3VLConfig(
        text_config=_text(tokenizer) | {"rope_parameters": rope, "tie_word_embeddings": True},
        vision_config=vision,
        tie_word_embeddings=True,
        **_qwen_ids(tokenizer),
    )
    torch.manual_seed(0)
    _write(Qwen3VLForConditionalGeneration(config), tokenizer, folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(patch_size=16, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(folder)


def qwen2_5_vl(folder: Path) -> None:
    tokenizer = tokenizer_with()
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]}
    text = {k: v for k, v in _text(tokenizer).items() if k != "head_dim"} | {"rope_parameters": rope}
    vision = {"depth": 2, "hidden_size": 64, "intermediate_size": 96, "num_heads": 2, "out_hidden_size": 64}
    vision |= {"fullatt_block_indexes": [1], "window_size": 56, "initializer_range": 0.1}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **_qwen_ids(tokenizer))
    torch.manual_seed(0)
    _write(Qwen2_5_VLForConditionalGeneration(config), tokenizer, folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil().save_pretrained(folder)


def llava(folder: Path) -> None:
    tokenizer = tokenizer_with("<image>")
    vision = SMALL | {"model_type": "clip_vision_model", "num_hidden_layers": 3, "image_size": 28, "patch_size": 14}
    config = LlavaConfig(
        vision_config=vision | {"initializer_range": 0.3},
        text_config=_text(tokenizer) | {"model_type": "llama"},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    torch.manual_seed(0)
    _write(LlavaForConditionalGeneration(config), tokenizer, folder)
    LlavaProcessor(
        CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>",
        chat_template=TEMPLATE.replace("IMAGE", "<image>"),
    ).save_pretrained(folder)


def idefics3(folder: Path) -> None:
    """The class of SmolVLM-256M and 500M."""
    tiles = [f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7)]
    tokenizer = tokenizer_with("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *tiles)
    config = Idefics3Config(
        vision_config=SMALL | {"image_size": 56, "patch_size": 14, "initializer_range": 0.1},
        text_config=_text(tokenizer) | {"model_type": "llama"},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    _write(Idefics3ForConditionalGeneration(config), tokenizer, folder)
    Idefics3Processor(
        Idefics3ImageProcessorPil(size={"longest_edge": 112}, max_image_size={"longest_edge": 56}),
        tokenizer,
        image_seq_len=4,
        chat_template=TEMPLATE.replace("IMAGE", "<image>"),
    ).save_pretrained(folder)


def internvl(folder: Path) -> None:
    tokenizer = tokenizer_with("<img>", "</img>", "<IMG_CONTEXT>", "<video>")
    names = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        extra_special_tokens=names | {"video_token": "<video>"},
    )
    vision = SMALL | {"image_size": [56, 56], "patch_size": [14, 14], "initializer_range": 0.1}
    config = InternVLConfig(
        vision_config=vision,
        text_config=_text(tokenizer) | {"model_type": "qwen3"},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    torch.manual_seed(0)
    _write(InternVLForConditionalGeneration(config), tokenizer, folder)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE.replace("IMAGE", "<IMG_CONTEXT>"), "utf8")
    (folder / "processor_config.json").write_text('{"image_seq_length": 4, "processor_class": "InternVLProcessor"}')
    GotOcr2ImageProcessorPil(
        size={"height": 56, "width": 56}, crop_to_patches=True, min_patches=1, max_patches=4
    ).save_pretrained(folder)


MAKERS: dict[str, Callable[[Path], None]] = {
    "qwen3_vl": qwen3_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "llava": llava,
    "idefics3": idefics3,
    "internvl": internvl,
}
