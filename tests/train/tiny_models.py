"""Checkpoints of the real classes at toy size with random weights, made offline in about a second each.

Each has the processor, the special tokens and the chat template of its family, and nano's words.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mllm_iqa.train.nano.tokenizer import CHAT_TEMPLATE, build_tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPImageProcessorPil,
    Glm4vConfig,
    Glm4vForConditionalGeneration,
    Glm4vImageProcessorPil,
    GotOcr2ImageProcessorPil,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessorPil,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessorPil,
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


def qwen2_vl(folder: Path) -> None:
    """The class of Q-VL before 2.5: patches of 14, full attention in the vision tower."""
    tokenizer = tokenizer_with()
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]}
    text = {k: v for k, v in _text(tokenizer).items() if k != "head_dim"} | {"rope_parameters": rope}
    vision = {"depth": 2, "embed_dim": 64, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2, "initializer_range": 0.1}
    config = Qwen2VLConfig(text_config=text, vision_config=vision, **_qwen_ids(tokenizer))
    torch.manual_seed(0)
    _write(Qwen2VLForConditionalGeneration(config), tokenizer, folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil().save_pretrained(folder)


def qwen3_5(folder: Path) -> None:
    """The class of Q-ReAlign: most layers fold all tokens into one recurrent state."""
    tokenizer = tokenizer_with()
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1], "mrope_interleaved": True}
    text = _text(tokenizer) | {
        "rope_parameters": rope | {"partial_rotary_factor": 0.25},
        "layer_types": ["linear_attention", "full_attention", "linear_attention"],
        "num_hidden_layers": 3,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
    }
    vision = {"depth": 2, "hidden_size": 64, "intermediate_size": 96, "num_heads": 2, "out_hidden_size": 64}
    vision |= {"num_position_embeddings": 64, "initializer_range": 0.1}
    config = Qwen3_5Config(text_config=text, vision_config=vision, **_qwen_ids(tokenizer))
    torch.manual_seed(0)
    _write(Qwen3_5ForConditionalGeneration(config), tokenizer, folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(patch_size=16, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(folder)


def llava_onevision(folder: Path) -> None:
    """The class of Q-SiT: a picture is cut into tiles and seen whole besides."""
    tokenizer = tokenizer_with("<image>", "<video>")
    vision = SMALL | {"model_type": "siglip_vision_model", "image_size": 28, "patch_size": 14, "initializer_range": 0.3}
    grid = [[28, 28], [28, 56], [56, 28], [56, 56]]
    config = LlavaOnevisionConfig(
        vision_config=vision,
        text_config={k: v for k, v in _text(tokenizer).items() if k != "head_dim"} | {"model_type": "qwen2"},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=grid,
        vision_feature_select_strategy="full",
    )
    torch.manual_seed(0)
    _write(LlavaOnevisionForConditionalGeneration(config), tokenizer, folder)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE.replace("IMAGE", "<image>"), "utf8")
    settings = {"num_image_tokens": 4, "vision_feature_select_strategy": "full"}
    settings |= {"processor_class": "LlavaOnevisionProcessor"}
    (folder / "processor_config.json").write_text(json.dumps(settings))
    sizes = {"size": {"height": 28, "width": 28}, "image_grid_pinpoints": grid}
    LlavaOnevisionImageProcessorPil(**sizes).save_pretrained(folder)


def smolvlm(folder: Path) -> None:
    """The class of SmolVLM2."""
    tiles = [f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7)]
    tokenizer = tokenizer_with("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>", *tiles)
    config = SmolVLMConfig(
        vision_config=SMALL | {"image_size": 56, "patch_size": 14, "initializer_range": 0.1},
        text_config=_text(tokenizer) | {"model_type": "llama"},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    _write(SmolVLMForConditionalGeneration(config), tokenizer, folder)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE.replace("IMAGE", "<image>"), "utf8")
    (folder / "processor_config.json").write_text('{"image_seq_len": 4, "processor_class": "SmolVLMProcessor"}')
    sizes = {"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 56}}
    SmolVLMImageProcessorPil(**sizes).save_pretrained(folder)


def glm4v(folder: Path) -> None:
    """Positions that depend on the pictures, as in the Qwen families, with a processor and vision tower of its own."""
    names = ["<|image|>", "<|begin_of_image|>", "<|end_of_image|>"]
    videos = ["<|video|>", "<|begin_of_video|>", "<|end_of_video|>"]
    tokenizer = tokenizer_with(*names, *videos)
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3], "partial_rotary_factor": 0.5}
    text = {k: v for k, v in _text(tokenizer).items() if k != "head_dim"} | {"rope_parameters": rope}
    vision = {"depth": 2, "hidden_size": 64, "intermediate_size": 96, "num_heads": 2, "out_hidden_size": 64}
    keys = ("image_token_id", "image_start_token_id", "image_end_token_id")
    ids = dict(zip(keys, tokenizer.convert_tokens_to_ids(names), strict=True))
    ids |= {
        key.replace("image", "video"): token
        for key, token in zip(keys, tokenizer.convert_tokens_to_ids(videos), strict=True)
    }
    config = Glm4vConfig(text_config=text, vision_config=vision | {"initializer_range": 0.1}, **ids)
    torch.manual_seed(0)
    _write(Glm4vForConditionalGeneration(config), tokenizer, folder)
    tokenizer.save_pretrained(folder)
    template = TEMPLATE.replace("IMAGE", "<|begin_of_image|><|image|><|end_of_image|>")
    (folder / "chat_template.jinja").write_text(template, "utf8")
    (folder / "processor_config.json").write_text('{"processor_class": "Glm4vProcessor"}')
    Glm4vImageProcessorPil(size={"shortest_edge": 56 * 56, "longest_edge": 112 * 112}).save_pretrained(folder)


MAKERS: dict[str, Callable[[Path], None]] = {
    "qwen3_vl": qwen3_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "llava": llava,
    "idefics3": idefics3,
    "internvl": internvl,
    "qwen2_vl": qwen2_vl,
    "qwen3_5": qwen3_5,
    "llava_onevision": llava_onevision,
    "smolvlm": smolvlm,
    "glm4v": glm4v,
}
