"""A checkpoint's text, tokens and picture sizes without its weights: as the transformers engine has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mllm_iqa.backends.base import Conversation, Turn
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.backends.reader import CheckpointReader
from mllm_iqa.errors import CheckpointError
from mllm_iqa.images import load_image, pad_to_multiple

QUESTION, PREFIX = "How would you rate the quality of this image?", "The quality of the image is"


def test_text_and_tokens_are_the_engines(tiny_checkpoint: Path) -> None:
    reader = CheckpointReader.load(str(tiny_checkpoint))
    backend = HuggingFaceBackend.load(str(tiny_checkpoint), device="cpu")
    picture = load_image(np.zeros((50, 70, 3), np.uint8))
    for conversation in (
        Conversation.ask([picture], QUESTION, PREFIX),
        Conversation.ask([picture, picture], QUESTION),
        Conversation((), (Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"))),
    ):
        text = reader.text_of(conversation)
        assert text == backend.text_of(conversation)
        assert reader.token_ids(text) == backend.token_ids(text)
        expanded = backend.inputs_of(text, conversation.pictures)["input_ids"]
        assert reader.prompt_length(conversation) == expanded.shape[1]
    assert reader.card == backend.card
    assert reader.end_ids == {backend.tokenizer.eos_token_id}
    np.testing.assert_array_equal(reader.pixels_of(picture), pad_to_multiple(picture.pixels, 32))


def test_the_bound_on_padded_pictures_holds_for_every_shape(tiny_checkpoint: Path) -> None:
    reader = CheckpointReader.load(str(tiny_checkpoint))
    for budget in (40_000, 262_144, 1_048_576):
        bound = reader.max_padded_pixels(budget)
        assert bound < 2.5 * budget + 32 * 32 * 4
        for height in range(32, int(budget**0.5) + 1):
            width = min(budget // height, 100 * height)
            padded = -(-height // 32) * 32 * (-(-width // 32) * 32)
            assert padded <= bound, (height, width)
    assert reader.processor_options(40_000)["size"]["longest_edge"] == reader.max_padded_pixels(40_000)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a checkpoint transformers can read"):
        CheckpointReader.load(str(tmp_path))
