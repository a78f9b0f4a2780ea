"""Our models as metrics of pyiqa."""

from importlib.metadata import entry_points
from importlib.util import find_spec

import pytest
import torch

if find_spec("pyiqa") is None:  # one that is here and cannot be imported is a failure
    pytest.skip("needs the extra baselines; make test-vllm runs this", allow_module_level=True)

from mllm_iqa.assistant import Assistant
from mllm_iqa.differentiable import MetricGamingWarning
from mllm_iqa.pyiqa_metric import METRIC, MllmIqa, register

pytestmark = pytest.mark.torchvision


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    values = torch.randint(0, 256, (2, 3, 64, 96), generator=torch.Generator().manual_seed(0))
    return torch.stack([values[0] / 255, (values[1] // 8 + 100) / 255])


def test_pyiqa_creates_our_metric(pictures: torch.Tensor) -> None:
    import pyiqa

    register()
    register()
    metric = pyiqa.create_metric(METRIC, device="cpu")
    assert metric.metric_mode == "NR" and metric.lower_better is False
    assistant = Assistant.load("nano", device="cpu")
    expected = [assistant.score(p.permute(1, 2, 0).numpy(), explain=False).mos for p in pictures]
    assert metric(pictures).tolist() == pytest.approx(expected, abs=1e-5)
    assert METRIC in pyiqa.list_models(metric_mode="NR")


def test_it_works_as_a_loss(pictures: torch.Tensor) -> None:
    import pyiqa

    register()
    loss = pyiqa.create_metric(METRIC, device="cpu", as_loss=True)
    x = pictures.clone().requires_grad_()
    with pytest.warns(MetricGamingWarning):
        loss(x).backward()
    assert x.grad is not None and (x.grad != 0).any()


def test_pyiqa_finds_it_through_the_entry_point() -> None:
    (entry,) = entry_points(group="pyiqa.archs", name="mllm-iqa")
    assert entry.load() is register
    register()
    from pyiqa.utils.registry import ARCH_REGISTRY

    assert ARCH_REGISTRY.get("MllmIqa") is MllmIqa
