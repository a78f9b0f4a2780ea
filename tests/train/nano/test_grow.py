"""Blocks given to a trained model: the same function before the first step, and gradients for all that is new."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mllm_iqa.train.nano.grow import BLOCKS, LAYERS, OUTPUTS, grown
from mllm_iqa.train.nano.model import build_nano
from transformers import AutoModelForImageTextToText, AutoTokenizer

from mllm_iqa.errors import ConfigError
from mllm_iqa.fast_vision import grid_of, patchify
from mllm_iqa.registry import NANO

VISION, LANGUAGE = (1, 3, 6), (1, 3)


@pytest.fixture(scope="module")
def nano() -> Any:
    """Seven blocks and four layers of random weights."""
    torch.manual_seed(0)
    return build_nano(AutoTokenizer.from_pretrained(NANO)).eval()


@pytest.fixture(scope="module")
def larger(nano: Any) -> tuple[Any, tuple[str, ...]]:
    model, new = grown(nano, VISION, LANGUAGE)
    return model.eval(), new


def logits(model: Any) -> torch.Tensor:
    """At every position of a prompt with one picture of 64 x 96 px and ten words."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)
    ids = torch.tensor([[3, *[5] * 6, 4, *range(20, 30)]])
    found: torch.Tensor = model(
        input_ids=ids,
        mm_token_type_ids=(ids == 5).long(),
        pixel_values=patchify(pixels),
        image_grid_thw=grid_of(pixels),
    ).logits
    return found


def test_it_computes_the_same_with_more_blocks(nano: Any, larger: tuple[Any, tuple[str, ...]]) -> None:
    model, new = larger
    assert len(model.model.visual.blocks) == len(nano.model.visual.blocks) + len(VISION)
    assert len(model.model.language_model.layers) == len(nano.model.language_model.layers) + len(LANGUAGE)
    assert new == (f"{BLOCKS}2.", f"{BLOCKS}5.", f"{BLOCKS}9.", f"{LAYERS}2.", f"{LAYERS}5.")
    # Behind the copies of the blocks that were tapped.
    assert model.config.vision_config.deepstack_visual_indexes == [2, 5]
    with torch.no_grad():
        torch.testing.assert_close(logits(model), logits(nano))


def test_the_model_itself_is_left_as_it_was(nano: Any) -> None:
    before = {name: value.clone() for name, value in nano.state_dict().items()}
    model, _ = grown(nano, VISION, LANGUAGE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert all(torch.equal(value, before[name]) for name, value in nano.state_dict().items())
    assert nano.config.vision_config.depth == len(nano.model.visual.blocks)


def test_new_blocks_learn_from_the_first_step(larger: tuple[Any, tuple[str, ...]]) -> None:
    model, new = larger
    model.zero_grad()
    logits(model).square().mean().backward()
    outputs = [
        (name, p) for name, p in model.named_parameters() if name.startswith(new) and any(o in name for o in OUTPUTS)
    ]
    # Weights and biases of two matrices a block of the tower, weights of two a layer of the language model.
    assert len(outputs) == 4 * len(VISION) + 2 * len(LANGUAGE)
    for name, parameter in outputs:
        assert not parameter.any(), name
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_it_is_saved_and_loaded_as_any_model(larger: tuple[Any, tuple[str, ...]], tmp_path: Path) -> None:
    larger[0].save_pretrained(tmp_path)
    again = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype=torch.float32).eval()
    with torch.no_grad():
        torch.testing.assert_close(logits(again), logits(larger[0]))


@pytest.mark.parametrize(
    ("vision", "language", "message"),
    [
        ((7,), (), "grow.vision: there is no block 7; this model has 0 to 6"),
        ((2, 2), (), "grow.vision: block 2 is named twice"),
        ((), (-1,), "grow.language: there is no block -1; this model has 0 to 3"),
        ((), (0,), "grow.language: 0 is before 1, the last that takes DeepStack's features"),
    ],
)
def test_blocks_that_cannot_be_copied(
    nano: Any, vision: tuple[int, ...], language: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        grown(nano, vision, language)
