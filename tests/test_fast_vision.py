"""The quick vision tower against the stock one: same weights, same pictures, same numbers."""

import copy

import numpy as np
import PIL.Image
import pytest
import torch
from transformers import Qwen2VLImageProcessorPil
from transformers.models.qwen3_vl import Qwen3VLVisionConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel

from mllm_iqa.fast_vision import grid_of, patchify, speed_up

PATCH, MERGE = 16, 2
# Float32 sums over a patch (1536 products) and over keys in another order; values are of size 1.
TOLERANCE = 1e-5


def picture(height: int, width: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, size=(1, height, width, 3), dtype=np.uint8)


def inputs(*sizes: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    pictures = [picture(*size, seed) for seed, size in enumerate(sizes)]
    return torch.cat([patchify(p) for p in pictures]), torch.cat([grid_of(p) for p in pictures])


@pytest.fixture(scope="module")
def stock() -> Qwen3VLVisionModel:
    torch.manual_seed(0)
    config = Qwen3VLVisionConfig(
        depth=3,
        hidden_size=32,
        intermediate_size=64,
        num_heads=2,
        patch_size=PATCH,
        spatial_merge_size=MERGE,
        temporal_patch_size=2,
        out_hidden_size=24,
        num_position_embeddings=64,
        deepstack_visual_indexes=[0, 1],
    )
    return Qwen3VLVisionModel._from_config(config, attn_implementation="sdpa").eval()


@pytest.fixture(scope="module")
def fast(stock: Qwen3VLVisionModel) -> torch.nn.Module:
    return speed_up(copy.deepcopy(stock))


def outputs(tower: torch.nn.Module, pixels: torch.Tensor, grid: torch.Tensor) -> list[torch.Tensor]:
    out = tower(pixels, grid_thw=grid, return_dict=True)
    return [out.last_hidden_state, out.pooler_output, *out.deepstack_features]


@pytest.mark.parametrize(
    "sizes",
    [
        [(64, 64)],
        [(64, 64)] * 3,
        [(64, 64), (96, 64), (96, 64), (32, 128)],
        # Equal patch counts, other shapes; and the same size again after a break.
        [(64, 64), (32, 128), (128, 32), (96, 96), (64, 64)],
    ],
    ids=["one", "equal", "mixed", "equal-counts"],
)
@torch.inference_mode()
def test_the_numbers_are_those_of_the_stock_tower(
    stock: Qwen3VLVisionModel, fast: torch.nn.Module, sizes: list[tuple[int, int]]
) -> None:
    pixels, grid = inputs(*sizes)
    expected, found = outputs(stock, pixels, grid), outputs(fast, pixels, grid)
    assert len(expected) == len(found) == 4
    for a, b in zip(expected, found, strict=True):
        assert a.std() > 0.01
        torch.testing.assert_close(b, a, atol=TOLERANCE, rtol=0)


@torch.inference_mode()
def test_a_picture_does_not_see_its_neighbours(fast: torch.nn.Module) -> None:
    # The first of four equal pictures, alone and among others: 16 patches, 4 merged tokens.
    pixels, grid = inputs(*[(64, 64)] * 4)
    together = outputs(fast, pixels, grid)
    alone = outputs(fast, pixels[:16], grid[:1])
    for a, b in zip(alone, together, strict=True):
        torch.testing.assert_close(b[: len(a)], a, atol=TOLERANCE, rtol=0)


def test_gradients_are_those_of_the_stock_tower(stock: Qwen3VLVisionModel, fast: torch.nn.Module) -> None:
    pixels, grid = inputs((64, 64), (64, 64), (32, 64))
    gradients = []
    for tower in (stock, fast):
        tower.zero_grad()
        outputs(tower, pixels, grid)[1].square().sum().backward()
        gradients.append({name: p.grad for name, p in tower.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() > {"patch_embed.proj.weight", "blocks.2.attn.qkv.weight"}
    for name, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], expected, atol=1e-5 * float(expected.abs().max() + 1), rtol=1e-4)


def test_weights_and_names_are_untouched(stock: Qwen3VLVisionModel) -> None:
    tower = copy.deepcopy(stock)
    assert speed_up(tower) is tower
    before, after = stock.state_dict(), tower.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_only_the_given_instance_is_changed(stock: Qwen3VLVisionModel) -> None:
    tower = speed_up(copy.deepcopy(stock))
    assert "forward" in vars(tower.patch_embed)
    assert "forward" not in vars(stock.patch_embed)
    assert "forward" not in vars(stock.blocks[0].attn)


# Patches


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (160, 32)])
def test_patches_are_those_of_the_image_processor(size: tuple[int, int]) -> None:
    pixels = np.concatenate([picture(*size, seed) for seed in range(3)])
    processor = Qwen2VLImageProcessorPil(
        patch_size=PATCH,
        merge_size=MERGE,
        temporal_patch_size=2,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        do_resize=False,
    )
    expected = processor([PIL.Image.fromarray(p) for p in pixels], return_tensors="pt")
    found = patchify(pixels)
    assert found.dtype == torch.float32
    assert found.shape == (3 * size[0] // 16 * size[1] // 16, 3 * 2 * 16 * 16)
    assert torch.equal(found, expected["pixel_values"])  # to the last bit; random pixels have every tone
    assert torch.equal(grid_of(pixels), expected["image_grid_thw"])


def test_patch_values_by_hand() -> None:
    pixels = np.zeros((1, 32, 32, 3), np.uint8)
    pixels[0, 0, 17] = (255, 51, 102)
    patches = patchify(pixels).view(4, 3, 2, 16, 16)
    # Row 0, column 17 is patch 1 at (0, 1), on both frames: 255 -> 1, 51 -> 51 / 127.5 - 1 = -.6, 102 -> -.2.
    np.testing.assert_allclose(patches[1, :, :, 0, 1].numpy(), [[1, 1], [-0.6, -0.6], [-0.2, -0.2]], atol=1e-6)
    assert int((patches != -1).sum()) == 6


@pytest.mark.parametrize(("height", "width"), [(48, 64), (64, 48), (31, 32), (32, 40)])
def test_a_size_that_does_not_divide_is_refused(height: int, width: int) -> None:
    with pytest.raises(ValueError, match=rf"multiples of 32, got {width}x{height}"):
        patchify(np.zeros((1, height, width, 3), np.uint8))
