"""Which engine runs a model: transformers or vLLM on this machine, or a server behind HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from .errors import BackendError
from .registry import resolve
from .transformers_options import TransformersOptions

if TYPE_CHECKING:  # the command line imports this module before it knows whether a model is wanted
    from .backends.base import Backend
    from .checkpoints import Card


class Engine(StrEnum):
    """What runs the model; `auto` is `openai` for a URL and `transformers` for everything else."""

    auto = "auto"
    transformers = "transformers"
    vllm = "vllm"
    openai = "openai"


@dataclass(frozen=True, slots=True)
class VllmOptions:
    """How vLLM runs a model; None leaves a choice to vLLM, or to the checkpoint.

    Attributes:
        max_model_len: tokens of the longest conversation, pictures included; memory is reserved for one at least.
        max_images: pictures of one conversation; vLLM reserves memory for that many of the largest.
        max_num_seqs: conversations in one step.
        kv_cache_bytes: memory for keys and values; None = 1 GiB on a CPU, what vLLM finds free on a GPU.
        gpu_memory_utilization: share of a GPU's memory that vLLM may take.
        tensor_parallel_size: over how many GPUs each layer is split.
        quantization: as vLLM names it ("awq", "gptq", "fp8", "bitsandbytes"); None = what the checkpoint's own
            configuration says.
        enforce_eager: run without compiling first; None = on a CPU only, where compiling takes longer than it saves.
    """

    max_model_len: int | None = None
    max_images: int = 8
    max_num_seqs: int | None = None
    kv_cache_bytes: int | None = None
    gpu_memory_utilization: float | None = None
    tensor_parallel_size: int = 1
    quantization: str | None = None
    enforce_eager: bool | None = None


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How to talk to a server.

    Attributes:
        checkpoint: name, folder or hub id of the model that runs there; see `OpenAIBackend.connect`.
        concurrency: requests under way at once, at least 1.
        timeout_s: longest silence of the server before a request counts as failed.
        retries: how often a failed request is made again.
    """

    checkpoint: str | None = None
    concurrency: int = 8
    timeout_s: float = 120.0
    retries: int = 5


def is_url(model: str) -> bool:
    """Whether a model is named by the base URL of a server."""
    return model.startswith(("http://", "https://"))


def open_backend(
    model: str,
    *,
    engine: Engine | str = Engine.auto,
    device: str = "auto",
    dtype: str = "auto",
    max_pixels: int | None = None,
    transformers: TransformersOptions | None = None,
    vllm: VllmOptions | None = None,
    server: ServerOptions | None = None,
) -> Backend:
    """Load a model into an engine, or connect to the server that has it.

    Args:
        model: a registry name, a directory or a hub id; or the base URL of a server, such as
            `http://127.0.0.1:8000/v1`, with `#name` at its end where the server has several models.
        engine: see `Engine`.
        device: "auto", "cpu", "cuda", "cuda:1" ..., for transformers also "split"; a server has its own.
        dtype: "auto" (float32 on a CPU, else bfloat16) or a torch dtype's name; a server has its own.
        max_pixels: pixel budget of one picture instead of the model's own.
        transformers: settings for transformers; any other engine refuses them.
        vllm: settings for vLLM.
        server: settings for a server.

    Raises:
        BackendError: an engine that cannot run this model here, or a server that cannot be reached.
        CheckpointError: no such model, or one that cannot be loaded.
        MissingDependencyError: the engine is not installed.
    """
    if engine not in Engine.__members__:
        raise BackendError(f"no engine named {engine!r}; there are {', '.join(Engine)}")
    kind = Engine(engine)
    if kind is Engine.auto:
        kind = Engine.openai if is_url(model) else Engine.transformers
    if is_url(model) != (kind is Engine.openai):
        wanted = "a server's URL (http://host:port/v1)" if kind is Engine.openai else "a name, a folder or a hub id"
        raise BackendError(f"the engine {kind} takes {wanted}, not {_without_secrets(model)}")
    if kind is not Engine.transformers and transformers not in (None, TransformersOptions()):
        raise BackendError(
            f"quantization, adapters, attention and compilation are settings of the engine transformers, not {kind}"
        )
    if kind is Engine.openai:
        if (device, dtype) != ("auto", "auto"):
            raise BackendError("device and dtype are the server's own affair: leave them at auto")
        from .backends.openai import OpenAIBackend

        chosen = server or ServerOptions()
        return OpenAIBackend.connect(
            model,
            checkpoint=chosen.checkpoint,
            max_pixels=max_pixels,
            concurrency=chosen.concurrency,
            timeout_s=chosen.timeout_s,
            retries=chosen.retries,
        )
    source = resolve(model)
    if model == "fake":
        from .backends.fake import FakeBackend

        return FakeBackend()
    if kind is Engine.vllm:
        from .backends.vllm import VllmBackend

        return VllmBackend.load(
            source, device=device, dtype=dtype, max_pixels=max_pixels, options=vllm or VllmOptions()
        )
    from .backends.huggingface import HuggingFaceBackend

    return HuggingFaceBackend.load(source, device=device, dtype=dtype, options=transformers)


def card_of(backend: Backend) -> Card | None:
    """The card of the checkpoint that a backend runs, where it has one."""
    from .checkpoints import Card

    card = getattr(backend, "card", None)
    return card if isinstance(card, Card) else None


def _without_secrets(model: str) -> str:
    """A URL without what stands before its host."""
    scheme, found, rest = model.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if found else model
