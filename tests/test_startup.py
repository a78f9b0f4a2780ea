"""Starting must be quick: importing the package and asking for help load no engine and no numerical library."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
ENGINES = {"torch", "transformers"}
NUMERICAL = {"numpy", "scipy", "PIL"}


def run_and_list_imports(*arguments: str, cwd: Path) -> tuple[str, set[str]]:
    """Run Python and return its stdout and the top-level names of every module it imported."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], cwd=cwd, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # "import time:   self [us] | cumulative |   package.module", indented by depth
    rows = [line.split("|") for line in done.stderr.splitlines() if line.startswith("import time:")]
    return done.stdout, {row[-1].strip().split(".")[0] for row in rows}


def test_importing_the_package_loads_nothing_heavy(tmp_path: Path) -> None:
    _, imported = run_and_list_imports("-c", "import mllm_iqa", cwd=tmp_path)
    assert "mllm_iqa" in imported
    assert not imported & (ENGINES | NUMERICAL)


def test_dir_and_version_load_nothing_heavy(tmp_path: Path) -> None:
    out, imported = run_and_list_imports("-c", "import mllm_iqa as m; dir(m); print(m.__version__)", cwd=tmp_path)
    assert out.strip() == tomllib.loads((REPO / "pyproject.toml").read_text("utf8"))["project"]["version"]
    assert not imported & (ENGINES | NUMERICAL)


@pytest.mark.parametrize("arguments", [["--help"], ["score", "--help"]], ids=" ".join)
def test_help_loads_no_engine(tmp_path: Path, arguments: list[str]) -> None:
    out, imported = run_and_list_imports("-m", "mllm_iqa", *arguments, cwd=tmp_path)
    assert "score" in out
    assert not imported & ENGINES


def test_the_list_of_imports_would_show_a_heavy_one(tmp_path: Path) -> None:
    _, imported = run_and_list_imports("-c", "import numpy.linalg", cwd=tmp_path)
    assert imported & NUMERICAL == {"numpy"}
