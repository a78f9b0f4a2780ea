"""torchvision beside a torch it was not built for: its Python parts import, and what is not compiled still raises."""

import subprocess
import sys

import pytest

from mllm_iqa.torchvision_operators import declare_missing_operators


def test_one_finder_is_enough() -> None:
    declare_missing_operators()
    before = list(sys.meta_path)
    declare_missing_operators()
    assert sys.meta_path == before
    assert sum(type(finder).__name__ == "_Declaring" for finder in before) == 1


IMPORTED = """
import mllm_iqa
import torch, torchvision
from torchvision.extension import _has_ops
from torchvision.transforms.functional import rotate

assert rotate(torch.eye(3)[None], 90).shape == (1, 3, 3)
boxes, scores = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([0.5])
try:
    torchvision.ops.nms(boxes, scores, 0.5)
    ran = True
except (RuntimeError, NotImplementedError):
    ran = False
assert ran == _has_ops(), (ran, _has_ops())
"""


@pytest.mark.torchvision
def test_torchvision_imports_and_what_is_not_compiled_raises() -> None:
    ran = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
