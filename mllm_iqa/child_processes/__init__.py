"""A folder for the PYTHONPATH of Python processes that other packages start; see `torchvision_for_children`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def torchvision_for_children() -> Iterator[None]:
    """Let torchvision be imported in processes started within, as `torchvision_operators` does in this one.

    vLLM looks at model classes in a process of its own, and spawns workers that import torchvision before anything of
    ours. Python imports `sitecustomize` first of all, wherever its path finds one: the one beside this file.
    """
    before = os.environ.get("PYTHONPATH")
    folders = [os.path.dirname(__file__), *([before] if before else [])]
    os.environ["PYTHONPATH"] = os.pathsep.join(folders)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
