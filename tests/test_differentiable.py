"""The differentiable score equals the score, and its gradient equals finite differences."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from mllm_iqa.assistant import Assistant
from mllm_iqa.differentiable import DifferentiableScore, MetricGamingWarning, lanczos, patches
from mllm_iqa.errors import BackendError, ImageError
from mllm_iqa.fast_vision import patchify
from mllm_iqa.images import load_image, resized

EXAMPLES = Path(__file__).resolve().parents[1] / "mllm_iqa" / "examples"


@pytest.fixture(scope="module")
def nano() -> Assistant:
    return Assistant.load("nano", device="cpu")


@pytest.fixture(scope="module")
def coffee() -> np.ndarray:
    return load_image(EXAMPLES / "coffee.jpg").pixels


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255


# 101x133 is no multiple of the patch: edges are mirrored. Tolerance: float32 sums in another order.
@pytest.mark.parametrize(("height", "width"), [(64, 96), (101, 133), (256, 256)])
def test_it_equals_the_score(nano: Assistant, coffee: np.ndarray, height: int, width: int) -> None:
    pixels = np.ascontiguousarray(coffee[:height, :width])
    score = DifferentiableScore(nano)
    expected = nano.score(pixels, explain=False)
    assert score(tensor(pixels)).item() == pytest.approx(expected.mos, abs=1e-4)
    assert score.level_probabilities(tensor(pixels))[0].tolist() == pytest.approx(
        list(expected.levels.values()), abs=1e-4
    )


def test_it_equals_the_score_of_a_picture_beyond_the_budget(nano: Assistant, coffee: np.ndarray) -> None:
    pixels = np.ascontiguousarray(np.tile(coffee, (2, 2, 1)))
    assert pixels.shape[0] * pixels.shape[1] > nano.max_pixels
    # Pillow rounds to 8 bits between its two passes, torch does not: 0.03 MOS, as the class says.
    with torch.inference_mode():
        score = DifferentiableScore(nano)(tensor(pixels)).item()
    assert score == pytest.approx(nano.score(pixels, explain=False).mos, abs=0.03)


def test_a_batch_equals_its_pictures_alone(nano: Assistant, coffee: np.ndarray) -> None:
    score = DifferentiableScore(nano)
    a, b = tensor(coffee[:96, :96]), tensor(coffee[100:196, 100:196])
    alone = [score(a).item(), score(b).item()]
    assert abs(alone[0] - alone[1]) > 0.01
    assert score(torch.cat([a, b])).tolist() == pytest.approx(alone, abs=1e-4)


@pytest.mark.parametrize("model", ["nano", "tiny"])
def test_the_gradient_equals_finite_differences(
    model: str, tiny_checkpoint: Path, coffee: np.ndarray, nano: Assistant
) -> None:
    assistant = nano if model == "nano" else Assistant.load(str(tiny_checkpoint), device="cpu")
    score = DifferentiableScore(assistant, gaming_is_handled=True)
    x = (tensor(coffee[:70, :90]) * 0.8 + 0.1).requires_grad_()
    (gradient,) = torch.autograd.grad(score(x).sum(), x)
    generator = torch.Generator().manual_seed(0)
    # Along the gradient's signs the slope is steep enough to be seen above float32's rounding; along random ones less.
    for direction in (
        gradient.sign(),
        torch.randn(x.shape, generator=generator) * gradient.abs() / gradient.abs().max(),
    ):
        step = 2e-4
        with torch.no_grad():
            numeric = (score(x + step * direction) - score(x - step * direction)).item() / (2 * step)
        slope = (gradient * direction).sum().item()
        assert slope != 0
        assert numeric == pytest.approx(slope, rel=0.02, abs=0.02)


def test_the_gradient_reaches_a_picture_that_is_reduced(tiny_checkpoint: Path, coffee: np.ndarray) -> None:
    assistant = Assistant.load(str(tiny_checkpoint), device="cpu")  # a budget of 128x128
    x = tensor(coffee[:200, :200]).requires_grad_()
    DifferentiableScore(assistant, gaming_is_handled=True)(x).sum().backward()
    assert x.grad is not None and (x.grad.abs().sum(dim=1) > 0).float().mean() > 0.95


def test_only_pictures_get_gradients(tiny_checkpoint: Path, coffee: np.ndarray) -> None:
    assistant = Assistant.load(str(tiny_checkpoint), device="cpu")
    assistant.score(coffee[:64, :64].copy(), explain=False)  # what scoring caches must not stand in the way
    x = tensor(coffee[:64, :64]).requires_grad_()
    DifferentiableScore(assistant, gaming_is_handled=True)(x).sum().backward()
    assert all(p.grad is None for p in assistant.backend.model.parameters())  # type: ignore[attr-defined]


def test_levels_of_several_tokens(tiny_checkpoint: Path, coffee: np.ndarray) -> None:
    assistant = Assistant.load(str(tiny_checkpoint), device="cpu")
    score = DifferentiableScore(assistant)
    single = score._paths
    # P(a, b) = P(a) P(b after a): with a second token on one level, its log-prob is the sum of two.
    score._paths = [(*single[0], single[1][0]), *single[1:]]
    x = tensor(coffee[:64, :64])
    first = score._next_logprobs(x, ())[0]
    then = score._next_logprobs(x, single[0])[0]
    logprobs = torch.stack([first[single[0][0]] + then[single[1][0]], *(first[p[0]] for p in single[1:])])
    assert score.level_probabilities(x)[0].tolist() == pytest.approx(logprobs.softmax(0).tolist(), abs=1e-6)


def test_it_warns_once_of_gaming(tiny_checkpoint: Path, coffee: np.ndarray) -> None:
    assistant = Assistant.load(str(tiny_checkpoint), device="cpu")
    score = DifferentiableScore(assistant)
    x = tensor(coffee[:64, :64])
    score(x)  # no gradient asked for: errors in the test run if it warned
    with pytest.warns(MetricGamingWarning, match="GuardedScore"):
        score(x.requires_grad_())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score(x)
        DifferentiableScore(assistant, gaming_is_handled=True)(x)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (torch.zeros(3, 64, 64), r"\(N, 3, H, W\)"),
        (torch.zeros(1, 3, 64, 64, dtype=torch.uint8), "floating-point"),
        (torch.zeros(0, 3, 64, 64), "at least one"),
        (torch.zeros(1, 3, 31, 64), "64x31 pixels"),
        (torch.full((1, 3, 64, 64), 1.5), r"1\.5.*clamp"),
        (torch.full((1, 3, 64, 64), float("nan")), "finite"),
    ],
)
def test_what_is_no_picture_is_refused(nano: Assistant, pixels: torch.Tensor, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        DifferentiableScore(nano)(pixels)


def test_an_engine_without_gradients_is_refused() -> None:
    with pytest.raises(BackendError, match="no differentiable score"):
        DifferentiableScore(Assistant.load("fake"))


def test_patches_are_those_of_scoring(coffee: np.ndarray) -> None:
    pixels = np.ascontiguousarray(coffee[:64, :96])
    ours = patches(tensor(pixels), patch=16, merge=2, frames=2, mean=[0.5] * 3, std=[0.5] * 3)
    assert torch.allclose(ours, patchify(pixels[None]), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(50, 71), (399, 600), (500, 640)])
def test_lanczos_is_pillows(coffee: np.ndarray, height: int, width: int) -> None:
    # Pillow rounds after each of its two passes: at most one and a half steps of 255.
    ours = lanczos(tensor(coffee), height, width)[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(ours - resized(coffee, height, width)).max() < 1.5
