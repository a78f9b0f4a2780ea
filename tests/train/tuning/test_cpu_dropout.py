"""The dropout for CPUs: its rate, its scale, its gradient, and that it is reproducible and off in evaluation."""

from collections.abc import Callable

import pytest
import torch
from mllm_iqa.train.tuning.cpu_dropout import CpuDropout, use_cpu_dropout
from mllm_iqa.train.tuning.what_learns import with_lora

from mllm_iqa.backends.huggingface import HuggingFaceBackend


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rate_scale_and_mean(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.ones(1000, 1001, dtype=dtype)
    y = CpuDropout(p)(x)
    assert y.dtype == dtype and y.shape == x.shape
    assert len(y.unique()) == 2
    assert float(y.max()) == pytest.approx(1 / (1 - p), rel=1e-2 if dtype == torch.bfloat16 else 1e-3)
    # A million draws: the standard error of the rate is at most 0.0005.
    assert float((y == 0).float().mean()) == pytest.approx(p, abs=0.003)
    # Each of the four values that come from one 64-bit draw is dropped alike.
    for place in range(4):
        assert float((y.flatten()[place::4] == 0).float().mean()) == pytest.approx(p, abs=0.005)


def test_the_gradient_is_that_of_what_was_kept() -> None:
    x = torch.randn(40, 30, requires_grad=True)
    y = CpuDropout(0.3)(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(y.detach(), x.detach() * x.grad)


def test_a_seed_gives_the_same_draws_and_evaluation_none() -> None:
    x, dropout = torch.ones(7, 9), CpuDropout(0.5)
    torch.manual_seed(3)
    first = dropout(x)
    torch.manual_seed(3)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(dropout(x), first)
    assert torch.equal(dropout.eval()(x), x)
    assert torch.equal(CpuDropout(0.0)(x), x)


def test_every_lora_layer_gets_it(load: Callable[[str], HuggingFaceBackend]) -> None:
    wrapped = with_lora(load("qwen3_vl").model, ["vision"], whole=[], rank=2, alpha=2, dropout=0.25)
    use_cpu_dropout(wrapped)
    found = [module for name, module in wrapped.named_modules() if "lora_dropout." in name]
    assert found and all(type(module) is CpuDropout and module.p == 0.25 for module in found)
