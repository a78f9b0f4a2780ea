"""Writing a finished `nano`: float16 weights, tokenizer, processor, chat template and card, as one directory."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from transformers.models.qwen2_vl import Qwen2VLImageProcessorPil

from mllm_iqa.checkpoints import Card, read_card, sha256_of, write_card

PROMPTS = (
    "rate.v1",
    "rate_reference.v1",
    "distortion.v1",
    "reason.v1",
    "appearance.v1",
    "presence.v1",
    "compare.v1",
    "compare_reference.v1",
    "chat.v1",
    "effects.v1",
    "typed.v3",
)

TRAINING_DATA = (
    "BIQ2021, part of the official training split, human MOS (Ahmed & Asif, J. Electronic Imaging 2022): research use",
    "BSDS500, train and validation photographs as clean sources (Arbelaez et al., 2011): research use",
    "Synthetic distortions with pseudo-MOS from the human tables of KADID-10k and TID2013",
    "Pooled ImageNet features of a frozen MobileNetV1 as distillation targets (Apache-2.0; not shipped)",
)


def write_checkpoint(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    name: str,
    version: str,
    max_pixels: int,
    recipe: str,
) -> Path:
    """Write a checkpoint that `AutoModelForImageTextToText`, `AutoProcessor` and the library all load.

    Args:
        model: trained `Qwen3VLForConditionalGeneration`; its own dtype is left as it is.
        tokenizer: of the model, with its chat template.
        folder: to write to; files of the same names are replaced.
        name: of the checkpoint.
        version: of the checkpoint.
        max_pixels: pixel budget of one picture.
        recipe: what it was trained with, in a sentence.

    Returns:
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    half = {k: v.detach().to(torch.float16).contiguous() for k, v in model.state_dict().items()}
    half.pop("lm_head.weight", None)  # tied to the embedding
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder, state_dict=half)
    config = copy.deepcopy(model.config)  # as saved it names the model's own dtype, not that of the weights written
    config.dtype = torch.float16
    config.text_config.dtype = config.vision_config.dtype = None  # as in a model that was never loaded from a file
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # Sizes are pixel counts, despite their names.
    size = {"shortest_edge": 32 * 32, "longest_edge": max_pixels}
    mean = std = [0.5, 0.5, 0.5]
    processor = Qwen2VLImageProcessorPil(
        patch_size=16, merge_size=2, temporal_patch_size=2, image_mean=mean, image_std=std, size=size
    )
    processor.save_pretrained(folder)
    video = {
        "video_processor_type": "Qwen3VLVideoProcessor",
        "patch_size": 16,
        "merge_size": 2,
        "temporal_patch_size": 2,
    }
    video |= {"image_mean": mean, "image_std": std, "size": size}
    (folder / "video_preprocessor_config.json").write_text(json.dumps(video, indent=2) + "\n", encoding="utf-8")
    (folder / "processor_config.json").write_text(
        json.dumps({"processor_class": "Qwen3VLProcessor"}, indent=2) + "\n", encoding="utf-8"
    )
    weights = {p.name: sha256_of(p) for p in sorted(folder.glob("*.safetensors"))}
    before = read_card(folder)
    same = before is not None and (before.sha256, before.max_pixels, before.prompts) == (weights, max_pixels, PROMPTS)
    measured = before if same else None
    card = Card(
        name=name,
        version=version,
        licence="research use; trained on BIQ2021 and BSDS500, see training_data",
        base_model=None,
        languages=("en",),
        max_pixels=max_pixels,
        prompts=PROMPTS,
        training_data=TRAINING_DATA,
        recipe=recipe,
        results={} if measured is None else measured.results,
        interval=None if measured is None else measured.interval,
        sha256=weights,
    )
    write_card(folder, card)
    return folder
