"""Parameters that other packages ship."""

import pytest
import torch
from mllm_iqa.eval.baselines.shipped import data_file, read_libsvm

from mllm_iqa.errors import DataError, MissingDependencyError

MODEL = """svm_type epsilon_svr
kernel_type rbf
gamma 0.05
nr_class 2
total_sv 2
rho -153.5
SV
-1024 1:-0.5 3:0.25
12.5 36:1
"""


def test_a_libsvm_file_is_read() -> None:
    machine = read_libsvm(MODEL)
    assert (machine.gamma, machine.rho) == (0.05, -153.5)
    assert machine.coefficients.tolist() == [-1024, 12.5]
    expected = torch.zeros(2, 36)
    expected[0, 0], expected[0, 2], expected[1, 35] = -0.5, 0.25, 1
    assert torch.equal(machine.vectors, expected)


@pytest.mark.parametrize("text", ["", MODEL[:-7], MODEL.replace("rbf", "linear")])
def test_another_or_a_cut_off_file_is_refused(text: str) -> None:
    with pytest.raises(DataError, match="not a whole RBF model"):
        read_libsvm(text)


def test_a_missing_package_says_how_to_get_it() -> None:
    with pytest.raises(MissingDependencyError, match=r"mllm-iqa\[baselines\]"):
        data_file("no-such-package", "x")
    with pytest.raises(MissingDependencyError, match="no/such/file"):
        data_file("numpy", "no/such/file")
