"""Imported by Python as it starts, where the PYTHONPATH names this folder; then runs the `sitecustomize` it hides."""

import os
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

import_module("mllm_iqa")  # declares torchvision's operators when torchvision is imported; a script has no relatives

_here = os.path.dirname(os.path.abspath(__file__))
_elsewhere = [folder for folder in sys.path if os.path.abspath(folder) != _here]
_hidden = PathFinder.find_spec("sitecustomize", _elsewhere) if __name__ == "sitecustomize" else None
if _hidden is not None and _hidden.loader is not None:
    _hidden.loader.exec_module(module_from_spec(_hidden))
