"""A causal language model and its tokenizer, made ready to see pictures: tokens, embeddings and a chat template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from mllm_iqa.errors import CheckpointError

_ROWS = 64  # embedding tables grow to a multiple of this, as matrix units like it


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A causal language model with its tokenizer; `source` is where it came from."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    source: str

    @property
    def body(self) -> PreTrainedModel:
        """The model without its output layer."""
        body: PreTrainedModel = getattr(self.model, self.model.base_model_prefix)
        return body


def load_language_model(source: str, tokens: Mapping[str, str], *, seed: int) -> LanguageModel:
    """Load a causal language model in its own precision and teach its tokenizer the tokens that pictures need.

    Args:
        source: directory or hub id; offline and mirror settings of the hub are respected.
        tokens: attribute of the tokenizer -> special token, e.g. {"image_token": "<image>"}.
        seed: of the embeddings of tokens that do not fit into spare rows of the table.

    Raises:
        CheckpointError: nothing loadable there, or a model whose outputs are more than a linear map of its last state.
    """
    safe: dict[str, Any] = dict(trust_remote_code=False)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **tokens, **safe)
        model: Any = AutoModelForCausalLM.from_pretrained(source, dtype="auto", use_safetensors=True, **safe)
    except (OSError, ValueError, ImportError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"cannot load the language model {source}: {reason}") from error
    _check_head(model, source)
    tokenizer.add_special_tokens({"extra_special_tokens": list(tokens.values())}, replace_extra_special_tokens=False)
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model.resize_token_embeddings(len(tokenizer), pad_to_multiple_of=_ROWS)
    tokenizer.chat_template = chat_template_of(tokenizer)
    model.config.architectures = [type(model).__name__]  # by which vLLM finds its own class
    return LanguageModel(model.eval(), tokenizer, source)


def chat_template_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """The tokenizer's own chat template, or a plain one where it has none, preceded by what turns pictures into tokens.

    Raises:
        CheckpointError: a tokenizer with several named templates.
    """
    folder = files(__package__) / "chat_templates"
    own: str | dict[str, str] | None = tokenizer.chat_template
    if isinstance(own, dict):
        raise CheckpointError(f"{tokenizer.name_or_path} has several chat templates ({', '.join(own)}); keep one")
    if own is None:
        own = (folder / "plain.jinja").read_text(encoding="utf-8")
    return (folder / "image_parts.jinja").read_text(encoding="utf-8") + own


def _check_head(model: Any, source: str) -> None:
    """Refuse what a LLaVA-family class, which puts one linear layer on the body's last state, would not reproduce."""
    head, kind = model.get_output_embeddings(), type(model).__name__
    if head is None or getattr(head, "bias", None) is not None:
        raise CheckpointError(f"{source}: {kind} has no output layer without a bias, which stock LLaVA classes need")
    with torch.device("meta"):
        expected = type(AutoModel.from_config(model.config))  # type: ignore[no-untyped-call]
    if expected is not type(getattr(model, model.base_model_prefix, None)):
        raise CheckpointError(f"{source}: {kind} is not built on {expected.__name__}, which stock LLaVA classes load")
