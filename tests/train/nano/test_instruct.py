"""Stage 2 on a tiny bank: what of a conversation is learned and where it is read, batches, and the loss by hand."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from mllm_iqa.train.nano.instruct import (
    CONVERSATIONS_PER_SCENE,
    CROPS_FIRST,
    FIDELITY_WEIGHT,
    LEVEL_WEIGHT,
    NAMES_WEIGHT,
    SEVERITY_WEIGHT,
    WHOLE_PICTURES,
    InstructBatch,
    Mix,
    Scenes,
    batch_logits,
    collate,
    instruct_loss,
    learned_positions,
    missing_from,
    render,
    tokenize,
)
from mllm_iqa.train.nano.model import build_nano
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration

from mllm_iqa.errors import DataError
from mllm_iqa.fast_vision import grid_of, patchify, speed_up
from mllm_iqa.levels import LEVELS, SEVERITIES

Talk = dict[str, Any]
PREFIX = "The quality of the image is"
IM_END = "<|im_end|>"


def talk(answer: str, *, images: tuple[int, ...] = (0,), learn_from: int = 0, **read: Any) -> Talk:
    """A conversation as a scene file holds it."""
    return {
        "images": list(images),
        "task": "rate.v1",
        "question": "How would you rate the quality of this image?",
        "answer": answer,
        "read_at": -1,
        "candidates": [],
        "probs": [],
        "learn_from": learn_from,
        "history": [],
        **read,
    }


def rating(level: str = "good", rest: str = "", probs: tuple[float, ...] = (0.1, 0.6, 0.3, 0.0, 0.0)) -> Talk:
    return talk(
        f"{PREFIX} {level}.{rest}",
        learn_from=len(PREFIX),
        read_at=len(PREFIX),
        candidates=[f" {word}" for word in LEVELS],
        probs=list(probs),
    )


# Text


@pytest.mark.parametrize("images", [0, 1, 3])
def test_rendered_text_is_the_chat_template_with_its_pictures_expanded(
    nano_tokenizer: PreTrainedTokenizerFast, images: int
) -> None:
    question = "Which of the two images has the better quality?"
    content = [*({"type": "image"} for _ in range(images)), {"type": "text", "text": question}]
    template = nano_tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    assert render(question, images, 9) == template.replace("<|image_pad|>", "<|image_pad|>" * 9)


def test_earlier_turns_are_the_chat_template_too_and_teach_nothing(nano_tokenizer: PreTrainedTokenizerFast) -> None:
    c = rating() | {"history": [["Is there any noise?", "No, there is no noise."]]}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Is there any noise?"}]},
        {"role": "assistant", "content": "No, there is no noise."},
        {"role": "user", "content": c["question"]},
        {"role": "assistant", "content": c["answer"]},
    ]
    template = nano_tokenizer.apply_chat_template(messages, tokenize=False)
    ids, labels, position, _ = tokenize(c, nano_tokenizer, 1)
    assert nano_tokenizer.decode(ids) + "\n" == template
    alone = tokenize(rating(), nano_tokenizer, 1)
    assert [i for i in labels if i >= 0] == [i for i in alone[1] if i >= 0]
    assert len(ids) - position == len(alone[0]) - alone[2]


def test_the_whole_conversation_is_the_chat_template_too(nano_tokenizer: PreTrainedTokenizerFast) -> None:
    c = rating()
    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": c["question"]}]},
        {"role": "assistant", "content": c["answer"]},
    ]
    template = nano_tokenizer.apply_chat_template(messages, tokenize=False)
    ids, *_ = tokenize(c, nano_tokenizer, 1)
    assert nano_tokenizer.decode(ids) + "\n" == template


# One conversation


def test_what_is_read_and_what_is_learned_of_a_rating(nano_tokenizer: PreTrainedTokenizerFast) -> None:
    def encode(text: str) -> list[int]:
        return nano_tokenizer.encode(text, add_special_tokens=False)

    c = rating(rest=" It shows jitter (slight).")
    ids, labels, position, target = tokenize(c, nano_tokenizer, 4)
    before = encode(render(c["question"], 1, 4)) + encode(PREFIX)
    after = encode(". It shows jitter (slight).") + encode(IM_END)
    assert ids == [*before, *encode(" good"), *after]
    assert ids.count(nano_tokenizer.convert_tokens_to_ids("<|image_pad|>")) == 4
    # The level stands right after the prefix and is learned as a soft label alone; the prefix is learned too.
    assert position == len(before)
    asked = len(before) - len(encode(PREFIX))
    assert labels == [-100] * asked + encode(PREFIX) + [-100] + after
    words = [encode(f" {word}")[0] for word in LEVELS]
    assert target == dict(zip(words, (0.1, 0.6, 0.3, 0.0, 0.0), strict=True))


def test_an_answer_without_a_level_is_learned_whole(nano_tokenizer: PreTrainedTokenizerFast) -> None:
    c = talk("The image shows jitter (slight).")
    ids, labels, position, target = tokenize(c, nano_tokenizer, 1)
    answer = nano_tokenizer.encode(c["answer"] + IM_END, add_special_tokens=False)
    assert (position, target) == (-1, {})
    assert labels == [-100] * (len(ids) - len(answer)) + answer
    assert ids[-len(answer) :] == answer


def test_learning_begins_where_the_conversation_says(nano_tokenizer: PreTrainedTokenizerFast) -> None:
    said, seen = f"{PREFIX} good. No single distortion stands out.", " The picture is dark."
    c = rating()
    c |= {"answer": said + seen, "learn_from": len(said)}
    ids, labels, position, target = tokenize(c, nano_tokenizer, 1)
    learned = nano_tokenizer.encode(seen + IM_END, add_special_tokens=False)
    begun = nano_tokenizer.encode(PREFIX, add_special_tokens=False)
    between = [-100] * (len(ids) - position - len(learned))
    assert labels == [-100] * (position - len(begun)) + begun + between + learned
    # The soft label is learned all the same.
    assert ids[position] == nano_tokenizer.convert_tokens_to_ids("Ġgood")
    assert sum(target.values()) == pytest.approx(1)


def test_a_read_word_within_a_token_is_refused(nano_tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(DataError, match="no token begins at the word read in 'The quality of the image is good"):
        tokenize({**rating(), "read_at": len(PREFIX) + 2}, nano_tokenizer, 1)


def test_candidates_that_begin_with_one_token_are_refused() -> None:
    # One token for each byte, as a tokenizer without any merges has: all levels begin with the one for a space.
    core = Tokenizer(models.BPE({byte: n for n, byte in enumerate(pre_tokenizers.ByteLevel.alphabet())}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    with pytest.raises(DataError, match="begin with the same token"):
        tokenize(rating(), PreTrainedTokenizerFast(tokenizer_object=core), 1)


# Batches


def pictures(count: int, height: int = 64, width: int = 96) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


def comparison(a: int, b: int) -> Talk:
    prefix = "In a direct comparison, the"
    return talk(
        f"{prefix} second image is better.",
        images=(a, b),
        task="compare.v1",
        question="Which image is better, and why?",
        learn_from=len(prefix),
        read_at=len(prefix),
        candidates=[" first", " second", " two"],
        probs=[0.2, 0.7, 0.1],
    )


@pytest.fixture(scope="module")
def batch(nano_tokenizer: PreTrainedTokenizerFast) -> InstructBatch:
    """Two scenes on three pictures: of the first two in swapped order, of the third alone."""
    first = [
        rating("poor", " It shows jitter (obvious). Edges are frayed."),
        {**rating("bad"), "images": [1]},
        comparison(0, 1),
        comparison(1, 0),
        talk("The image shows jitter (slight).", images=(1,), task="distortion.v1"),
    ]
    return collate(
        [([1, 0], first), ([2], [rating("fair")])],
        pictures(3),
        nano_tokenizer,
        np.random.default_rng(0),
        photo_mos=None,
    )


def test_a_batch_is_padded_on_the_right(batch: InstructBatch, nano_tokenizer: PreTrainedTokenizerFast) -> None:
    count, length = batch.input_ids.shape
    assert count == 6
    assert batch.attention_mask.shape == batch.labels.shape == (count, length)
    lengths = batch.attention_mask.sum(dim=1)
    assert lengths.max() == length
    assert len(set(lengths.tolist())) > 1
    for row in range(count):
        n = int(lengths[row])
        assert batch.attention_mask[row].tolist() == [1] * n + [0] * (length - n)
        assert batch.input_ids[row, n:].tolist() == [nano_tokenizer.pad_token_id] * (length - n)
        assert batch.labels[row, n:].tolist() == [-100] * (length - n)
        assert batch.input_ids[row, n - 1] == nano_tokenizer.eos_token_id == batch.labels[row, n - 1]


def test_conversations_show_the_pictures_of_their_scene(batch: InstructBatch) -> None:
    # The first scene's picture 0 is row 1 of the pixels and its picture 1 is row 0.
    assert Counter(batch.images) == Counter([(1,), (0,), (1, 0), (0, 1), (0,), (2,)])


def test_the_batch_knows_which_answers_name_distortions(
    batch: InstructBatch, nano_tokenizer: PreTrainedTokenizerFast
) -> None:
    named = [nano_tokenizer.decode(batch.input_ids[row]) for row in batch.naming.nonzero()[:, 0]]
    assert len(named) == 1
    assert "The image shows jitter (slight)." in named[0]


def test_the_number_of_picture_tokens_follows_from_the_size(
    batch: InstructBatch, nano_tokenizer: PreTrainedTokenizerFast
) -> None:
    # 64 x 96 px are 2 x 3 squares of 32 px, a token each.
    pads = (batch.input_ids == nano_tokenizer.convert_tokens_to_ids("<|image_pad|>")).sum(dim=1)
    assert pads.tolist() == [6 * len(shown) for shown in batch.images]


def test_the_word_is_read_one_position_before_it_stands(
    batch: InstructBatch, nano_tokenizer: PreTrainedTokenizerFast
) -> None:
    assert len(batch.read_rows) == len(batch.read_at) == len(batch.read_target) == 5
    assert batch.read_target.shape[1] == len(nano_tokenizer)
    torch.testing.assert_close(batch.read_target.sum(dim=1), torch.ones(5))
    words = []
    for row, at, target in zip(batch.read_rows, batch.read_at, batch.read_target, strict=True):
        said = int(batch.input_ids[row, at + 1])
        words.append(nano_tokenizer.decode([said]))
        assert nano_tokenizer.decode([int(batch.input_ids[row, at])]) in (" is", " the")
        assert batch.labels[row, at + 1] == -100
        pair = len(batch.images[row]) == 2
        assert sorted(target[target > 0].tolist()) == pytest.approx([0.1, 0.2, 0.7] if pair else [0.1, 0.3, 0.6])
    assert Counter(words) == Counter([" poor", " bad", " fair", " second", " second"])


def test_no_more_than_eight_conversations_of_a_scene_of_crops(nano_tokenizer: PreTrainedTokenizerFast) -> None:
    scene = ([0], [rating(level) for level in LEVELS] * 4)
    made = collate([scene, scene], pictures(1), nano_tokenizer, np.random.default_rng(0), photo_mos=None)
    assert len(made.images) == 2 * CONVERSATIONS_PER_SCENE == 16
    assert (len(made.mos_rows), len(made.mos)) == (0, 0)


def test_no_picture_is_encoded_without_asking_what_is_wrong_with_it(nano_tokenizer: PreTrainedTokenizerFast) -> None:
    named = [{**talk("I see no visible distortion."), "task": "distortion.v1", "images": [k]} for k in range(4)]
    for seed in range(5):
        scene = ([0, 1, 2, 3], [*[rating(level) for level in LEVELS] * 4, *named])
        made = collate([scene], pictures(4), nano_tokenizer, np.random.default_rng(seed), photo_mos=None)
        assert len(made.images) == CONVERSATIONS_PER_SCENE
        named_first = [shown for shown, names in zip(made.images, made.naming.tolist(), strict=True) if names]
        assert sorted(named_first) == [(0,), (1,), (2,), (3,)]


def test_ratings_of_photographs_carry_their_human_mos(nano_tokenizer: PreTrainedTokenizerFast) -> None:
    conversations = [rating(), {**rating(), "images": [1]}, comparison(0, 1), talk("The picture is dark.")]
    made = collate(
        [([2, 0], conversations)], pictures(3), nano_tokenizer, np.random.default_rng(1), photo_mos=[1.5, 2.5, 4.5]
    )
    assert len(made.images) == 4
    for index, mos in zip(made.mos_rows.tolist(), made.mos.tolist(), strict=True):
        (shown,) = made.images[int(made.read_rows[index])]
        assert mos == {2: 4.5, 0: 1.5}[shown]
    assert sorted(made.mos.tolist()) == [1.5, 4.5]


# The model


@pytest.fixture(scope="module")
def nano(nano_tokenizer: PreTrainedTokenizerFast) -> Qwen3VLForConditionalGeneration:
    """Random weights, large enough that a wrong picture or position would show."""
    torch.manual_seed(0)
    model = build_nano(nano_tokenizer).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and "embed" not in name:
                parameter.mul_(2.0)
    return model


@torch.inference_mode()
def test_shared_pictures_give_the_logits_of_a_stock_forward(
    nano: Qwen3VLForConditionalGeneration, nano_tokenizer: PreTrainedTokenizerFast, batch: InstructBatch
) -> None:
    fast = build_nano(nano_tokenizer).eval()
    fast.load_state_dict(nano.state_dict())
    speed_up(fast.model.visual)
    learned = learned_positions(batch)
    flat = batch_logits(fast, batch)
    assert flat.shape == (int(learned.sum()), len(nano_tokenizer))
    together = torch.full((*learned.shape, flat.shape[1]), torch.nan)
    together[learned] = flat
    alone = []
    for row, shown in enumerate(batch.images):
        n = int(batch.attention_mask[row].sum())
        ids, pixels = batch.input_ids[row : row + 1, :n], batch.pixels[list(shown)]
        logits = nano(
            input_ids=ids,
            mm_token_type_ids=(ids == nano.config.image_token_id).long(),
            pixel_values=patchify(pixels),
            image_grid_thw=grid_of(pixels),
        ).logits[0]
        # float32 sums in another order: other rows beside it, batched attention.
        at = learned[row, :n]
        assert not learned[row, n - 1 :].any()
        torch.testing.assert_close(together[row, :n][at], logits[at], atol=1e-4, rtol=1e-4)
        alone.append(logits)
    # The two orders of a comparison differ in their pictures alone, so this test can see a wrong one.
    one, other = (alone[batch.images.index(shown)] for shown in ((1, 0), (0, 1)))
    assert (one[-1] - other[-1]).abs().max() > 1e-2


def made_up(logits: torch.Tensor, labels: list[list[int]], **read: Any) -> InstructBatch:
    """A batch of which only what the loss looks at is there."""
    nothing: dict[str, Any] = {
        "naming": torch.zeros(len(logits), dtype=torch.bool),
        "read_rows": torch.zeros(0, dtype=torch.long),
        "read_at": torch.zeros(0, dtype=torch.long),
        "read_target": torch.zeros(0, logits.shape[-1]),
        "mos_rows": torch.zeros(0, dtype=torch.long),
        "mos": torch.zeros(0),
    }
    ids = torch.zeros(logits.shape[:2], dtype=torch.long)
    return InstructBatch(
        pixels=pictures(1),
        images=[(0,)] * len(logits),
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        labels=torch.tensor(labels),
        **(nothing | read),
    )


LEVEL_IDS = [1, 2, 3, 4, 5]  # of seven words; 0 and 6 are others
SEVERITY_IDS = [7, 8, 9, 10, 11]  # not among those seven: rows of logits that hold them have twelve


def loss_of(logits: torch.Tensor, labels: list[list[int]], **read: Any) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of made-up logits of shape (N, T, V)."""
    batch = made_up(logits, labels, **read)
    return instruct_loss(logits[learned_positions(batch)], batch, LEVEL_IDS, SEVERITY_IDS)


def test_the_text_loss_by_hand() -> None:
    logits = torch.zeros(2, 3, 7)
    # Three learned tokens under a uniform model, ln 7 each, over two conversations. A label at position 0 is
    # predicted by nothing.
    total, parts = loss_of(logits, [[6, 1, 2], [-100, -100, 3]])
    assert set(parts) == {"text"}
    assert parts["text"] == pytest.approx(3 * math.log(7) / 2, rel=1e-6)
    assert float(total) == pytest.approx(parts["text"])


def test_a_token_is_predicted_one_position_before_it_stands() -> None:
    logits = torch.zeros(1, 3, 7)
    logits[0, 0, 4] = 50.0  # sure of word 4 at position 1
    _, right = loss_of(logits, [[-100, 4, -100]])
    _, late = loss_of(logits, [[4, -100, -100]])
    _, early = loss_of(logits, [[-100, -100, 4]])
    assert right["text"] == pytest.approx(0, abs=1e-6)
    assert (late["text"], early["text"]) == (0, pytest.approx(math.log(7), rel=1e-6))


def test_the_level_loss_by_hand() -> None:
    logits = torch.zeros(2, 3, 7)
    target = torch.tensor([[0, 0.5, 0.5, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1.0, 0]])
    # At (0, 1) the model is uniform over seven words: KL = ln 7 - ln 2. At (1, 2) it says what it should: KL 0.
    logits[1, 2, 5] = 50.0
    read = {"read_rows": torch.tensor([0, 1]), "read_at": torch.tensor([1, 2]), "read_target": target}
    total, parts = loss_of(logits, [[-100] * 3, [-100, 0, -100]], **read)
    assert set(parts) == {"text", "level"}
    assert parts["level"] == pytest.approx(LEVEL_WEIGHT * (math.log(7) - math.log(2)) / 2, rel=1e-5)
    assert parts["text"] == pytest.approx(math.log(7) / 2, rel=1e-6)
    assert float(total) == pytest.approx(parts["level"] + parts["text"], rel=1e-6)


def test_answers_that_name_distortions_count_again() -> None:
    logits = torch.zeros(2, 3, 7)
    total, parts = loss_of(logits, [[6, 1, 2], [-100, -100, 3]], naming=torch.tensor([True, False]))
    # Two of the three learned tokens stand in the first conversation, which names distortions.
    assert set(parts) == {"text", "names"}
    assert parts["text"] == pytest.approx(3 * math.log(7) / 2, rel=1e-6)
    assert parts["names"] == pytest.approx(NAMES_WEIGHT * 2 * math.log(7) / 2, rel=1e-6)
    assert float(total) == pytest.approx(parts["text"] + parts["names"], rel=1e-6)


def test_the_severity_loss_by_hand() -> None:
    logits = torch.zeros(1, 4, 12)
    labels = [[-100, 7, 3, 9]]
    # Uniform over five words, cumulated .2 .4 .6 .8 1. "slight" (1 1 1 1 1): .64 + .36 + .16 + .04 = 1.2;
    # "obvious" (0 0 1 1 1): .04 + .16 + .16 + .04 = .4. Word 3 is no severity.
    _, parts = loss_of(logits, labels)
    assert set(parts) == {"text", "severity"}
    assert parts["severity"] == pytest.approx(SEVERITY_WEIGHT * 0.8, rel=1e-6)
    logits[0, :, 3] = 9.0  # a word that is none of the five changes nothing
    assert loss_of(logits, labels)[1]["severity"] == pytest.approx(SEVERITY_WEIGHT * 0.8, rel=1e-6)
    # Sure of "moderate" and of "serious": one off each, one squared difference of 1.
    logits[0, 0, 8] = logits[0, 2, 10] = 50.0
    assert loss_of(logits, labels)[1]["severity"] == pytest.approx(SEVERITY_WEIGHT * 1.0, rel=1e-6)
    # Sure of "catastrophic" for "slight", four off; and right about "obvious".
    logits[0, 0, 8], logits[0, 0, 11], logits[0, 2, 10], logits[0, 2, 9] = 0.0, 50.0, 0.0, 50.0
    assert loss_of(logits, labels)[1]["severity"] == pytest.approx(SEVERITY_WEIGHT * 2.0, rel=1e-6)


def fidelity_of(logits: torch.Tensor, mos: list[float]) -> float:
    """The fidelity part for two ratings of photographs, read at position 0, after a comparison in row 0."""
    read = {
        "read_rows": torch.tensor([0, 1, 2]),
        "read_at": torch.tensor([0, 0, 0]),
        "read_target": torch.full((3, 7), 1 / 7),
        "mos_rows": torch.tensor([1, 2]),
        "mos": torch.tensor(mos),
    }
    _, parts = loss_of(logits, [[-100, -100]] * 3, **read)
    assert set(parts) == {"text", "level", "fidelity"}
    return parts["fidelity"]


def test_the_fidelity_loss_by_hand() -> None:
    logits = torch.zeros(3, 2, 7)
    # Both predicted alike: p_hat = .5. Human gap 1 at a spread of .5: p = Phi(1 / (.5 sqrt 2)) = Phi(1.41421) = .92135.
    # 1 - sqrt(.5 * .92135) - sqrt(.5 * .07865) = 1 - .67873 - .19831 = .12296
    assert fidelity_of(logits, [4.0, 3.0]) == pytest.approx(FIDELITY_WEIGHT * 0.12296, abs=1e-4)
    # Sure of "excellent" (5) and "bad" (1), both with spread .001: p_hat = Phi(4 / 1) = .99997, and p as before:
    # 1 - sqrt(.92135 * .99997) - sqrt(.07865 * .00003) = 1 - .95985 - .00158 = .0386
    logits[1, 0, 1] = logits[2, 0, 5] = 50.0
    assert fidelity_of(logits, [4.0, 3.0]) == pytest.approx(FIDELITY_WEIGHT * 0.0386, abs=2e-4)
    # The wrong way round: p = .07865. 1 - sqrt(.07865 * .99997) - sqrt(.92135 * .00003) = 1 - .28044 - .00540 = .7142
    assert fidelity_of(logits, [3.0, 4.0]) == pytest.approx(FIDELITY_WEIGHT * 0.7142, abs=2e-3)


def test_fidelity_looks_at_the_level_words_alone() -> None:
    logits = torch.zeros(3, 2, 7)
    logits[1, 0, 1] = logits[2, 0, 5] = 3.0
    plain = fidelity_of(logits, [4.0, 3.0])
    logits[:, :, 6] = 8.0  # almost certain of a word that is no level
    assert fidelity_of(logits, [4.0, 3.0]) == pytest.approx(plain, abs=1e-5)


# A bank


def test_batches_of_a_bank_are_a_function_of_their_number(
    tiny_bank: Path, nano_tokenizer: PreTrainedTokenizerFast
) -> None:
    def key(what: str, turn: int, seed: int = 0) -> tuple[bytes, list[tuple[int, ...]], list[list[int]]]:
        made = Scenes(tiny_bank, what, "96px", 2, seed).batch(turn, nano_tokenizer)
        return made.pixels.tobytes(), made.images, made.input_ids.tolist()

    for what in ("synthetic", "whole photos"):
        assert key(what, 3) == key(what, 3)
        assert key(what, 3) != key(what, 4)
        assert key(what, 3) != key(what, 3, seed=1)


def test_crops_of_a_batch_are_those_their_scenes_are_about(
    tiny_bank: Path, nano_tokenizer: PreTrainedTokenizerFast
) -> None:
    rows = pq.read_table(tiny_bank / "train-96px-0000.parquet").to_pylist()
    scenes = pq.read_table(tiny_bank / "instruct-train-96px-0000.parquet").to_pylist()
    kind = Scenes(tiny_bank, "synthetic", "96px", 2, 0)
    # Four scenes, two in a batch: batch 3 shows scenes 2 and 3, as batch 1 does.
    made = kind.batch(3, nano_tokenizer)
    mine = scenes[2:4]
    assert {p.tobytes() for p in made.pixels} == {rows[i]["pixels"] for scene in mine for i in scene["images"]}
    assert len(made.images) == 2 * CONVERSATIONS_PER_SCENE
    told = {
        (tuple(rows[scene["images"][i]]["pixels"] for i in c["images"]), c["answer"])
        for scene in mine
        for c in json.loads(scene["conversations"])
    }
    answers = [
        text.rpartition("<|im_start|>assistant\n")[2].partition(IM_END)[0]
        for text in nano_tokenizer.batch_decode(made.input_ids)
    ]
    shown = [tuple(made.pixels[i].tobytes() for i in images) for images in made.images]
    assert set(zip(shown, answers, strict=True)) <= told


def test_photographs_of_a_batch_carry_their_own_mos(tiny_bank: Path, nano_tokenizer: PreTrainedTokenizerFast) -> None:
    made = Scenes(tiny_bank, "whole photos", "96px", 1, 0).batch(0, nano_tokenizer)
    assert made.pixels.shape == (8, 96, 96, 3)
    # Every photograph is rated once; the soft label's mean is its MOS.
    assert len(made.mos) > 4
    level_ids = [nano_tokenizer.convert_tokens_to_ids(f"Ġ{word}") for word in LEVELS]
    means = made.read_target[made.mos_rows][:, level_ids] @ torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])
    torch.testing.assert_close(means, made.mos, atol=1e-4, rtol=0)
    assert len(set(made.mos.tolist())) == len(made.mos)


def test_a_bank_without_scenes_is_refused_with_the_command(tiny_bank: Path, tmp_path: Path) -> None:
    (tmp_path / "train-96px-0000.parquet").symlink_to(tiny_bank / "train-96px-0000.parquet")
    with pytest.raises(DataError, match=r"instruct-train-96px-0000\.parquet: not found; run `mllm-iqa data bank`"):
        Scenes(tmp_path, "synthetic", "96px", 2, 0)


@pytest.mark.parametrize("mix", [CROPS_FIRST, WHOLE_PICTURES])
def test_every_side_of_a_mix_is_a_multiple_of_32(mix: Mix) -> None:
    assert all(share > 0 for *_, share in mix)
    assert all(int(side) % 32 == 0 for _, size, _, _ in mix for side in size.removesuffix("px").split("x"))
    assert all(size[:-2].isdigit() for what, size, *_ in mix if what != "synthetic"), "views of photographs are square"


def test_a_stage_can_begin_elsewhere_in_the_bank(tiny_bank: Path, nano_tokenizer: PreTrainedTokenizerFast) -> None:
    first = Scenes(tiny_bank, "whole photos", "96px", 1, 0)
    later = Scenes(tiny_bank, "whole photos", "96px", 1, 0, start=0.5)
    half = len(first.table) // 2
    mine, theirs = first.batch(half, nano_tokenizer), later.batch(0, nano_tokenizer)
    assert sorted(mine.mos.tolist()) == sorted(theirs.mos.tolist())


def test_a_shard_too_small_for_a_batch_is_refused(tiny_bank: Path) -> None:
    with pytest.raises(DataError, match="fewer than the 5 scenes of a batch"):
        Scenes(tiny_bank, "synthetic", "96px", 5, 0)


def test_whole_pictures_of_a_batch_have_both_sides(tiny_bank: Path, nano_tokenizer: PreTrainedTokenizerFast) -> None:
    made = Scenes(tiny_bank, "synthetic", "160x224px", 2, 0).batch(0, nano_tokenizer)
    assert made.pixels.shape[1:] == (160, 224, 3)
    image_tokens = (made.input_ids == nano_tokenizer.convert_tokens_to_ids("<|image_pad|>")).sum(dim=1)
    assert image_tokens.tolist() == [len(shown) * 5 * 7 for shown in made.images]


def test_what_a_mix_needs_and_a_bank_lacks_is_named(tiny_bank: Path) -> None:
    assert missing_from(tiny_bank, (("synthetic", "96px", 1, 0.5), ("whole photos", "384px", 1, 0.5))) == []
    assert missing_from(tiny_bank, (("synthetic", "64px", 1, 1.0),)) == ["train-64px-*.parquet"]


def test_conversations_without_their_file_are_missing(tiny_bank: Path, tmp_path: Path) -> None:
    for name in ("photos.parquet", "train-96px-0000.parquet"):
        (tmp_path / name).symlink_to(tiny_bank / name)
    assert missing_from(tmp_path, (("synthetic", "96px", 1, 1.0),)) == [
        "instruct-train-96px-0000.parquet",
        "instruct-train-photos.parquet",
    ]


def test_a_step_lowers_the_loss(tiny_bank: Path, nano_tokenizer: PreTrainedTokenizerFast) -> None:
    torch.manual_seed(0)
    model = build_nano(nano_tokenizer)
    speed_up(model.model.visual)
    level_ids = [nano_tokenizer.convert_tokens_to_ids(f"Ġ{word}") for word in LEVELS]
    severity_ids = nano_tokenizer.convert_tokens_to_ids(list(SEVERITIES))
    made = Scenes(tiny_bank, "whole photos", "96px", 1, 0).batch(0, nano_tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    before, parts = instruct_loss(batch_logits(model, made), made, level_ids, severity_ids)
    before.backward()
    assert set(parts) == {"text", "level", "fidelity"}
    untouched = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert untouched == []
    optimizer.step()
    with torch.inference_mode():
        after, _ = instruct_loss(batch_logits(model, made), made, level_ids, severity_ids)
    assert float(after) < 0.95 * float(before.detach())
