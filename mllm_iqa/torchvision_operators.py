"""Let torchvision be imported beside a torch it was not built for.

The wheels on PyPI are CUDA builds. Beside a CPU build of torch their compiled operators do not load, and `import
torchvision` then fails with "operator torchvision::nms does not exist", and with it open_clip, timm and peft, which
need no compiled operator. Declaring the two operators that torchvision describes to torch while it is imported is
enough: its Python parts work, and calling an operator still raises.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_DESCRIBING = ("torchvision._autograd_registrations", "torchvision._meta_registrations")
_kept: list[object] = []  # a declaration lasts as long as its library object


class _Declaring(MetaPathFinder):
    """Finds no module; declares the operators just before torchvision describes them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        """Never finds anything; see the class."""
        extension = sys.modules.get("torchvision.extension")
        if fullname in _DESCRIBING and extension is not None and not extension._has_ops():
            import torch

            if hasattr(torch.ops.torchvision, "nms"):
                return None
            library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
            for operator in ("nms", "qnms"):
                signature = f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                library.define(signature)  # type: ignore[no-untyped-call]
            _kept.append(library)
        return None


@cache
def declare_missing_operators() -> None:
    """Call before the first import of torchvision, or of a package that imports it; imports nothing itself.

    Does nothing where torchvision is absent, its operators load, or someone else has declared them.
    """
    files = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else 0
    sys.meta_path.insert(files, _Declaring())
