"""Stages 2 and 3: teach the whole model to answer, on templated conversations about crops, pictures and photographs.

Every picture of a batch is encoded once and shared by all conversations about it. At the word that is read as a
score the loss is KL to a soft label over the full vocabulary; on all other answer tokens it is cross-entropy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from mllm_iqa.errors import ConfigError, DataError
from mllm_iqa.fast_vision import grid_of, patchify, speed_up, takes_encoded_pictures
from mllm_iqa.levels import LEVELS, SEVERITIES, VALUES

from ..losses import fidelity, kl_to_soft_label, ordinal
from .data import CropShards, Photo, photo_view, plan_of, read_photos, shard_crops
from .loop import LoopPlan, digest_of, optimise, parameter_groups

CONVERSATIONS_PER_SCENE = 8
NAMING = "distortion.v1"
LEVEL_WEIGHT = 2.0
FIDELITY_WEIGHT = 1.0
NAMES_WEIGHT = 2.0
SEVERITY_WEIGHT = 2.0
"""Weights beside the text loss of weight 1: of the level KL, of the fidelity loss (photographs only), of the text
loss once more for answers to `distortion.v1` (a template's words are soon known; which distortion, and how severe, has
to be seen), and of the ordinal loss of every severity word."""

Mix = tuple[tuple[str, str, int, float], ...]
"""(what, size as in a shard's name, scenes per batch, share of batches) of every kind of batch."""

CROPS_FIRST: Mix = (
    ("synthetic", "96px", 16, 0.32),
    ("synthetic", "128px", 10, 0.20),
    ("synthetic", "256px", 4, 0.20),
    ("whole photos", "256px", 2, 0.12),
    ("native crops", "256px", 2, 0.04),
    ("whole photos", "384px", 1, 0.06),
    ("whole photos", "512px", 1, 0.06),
)
"""Stage 2: mostly small crops, of which many fit into a second."""

WHOLE_PICTURES: Mix = (
    ("synthetic", "96px", 16, 0.07),
    ("synthetic", "128px", 10, 0.05),
    ("synthetic", "256px", 4, 0.12),
    ("synthetic", "288x416px", 2, 0.05),
    ("synthetic", "352x512px", 2, 0.09),
    ("synthetic", "512x352px", 2, 0.05),
    ("synthetic", "384x384px", 2, 0.08),
    ("synthetic", "384x512px", 1, 0.08),
    ("synthetic", "512x384px", 1, 0.05),
    ("synthetic", "512x512px", 1, 0.06),
    ("whole photos", "256px", 2, 0.03),
    ("whole photos", "384px", 1, 0.09),
    ("whole photos", "512px", 1, 0.18),
)
"""Stage 3: pictures of the sizes people send; without it a large picture has come to mean a clean one."""


@dataclass(frozen=True, slots=True)
class InstructBatch:
    """Tensors of one step; N conversations of at most T tokens about B pictures.

    Attributes:
        pixels: uint8 (B, H, W, 3).
        images: for each conversation the rows of `pixels` it shows, in order.
        input_ids, attention_mask, labels: (N, T), padded on the right; labels are -100 where nothing is learned.
        naming: bool (N,), which conversations name a picture's distortions and say nothing else.
        read_rows, read_at: (R,) which conversations carry a soft label, and at which position its word is predicted.
        read_target: (R, V) soft label over the vocabulary.
        mos_rows: indices into the R rows that rate a photograph; mos: their human MOS.
    """

    pixels: np.ndarray
    images: list[tuple[int, ...]]
    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor
    naming: torch.Tensor
    read_rows: torch.Tensor
    read_at: torch.Tensor
    read_target: torch.Tensor
    mos_rows: torch.Tensor
    mos: torch.Tensor


def render(question: str, images: int, tokens_per_image: int, history: Sequence[tuple[str, str]] = ()) -> str:
    """The chat template's text up to where the answer begins (tested equal); pictures stand in the first user turn."""
    picture = "<|vision_start|>" + "<|image_pad|>" * tokens_per_image + "<|vision_end|>"
    turns = "".join(f"{q}<|im_end|>\n<|im_start|>assistant\n{a}<|im_end|>\n<|im_start|>user\n" for q, a in history)
    return f"<|im_start|>user\n{picture * images}{turns}{question}<|im_end|>\n<|im_start|>assistant\n"


@lru_cache(maxsize=16)  # as many as shards are in use at a time
def _scenes(path: Path) -> list[tuple[list[int], list[dict[str, Any]]]]:
    if not path.is_file():
        raise DataError(f"{path}: not found; run `mllm-iqa data bank` first")
    return [(row["images"], json.loads(row["conversations"])) for row in pq.read_table(path).to_pylist()]


def tokenize(
    conversation: dict[str, Any], tokenizer: PreTrainedTokenizerBase, tokens_per_image: int
) -> tuple[list[int], list[int], int, dict[int, float]]:
    """One conversation as (ids, labels, position of the read word or -1, {token: probability} at that position).

    Raises:
        DataError: the read word does not start at a token, or two candidates begin with the same token.
    """
    prompt = render(conversation["question"], len(conversation["images"]), tokens_per_image, conversation["history"])
    answer, read_at = conversation["answer"], conversation["read_at"]
    encoded = tokenizer(prompt + answer + "<|im_end|>", return_offsets_mapping=True, add_special_tokens=False)
    ids: list[int] = encoded["input_ids"]
    starts = [start for start, _ in encoded["offset_mapping"]]
    learn = len(prompt) + conversation["learn_from"]
    begin = range(len(prompt), len(prompt) + read_at)  # of what comes before the word that is read
    labels = [i if start >= learn or start in begin else -100 for i, start in zip(ids, starts, strict=True)]
    if read_at < 0:
        return ids, labels, -1, {}
    if len(prompt) + read_at not in starts:
        raise DataError(f"no token begins at the word read in {conversation['answer']!r}")
    position = starts.index(len(prompt) + read_at)
    target = {
        tokenizer.encode(word, add_special_tokens=False)[0]: p
        for word, p in zip(conversation["candidates"], conversation["probs"], strict=True)
    }
    if len(target) != len(conversation["candidates"]):
        raise DataError(f"two of the words {conversation['candidates']} begin with the same token")
    labels[position] = -100
    return ids, labels, position, target


def collate(
    scenes: list[tuple[list[int], list[dict[str, Any]]]],
    pixels: np.ndarray,
    tokenizer: PreTrainedTokenizerBase,
    rng: np.random.Generator,
    *,
    photo_mos: list[float] | None,
) -> InstructBatch:
    """Put up to `CONVERSATIONS_PER_SCENE` conversations of a scene into one batch, those that name distortions first.

    A picture costs more than a conversation about it, so no question about what is wrong with it is left out.

    Args:
        scenes: (rows of `pixels`, conversations) pairs; a conversation's images index the first list.
        pixels: uint8 (B, H, W, 3).
        tokenizer: of the model.
        rng: chooses the other conversations.
        photo_mos: human MOS of each row of `pixels`, for photographs of one data set.
    """
    per_image = pixels.shape[1] * pixels.shape[2] // 32**2
    rows: list[tuple[list[int], list[int]]] = []
    images: list[tuple[int, ...]] = []
    naming: list[bool] = []
    read_rows: list[int] = []
    read_at: list[int] = []
    targets: list[dict[int, float]] = []
    mos_rows: list[int] = []
    mos: list[float] = []
    for indices, conversations in scenes:
        count = min(CONVERSATIONS_PER_SCENE if photo_mos is None else 14, len(conversations))
        mixed = [conversations[k] for k in rng.permutation(len(conversations))]
        for conversation in sorted(mixed, key=lambda c: c["task"] != NAMING)[:count]:
            ids, labels, position, target = tokenize(conversation, tokenizer, per_image)
            shown = tuple(indices[i] for i in conversation["images"])
            if position >= 0:
                if photo_mos is not None and conversation["task"] == "rate.v1":
                    mos_rows.append(len(read_rows))
                    mos.append(photo_mos[shown[0]])
                read_rows.append(len(rows))
                read_at.append(position - 1)
                targets.append(target)
            rows.append((ids, labels))
            images.append(shown)
            naming.append(conversation["task"] == NAMING)
    length = max(len(ids) for ids, _ in rows)
    pad = tokenizer.pad_token_id
    read_target = torch.zeros(len(targets), len(tokenizer))
    for row, target in enumerate(targets):
        for token, p in target.items():
            read_target[row, token] = p
    return InstructBatch(
        pixels,
        images,
        torch.tensor([ids + [pad] * (length - len(ids)) for ids, _ in rows]),
        torch.tensor([[1] * len(ids) + [0] * (length - len(ids)) for ids, _ in rows]),
        torch.tensor([labels + [-100] * (length - len(labels)) for _, labels in rows]),
        torch.tensor(naming),
        torch.tensor(read_rows, dtype=torch.long),
        torch.tensor(read_at, dtype=torch.long),
        read_target,
        torch.tensor(mos_rows, dtype=torch.long),
        torch.tensor(mos),
    )


def batch_logits(model: Any, batch: InstructBatch) -> torch.Tensor:
    """Logits (M, V) at the M positions of `learned_positions(batch)`, row by row.

    Every picture is encoded once and its tokens are handed to all conversations that show it. Conversations with
    equally many pictures go together, because few tokens of padding are then computed.
    """
    encoded = model.model.get_image_features(patchify(batch.pixels), grid_of(batch.pixels), return_dict=True)
    wanted = learned_positions(batch)
    pictures = torch.tensor([len(shown) for shown in batch.images])
    position = torch.arange(wanted.numel()).view_as(wanted)
    hidden, places = [], []
    for count in sorted(set(pictures.tolist())):
        rows = (pictures == count).nonzero()[:, 0]
        length = int(batch.attention_mask[rows].sum(dim=1).max())
        ids = batch.input_ids[rows, :length]
        order = [picture for row in rows.tolist() for picture in batch.images[row]]
        out = type(encoded)(
            pooler_output=[encoded.pooler_output[k] for k in order],
            deepstack_features=[[layer[k] for k in order] for layer in encoded.deepstack_features],
        )
        states = model.model(
            input_ids=ids,
            attention_mask=batch.attention_mask[rows, :length],
            mm_token_type_ids=(ids == model.config.image_token_id).long(),
            image_grid_thw=grid_of(batch.pixels)[order],
            mm_encoder_outputs={"image": out},
            use_cache=False,
        ).last_hidden_state
        here = wanted[rows, :length]
        hidden.append(states[here])
        places.append(position[rows, :length][here])
    logits: torch.Tensor = model.lm_head(torch.cat(hidden)[torch.cat(places).argsort()])
    return logits


def learned_positions(batch: InstructBatch) -> torch.Tensor:
    """Bool (N, T): at which positions the next token is learned, as itself or as a soft label."""
    learned = torch.zeros_like(batch.labels, dtype=torch.bool)
    learned[:, :-1] = batch.labels[:, 1:] != -100
    learned[batch.read_rows, batch.read_at] = True
    return learned


def instruct_loss(
    logits: torch.Tensor, batch: InstructBatch, level_ids: list[int], severity_ids: list[int]
) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of a batch and its weighted parts, of which each is there only where it has something to look at.

    Text cross-entropy summed over tokens and averaged over conversations, and once more for those that name
    distortions; the squared earth mover's distance of the severity words; level KL; fidelity on photographs.

    Args:
        logits: (M, V), as `batch_logits` gives them.
        batch: what they are about.
        level_ids: tokens of the five levels, best first.
        severity_ids: tokens of the five severities, slight first.
    """
    learned = learned_positions(batch)
    labels = batch.labels.roll(-1, dims=1)[learned]
    each = F.cross_entropy(logits, labels, ignore_index=-100, reduction="none")
    parts = {"text": each.sum() / len(batch.images)}
    if batch.naming.any():
        names = each[batch.naming[learned.nonzero()[:, 0]]]
        parts["names"] = NAMES_WEIGHT * names.sum() / len(batch.images)
    severity = labels[:, None] == torch.tensor(severity_ids)  # (M, 5)
    at = severity.any(dim=1)
    if at.any():
        probs = logits[at][:, severity_ids].softmax(dim=-1)
        parts["severity"] = SEVERITY_WEIGHT * ordinal(probs, severity[at].to(probs))
    if len(batch.read_rows):
        number = (learned.flatten().cumsum(0) - 1).view_as(learned)  # of a position among the learned ones
        logprobs = F.log_softmax(logits[number[batch.read_rows, batch.read_at]], dim=-1)
        parts["level"] = LEVEL_WEIGHT * kl_to_soft_label(logprobs, batch.read_target)
        if len(batch.mos) > 1:
            values = torch.from_numpy(VALUES.copy()).float()
            probs = logprobs[batch.mos_rows][:, level_ids].softmax(dim=-1)
            mos = probs @ values
            std = ((probs * (values - mos[:, None]) ** 2).sum(-1) + 1e-6).sqrt()
            parts["fidelity"] = FIDELITY_WEIGHT * fidelity(mos, std, batch.mos, 0.5)
    return torch.stack(list(parts.values())).sum(), {name: float(v.detach()) for name, v in parts.items()}


class Scenes:
    """Endless, reproducible batches of scenes of one kind: synthetic pictures of one size, or views of photographs.

    Args:
        bank: folder written by `mllm-iqa data bank`.
        what: "synthetic", "whole photos" or "native crops".
        size: of the pictures, as in a shard's name: "96px", or "352x512px" (height first).
        per_batch: scenes per batch.
        seed: of the choice of conversations and views.
        start: where in the bank to begin, in 0..1 of its shards or photographs.
    """

    def __init__(self, bank: Path, what: str, size: str, per_batch: int, seed: int, start: float = 0.0) -> None:
        self.bank, self.what, self.per_batch, self.seed = bank, what, per_batch, seed
        self.sides = [int(side) for side in size.removesuffix("px").split("x")]
        if what == "synthetic":
            paths = CropShards(bank, "train", size, with_references=True).paths
            first = int(start * len(paths))
            self.shards = paths[first:] + paths[:first]
            self.per_shard = len(_scenes(bank / f"instruct-{self.shards[0].name}")) // per_batch
            if not self.per_shard:
                raise DataError(f"{self.shards[0]}: fewer than the {per_batch} scenes of a batch")
        else:
            self.photos: list[Photo] = read_photos(bank, None)
            self.table = _scenes(bank / "instruct-train-photos.parquet")
            self.first = int(start * len(self.table))

    def batch(self, turn: int, tokenizer: PreTrainedTokenizerBase) -> InstructBatch:
        """Batch number `turn` of this kind."""
        rng = np.random.default_rng([self.seed, turn, *self.sides])
        if self.what == "synthetic":
            shard = self.shards[turn // self.per_shard % len(self.shards)]
            first = turn % self.per_shard * self.per_batch
            scenes = _scenes(self.bank / f"instruct-{shard.name}")[first : first + self.per_batch]
            used = sorted({row for images, _ in scenes for row in images})
            pixels = np.stack([shard_crops(shard)[row].pixels for row in used])
            mos = None
        else:
            at = self.first + turn * self.per_batch
            scenes = [self.table[(at + k) % len(self.table)] for k in range(self.per_batch)]
            used = sorted({row for images, _ in scenes for row in images})
            share = 1.0 if self.what == "whole photos" else 0.0
            pixels = np.stack(
                [photo_view(self.photos[row], self.sides[0], rng, share_whole=share).pixels for row in used]
            )
            mos = [self.photos[row].mos for row in used]
        place = {row: i for i, row in enumerate(used)}
        local = [([place[row] for row in images], conversations) for images, conversations in scenes]
        return collate(local, pixels, tokenizer, rng, photo_mos=mos)


def missing_from(bank: Path, mix: Mix) -> list[str]:
    """Files a mix reads that the bank lacks: shards ("*" for their numbers), their conversations, the photographs."""
    sizes = {size for what, size, *_ in mix if what == "synthetic"}
    shards = {size: sorted(bank.glob(f"train-{size}-*.parquet")) for size in sizes}
    missing = [f"train-{size}-*.parquet" for size in sizes if not shards[size]]
    names = [f"instruct-{path.name}" for paths in shards.values() for path in paths]
    names += ["photos.parquet", "instruct-train-photos.parquet"]
    return sorted(missing + [name for name in names if not (bank / name).is_file()])


def instruct(
    model: Any,
    bank: Path,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    plan: LoopPlan,
    *,
    mix: Mix,
    vision_rate: float,
    seed: int,
    start: float = 0.0,
) -> Any:
    """Train a model on conversations, in place, and return it; a run found in `folder` is resumed.

    Args:
        model: a `Qwen3VLForConditionalGeneration` of `build_nano`'s architecture.
        bank: folder written by `mllm-iqa data bank`.
        tokenizer: of the model.
        folder: of this stage's log and resumable state.
        plan: optimiser settings.
        mix: kinds of batches and their shares.
        vision_rate: learning rate of the vision tower relative to the language model's.
        seed: of the batches.
        start: where in the bank to begin, in 0..1.
    """
    if not takes_encoded_pictures(model.model):
        raise ConfigError("training needs transformers 5.18 or newer: this one would not look at the pictures")
    speed_up(model.model.visual)
    level_ids = [tokenizer.encode(f" {word}", add_special_tokens=False)[0] for word in LEVELS]
    severity_ids = [tokenizer.encode(word, add_special_tokens=False)[0] for word in SEVERITIES]  # they follow a "("
    kinds = [Scenes(bank, what, size, count, seed, start) for what, size, count, _ in mix]
    shares = np.array([share for *_, share in mix])
    choices = np.random.default_rng(seed + 1).choice(len(mix), size=plan.steps, p=shares / shares.sum())

    def make_batch(number: int) -> InstructBatch:
        choice = int(choices[number])
        return kinds[choice].batch(int((choices[:number] == choice).sum()), tokenizer)

    def step_loss(batch: InstructBatch) -> tuple[torch.Tensor, dict[str, float]]:
        with torch.autocast("cpu", torch.bfloat16, enabled=plan.bf16):
            logits = batch_logits(model, batch)
        total, parts = instruct_loss(logits.float(), batch, level_ids, severity_ids)
        prefix = "photo" if len(batch.mos) else label_of(batch)
        return total, {f"{prefix}_{name}": value for name, value in parts.items()}

    groups = parameter_groups(model, plan, slow=("model.visual",), factor=vision_rate)
    settings: dict[str, object] = {"seed": seed, "mix": mix, "start": start, "vision_rate": vision_rate}
    settings |= {"starting weights": digest_of(model), "bank": plan_of(bank)}
    optimise(model, groups, make_batch, step_loss, plan, folder, settings)
    return model


def label_of(batch: InstructBatch) -> str:
    """Under which name the log keeps the losses of a batch of synthetic pictures: "crop" up to 256 px, else "whole"."""
    return "crop" if max(batch.pixels.shape[1:3]) <= 256 else "whole"
