"""The architecture of `nano`: its DCT patch embedding, and a whole model around a made-up tokenizer."""

import copy

import numpy as np
import pytest
import torch
from mllm_iqa.train.nano.model import (
    HIDDEN,
    SPECIAL,
    build_nano,
    dct_patch_weights,
    set_patch_weights,
    start_from_energies,
    text_config,
    vision_config,
)
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration

from mllm_iqa.fast_vision import grid_of, patchify

LUMA = 184


@pytest.fixture(scope="module")
def weights() -> np.ndarray:
    return dct_patch_weights()


def planes(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each channel as (strength of each colour, unit-norm pattern over the patch): weight = colour x pattern."""
    flat = weights.reshape(len(weights), 3, -1).astype(np.float64)
    pattern = flat[np.arange(len(flat)), np.abs(flat).sum(axis=2).argmax(axis=1)]
    pattern /= np.linalg.norm(pattern, axis=1, keepdims=True)
    return np.einsum("nck,nk->nc", flat, pattern), pattern


def test_shape_and_type(weights: np.ndarray) -> None:
    assert weights.shape == (HIDDEN, 3, 16, 16)
    assert weights.dtype == np.float32
    assert (np.abs(weights).reshape(HIDDEN, -1).sum(axis=1) > 0).all()


def test_every_channel_is_one_color_axis_times_one_pattern(weights: np.ndarray) -> None:
    colors, patterns = planes(weights)
    rebuilt = colors[:, :, None] * patterns[:, None, :]
    np.testing.assert_allclose(rebuilt, weights.reshape(HIDDEN, 3, -1), atol=1e-6)
    # Luma weights of BT.601, up to a factor, on the first 184; no net colour, i.e. chroma, on the rest.
    luma = colors[:LUMA] / colors[:LUMA].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(luma, np.broadcast_to([0.299, 0.587, 0.114], luma.shape), atol=1e-5)
    np.testing.assert_allclose(colors[LUMA:].sum(axis=1), 0, atol=1e-6)


@pytest.mark.parametrize(
    "rows", [slice(0, LUMA), slice(LUMA, None, 2), slice(LUMA + 1, None, 2)], ids=["y", "cb", "cr"]
)
def test_rows_of_one_axis_are_orthogonal_up_to_scale(weights: np.ndarray, rows: slice) -> None:
    axis = weights[rows].reshape(len(weights[rows]), -1).astype(np.float64)
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    np.testing.assert_allclose(axis @ axis.T, np.eye(len(axis)), atol=1e-6)


def test_patterns_are_equal_or_orthogonal_between_axes_too(weights: np.ndarray) -> None:
    _, patterns = planes(weights)
    overlap = np.abs(patterns @ patterns.T)
    assert (np.minimum(overlap, np.abs(1 - overlap)) < 1e-5).all()


def test_a_grey_patch_excites_the_mean_of_luma_alone(weights: np.ndarray) -> None:
    answer = np.einsum("nchw,chw->n", weights, np.ones((3, 16, 16)))
    assert np.flatnonzero(np.abs(answer) > 1e-4).tolist() == [0]
    # The DCT of a constant 1 over 16 x 16 is 16 at frequency 0; the gain there is (1 + 0) / 16.
    assert answer[0] == pytest.approx(1.0, rel=1e-5)


def test_a_flat_color_excites_the_means_alone(weights: np.ndarray) -> None:
    blue = np.zeros((3, 16, 16))
    blue[2] = 1
    answer = np.einsum("nchw,chw->n", weights, blue)
    # Luma .114, Cb .5, Cr -.081, as above times 16 / 16.
    assert np.flatnonzero(np.abs(answer) > 1e-4).tolist() == [0, LUMA, LUMA + 1]
    np.testing.assert_allclose(answer[[0, LUMA, LUMA + 1]], [0.114, 0.5, -0.081], rtol=1e-4)


def test_a_stripe_excites_its_own_frequency_alone(weights: np.ndarray) -> None:
    x = np.arange(16)
    wave = np.cos(np.pi * (x + 0.5) * 3 / 16)
    answer = np.einsum("nchw,chw->n", weights[:LUMA], np.broadcast_to(wave, (3, 16, 16)))
    (channel,) = np.flatnonzero(np.abs(answer) > 1e-4)
    # Its norm along x is sqrt(16 / 2), along y the constant's sqrt 16; gain (1 + 3^1.1) / 16.
    assert answer[channel] == pytest.approx(np.sqrt(8) * 4 * (1 + 3**1.1) / 16, rel=1e-5)


def test_the_lowest_and_some_of_the_highest_frequencies_are_there(weights: np.ndarray) -> None:
    n = np.arange(16)
    basis = np.cos(np.pi * (n[None, :] + 0.5) * n[:, None] / 16)
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    _, patterns = planes(weights)
    found = np.abs(np.einsum("nyx,vy,ux->nvu", patterns[:LUMA].reshape(-1, 16, 16), basis, basis)).reshape(LUMA, -1)
    frequencies = {divmod(int(k), 16) for k in found.argmax(axis=1)}
    assert len(frequencies) == LUMA
    # 184 - 48 = 136 = 1 + 2 + ... + 16: every frequency with v + u <= 15, and the very highest among the others.
    assert {(v, u) for v in range(16) for u in range(16) if v + u <= 15} <= frequencies
    assert (15, 15) in frequencies


# The whole model


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    words = ["<|pad|>", "<|end|>", *SPECIAL.values(), *(f"word{n}" for n in range(50))]
    core = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<|pad|>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        extra_special_tokens=list(SPECIAL.values()),
    )


@pytest.fixture(scope="module")
def nano(tokenizer: PreTrainedTokenizerFast) -> Qwen3VLForConditionalGeneration:
    torch.manual_seed(0)
    return build_nano(tokenizer).eval()


def test_the_model_fits_the_tokenizer(
    nano: Qwen3VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast
) -> None:
    config = nano.config
    assert nano.get_input_embeddings().weight.shape == (len(tokenizer), HIDDEN)
    assert {name: getattr(config, name) for name in SPECIAL} == {
        name: tokenizer.convert_tokens_to_ids(token) for name, token in SPECIAL.items()
    }
    assert (config.text_config.pad_token_id, config.text_config.eos_token_id) == (0, 1)
    # Tied: the output head is the embedding itself.
    assert nano.lm_head.weight is nano.get_input_embeddings().weight


def test_the_size_is_as_designed(nano: Qwen3VLForConditionalGeneration) -> None:
    # DESIGN.md, section 7: 5 to 15 million parameters (with a real vocabulary; a token costs HIDDEN = 256 more).
    assert 5e6 < sum(p.numel() for p in nano.parameters()) < 15e6
    assert text_config(4096, 0, 1).head_dim * text_config(4096, 0, 1).num_attention_heads == HIDDEN


def test_the_patch_embedding_is_the_dct(nano: Qwen3VLForConditionalGeneration, weights: np.ndarray) -> None:
    visual = nano.model.visual
    assert torch.equal(visual.patch_embed.proj.weight.sum(dim=2), torch.from_numpy(weights))
    pixels = np.random.default_rng(0).integers(0, 256, size=(1, 32, 32, 3), dtype=np.uint8)
    with torch.inference_mode():
        found = visual.patch_embed(patchify(pixels)).numpy()
    # The first patch is the upper left 16 x 16 px, in [-1, 1]; both frames show it, each with half of the weight.
    first = (pixels[0, :16, :16] / 127.5 - 1).transpose(2, 0, 1)
    np.testing.assert_allclose(found[0], np.einsum("nchw,chw->n", weights, first), atol=1e-4)


def test_set_patch_weights_replaces_what_was_there(nano: Qwen3VLForConditionalGeneration) -> None:
    visual = nano.model.visual
    before = visual.patch_embed.proj.weight.detach().clone()
    set_patch_weights(visual, np.full((HIDDEN, 3, 16, 16), 0.5, np.float32))
    assert torch.equal(visual.patch_embed.proj.weight, torch.full((HIDDEN, 3, 2, 16, 16), 0.25))
    assert not visual.patch_embed.proj.bias.any()
    with torch.no_grad():
        visual.patch_embed.proj.weight.copy_(before)


def test_starting_from_energies_whitens_and_adds_the_absolute_value(nano: Qwen3VLForConditionalGeneration) -> None:
    visual = copy.deepcopy(nano.model.visual)
    before = copy.deepcopy(visual.blocks[0].mlp)
    patches = patchify(np.random.default_rng(2).integers(0, 256, size=(8, 64, 64, 3), dtype=np.uint8))
    start_from_energies(visual, patches, gain=2.0, share=0.7)
    mlp = visual.blocks[0].mlp
    with torch.inference_mode():
        np.testing.assert_allclose(visual.patch_embed(patches).std(dim=0).numpy(), 1, rtol=1e-3)
        # What was added reads x and -x with gain 2 and writes .7 / 2 of both: .35 (gelu(2x) + gelu(-2x)). Since
        # gelu(2x) + gelu(-2x) = 2x (2 Phi(2x) - 1), at x = 3 that is .35 * 6 = 2.1 = .7 |x|, and the same at -3.
        added = {name: value - dict(before.named_parameters())[name] for name, value in mlp.named_parameters()}
        for x in (3.0, -3.0):
            hidden = torch.nn.functional.gelu(added["linear_fc1.weight"] @ torch.full((HIDDEN,), x))
            np.testing.assert_allclose((added["linear_fc2.weight"] @ hidden).numpy(), 2.1, atol=1e-3)


def test_it_reads_a_picture_and_the_picture_matters(nano: Qwen3VLForConditionalGeneration) -> None:
    config = nano.config
    pixels = np.random.default_rng(1).integers(0, 256, size=(2, 64, 64, 3), dtype=np.uint8)
    # 64 px = 4 patches a side, merged 2 by 2: four visual tokens.
    ids = [config.vision_start_token_id, *[config.image_token_id] * 4, config.vision_end_token_id, 10, 11]
    kinds = [int(i == config.image_token_id) for i in ids]
    with torch.inference_mode():
        logits = [
            nano(
                input_ids=torch.tensor([ids]),
                mm_token_type_ids=torch.tensor([kinds]),
                pixel_values=patchify(picture[None]),
                image_grid_thw=grid_of(picture[None]),
            ).logits
            for picture in pixels
        ]
    assert logits[0].shape == (1, len(ids), config.text_config.vocab_size)
    assert torch.isfinite(logits[0]).all()
    assert not torch.allclose(logits[0][0, -1], logits[1][0, -1], atol=1e-4)


def test_deepstack_taps_lie_within_the_tower() -> None:
    config = vision_config()
    assert all(0 <= index < config.depth - 1 for index in config.deepstack_visual_indexes)
    assert config.out_hidden_size == HIDDEN
