"""`mllm-iqa doctor`: what this machine has, what is missing, and what follows from that.

Packages are imported in child processes, so that one that crashes, hangs or prints cannot take the report with it.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from .checkpoints import read_card, verify
from .errors import CheckpointError
from .extras import EXTRA_OF
from .registry import NANO

Status = Literal["ok", "absent", "broken"]

_TIMEOUT_S = 120.0  # vLLM and Ray take half a minute to import on a slow disk
_OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_ENDPOINT")
_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the report.

    Attributes:
        name: what was looked for.
        status: "ok", "absent", or "broken" (there, but unusable).
        detail: version, path or error, on one line.
        purpose: what it is for, as a verb phrase.
    """

    name: str
    status: Status
    detail: str
    purpose: str

    @property
    def consequence(self) -> str:
        """What follows for the user, on one line."""
        return f"{'can' if self.status == 'ok' else 'cannot'} {self.purpose}"

    def to_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return {"name": self.name, "status": self.status, "detail": self.detail, "consequence": self.consequence}


@dataclass(frozen=True, slots=True)
class Package:
    """A package to import in a child process.

    Attributes:
        module: its import name.
        purpose: what it is for, as a verb phrase.
        show: Python that prints the detail, run after `import <module>`.
    """

    module: str
    purpose: str
    show: str = ""


_TORCH_DETAIL = """
devices = [f"{torch.cuda.get_device_name(i)} ({torch.cuda.get_device_properties(i).total_memory / 2**30:.0f} GiB)"
           for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
print(f"{torch.__version__}, {torch.get_num_threads()} threads, cuda: {', '.join(devices) or 'no device'}")
"""
_TORCHVISION_DETAIL = """
import torch
torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
print(torchvision.__version__)
"""

PACKAGES: tuple[Package, ...] = (
    Package("torch", "run models on this machine", _TORCH_DETAIL),
    Package("transformers", "load models on this machine"),
    Package("torchvision", "load hub models whose image processor needs it (nano does not)", _TORCHVISION_DETAIL),
    Package("peft", "use LoRA adapters, train"),
    Package("bitsandbytes", "use 4- and 8-bit weights"),
    Package("open_clip", "compose models from an OpenCLIP encoder"),
    Package("vllm", "serve fast"),
    Package("gradio", "open the web page"),
    Package("ray", "score on many machines"),
)

_SCORE_NANO = """
import time
import numpy as np
from mllm_iqa.assistant import Assistant
start = time.perf_counter()
assistant = Assistant.load("nano", device="cpu")
loaded = time.perf_counter()
noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
score = assistant.score(noise, explain=False)
end = time.perf_counter()
print(f"loaded in {loaded - start:.1f} s, scored a 128x128 picture of noise {score.mos:.2f} in {end - loaded:.2f} s")
"""


def examine(packages: Sequence[Package] = PACKAGES) -> list[Check]:
    """Every check, in the order of the report. Takes seconds; raises nothing."""
    probes: list[tuple[str, Callable[[], Check]]] = [
        ("python", _python),
        *((package.module, partial(check_package, package)) for package in packages),
        ("chromium", _chromium),
        ("cache folder", _cache),
        ("offline variables", _offline),
        ("nano files", check_model_files),
        ("nano scores", _nano_scores),
    ]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return list(pool.map(lambda probe: guarded(*probe), probes))


def nano_works(checks: Sequence[Check]) -> bool:
    """Whether the shipped model is the one that was released, and scored a picture on this machine."""
    status = {check.name: check.status for check in checks}
    return status["nano files"] == status["nano scores"] == "ok"


def guarded(name: str, probe: Callable[[], Check]) -> Check:
    """What the probe finds, or a broken row that says what it raised."""
    try:
        return probe()
    except Exception as error:  # the report exists for machines where anything may be wrong
        return Check(name, "broken", f"{type(error).__name__}: {_last_line(str(error))}", "be examined")


def check_package(package: Package) -> Check:
    """Import one package in a child process."""
    if importlib.util.find_spec(package.module) is None:
        return Check(package.module, "absent", _how_to_get(package.module), package.purpose)
    show = package.show or f"print(getattr({package.module}, '__version__', 'no version'))"
    code = f"import mllm_iqa\nimport {package.module}\n{show}"  # mllm_iqa first: see torchvision_operators
    return check_code(package.module, code, purpose=package.purpose)


def check_code(name: str, code: str, *, purpose: str, timeout_s: float = _TIMEOUT_S) -> Check:
    """Run Python in a child process: "ok" with the last line it prints, or "broken" with the last line of its error."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],  # -P: a torch.py in the current folder is not torch
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
    except subprocess.TimeoutExpired:
        return Check(name, "broken", f"gave up after {timeout_s:.0f} s", purpose)
    if done.returncode != 0:
        return Check(name, "broken", _last_line(done.stderr) or f"exit status {done.returncode}", purpose)
    return Check(name, "ok", _last_line(done.stdout), purpose)


def check_model_files(folder: Path = NANO) -> Check:
    """Whether the shipped model's files are there and have the sha256 that its card gives."""
    purpose = "score with no download"
    try:
        card = read_card(folder)
        if card is None:
            return Check("nano files", "absent", f"there is no {folder / 'card.json'}", purpose)
        verify(folder, card)
    except CheckpointError as error:
        return Check("nano files", "broken", " ".join(str(error).split()), purpose)
    weights = {path.name for path in folder.glob("*.safetensors")}
    if not weights or not weights <= card.sha256.keys():
        return Check("nano files", "broken", f"{folder / 'card.json'} gives no sha256 for the weights", purpose)
    size = sum(path.stat().st_size for path in folder.iterdir())
    return Check("nano files", "ok", f"{size / 1e6:.1f} MB, sha256 as on the card, in {folder}", purpose)


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", url)


def _how_to_get(module: str) -> str:
    extra = EXTRA_OF.get(module)
    return "not installed" if extra is None else f"not installed; pip install 'mllm-iqa[{extra}]'"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip()[:300] if lines else ""


def _python() -> Check:
    detail = f"{platform.python_version()} on {platform.platform()}, {os.cpu_count()} processors"
    return Check("python", "ok", detail, "run this command")


def _nano_scores() -> Check:
    return check_code("nano scores", _SCORE_NANO, purpose="score with the default model")


def _chromium() -> Check:
    purpose = "test the web page (nothing else needs it)"
    path = next(filter(None, map(shutil.which, _CHROMIUMS)), None)
    if path is None:
        return Check("chromium", "absent", "not on the PATH", purpose)
    done = subprocess.run([path, "--version"], capture_output=True, text=True, errors="replace", timeout=30)
    status: Status = "ok" if done.returncode == 0 else "broken"
    return Check("chromium", status, _last_line(done.stdout) or f"{path}: no version", purpose)


def _cache() -> Check:
    from huggingface_hub.constants import HF_HUB_CACHE

    purpose = "keep models named by hub id"
    folder = Path(HF_HUB_CACHE)
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = f"{shutil.disk_usage(there).free / 2**30:.1f} GiB free"
    if not os.access(there, os.W_OK):
        return Check("cache folder", "broken", f"{folder}: no permission to write, {free}", purpose)
    return Check("cache folder", "ok", f"{folder}{'' if folder.exists() else ' (not made yet)'}, {free}", purpose)


def _offline() -> Check:
    found = [f"{name}={_without_password(os.environ[name])}" for name in _OFFLINE_VARIABLES if name in os.environ]
    if not found:
        return Check("offline variables", "ok", "none set", "download models named by hub id")
    return Check(
        "offline variables", "ok", " ".join(found), "use models named by hub id, but only from where these say"
    )
