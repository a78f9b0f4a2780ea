"""The transformers engine: any image-text-to-text checkpoint, from a directory or the hub.

Rows of one call share a forward pass only where their shapes are equal, so nothing is ever padded and no result can
depend on its neighbours. Every pass leaves a state behind; a conversation that begins like an earlier one goes on from
there (score, then explain, costs one prefill), and the Qwen families encode a picture once for all its questions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import RLock
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from ..adapters import Adapters, base_of, check_base, is_adapter, merged_into
from ..checkpoints import Card, read_card, verify
from ..errors import BackendError, CheckpointError, PromptError
from ..fast_vision import speed_up
from ..hub import local_folder, name_of
from ..images import Picture
from ..registry import resolve
from ..transformers_options import TransformersOptions
from . import states
from .base import Conversation
from .chat_template import template_text
from .loading import load_parts
from .passes import Passes
from .rows import GRID_FAMILIES, GridReader, ProcessorReader, Reader, Row, RowKey
from .self_check import TESTED_FAMILIES, check_family
from .states import RowCache, State

_DEFAULT_MAX_PIXELS = 1_048_576
# Rows in one pass: whole conversations with pictures, and single tokens that go on from cached ones.
_ROWS_FROM_START, _ROWS_CONTINUED = 16, 64


class HuggingFaceBackend:
    """One loaded model. Use `load`; the constructor takes parts that are already there.

    `image_processor` is the image processor of a Qwen family, and the whole processor of any other model.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        image_processor: Any,
        *,
        name: str,
        card: Card | None,
        compile: bool = False,
    ) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self._base_card = card
        self._base_name = name
        self._adapters = Adapters(model)
        self._adapter_cards: dict[str, Card | None] = {}
        self._lock = RLock()  # of the caches and of which adapter is in use
        self._switches = 0
        self._rows = RowCache()
        self._reader: Reader
        if model.config.model_type in GRID_FAMILIES:
            token = model.config.image_token_id
            self._reader = GridReader(tokenizer, image_processor, name=name, image_token_id=token)
        else:
            self._reader = ProcessorReader(image_processor, name=name)
        forward = torch.compile(model, dynamic=True) if compile else None
        self._passes = Passes(model, self._reader, name=name, forward=forward)
        self._template = image_processor if getattr(image_processor, "chat_template", None) else tokenizer
        self._ends = _end_tokens(model, tokenizer)
        if model.config.model_type == "qwen3_vl" and model.device.type == "cpu":
            speed_up(model.model.visual)

    @classmethod
    def load(
        cls,
        source: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        quantization: Any = None,
        options: TransformersOptions | None = None,
    ) -> HuggingFaceBackend:
        """Load a checkpoint, or an adapter merged into its base, from a directory or hub id.

        Args:
            source: directory or hub id, which may end in `@revision`; see `hub.local_folder`.
            device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1" ...; "split" = a part on every GPU.
            dtype: "auto" = float32 on a CPU, bfloat16 elsewhere; or a torch dtype's name.
            quantization: a transformers quantization config to load the weights with, instead of `options.quantize`.
            options: further settings.

        Raises:
            BackendError: no such device, or a model this engine cannot run.
            CheckpointError: nothing loadable there, or weights that differ from the card; one sentence.
        """
        chosen = options or TransformersOptions()
        quantized = chosen.quantize if quantization is None else quantization
        folder = local_folder(source)
        if is_adapter(str(folder)):
            made = cls._with_adapter(folder, device=device, dtype=dtype, quantized=quantized, options=chosen)
        else:
            card = read_card(folder)
            if card is not None:
                verify(folder, card)
            parts = load_parts(
                str(folder),
                source=source,
                device=device,
                dtype=dtype,
                quantization=quantized,
                attention=chosen.attention,
            )
            name = f"{card.name} {card.version}" if card is not None else name_of(source, folder)
            made = cls(*_parts_of(parts), name=name, card=card, compile=chosen.compile)
            made._check(source)
        for adapter in chosen.adapters:
            made.add_adapter(adapter)
        if chosen.adapters:
            made.use_adapter(made.adapters[0])
        return made

    @classmethod
    def _with_adapter(
        cls, folder: Path, *, device: str, dtype: str, quantized: Any, options: TransformersOptions
    ) -> HuggingFaceBackend:
        """An adapter merged into its base; beside it where the base is quantized, since merging would round it."""
        card = read_card(folder)
        if card is not None:
            verify(folder, card)
        alone = replace(options, adapters=(), compile=False)
        source = resolve(base_of(folder))
        base = cls.load(source, device=device, dtype=dtype, quantization=quantized, options=alone)
        if quantized is not None:
            base.use_adapter(base.add_adapter(str(folder)))
            return base
        check_base(folder, card, base.card)
        model = merged_into(base.model, folder)
        name = f"{card.name} {card.version}" if card is not None else str(folder)
        parts = (model, base.tokenizer, base.image_processor)
        return cls(*parts, name=name, card=card or base.card, compile=options.compile)

    def _check(self, source: str) -> None:
        """Refuse a model that this engine would not run as transformers does."""
        kind = self.model.config.model_type
        reason = self._passes.unsupported()
        if reason is None and kind not in TESTED_FAMILIES:
            reason = check_family(self)
            self.forget()
        if reason is not None:
            raise CheckpointError(f"{source}: models of type {kind!r} are not supported: {reason}")

    @property
    def name(self) -> str:
        """Name and version of the model, and of the adapter in use."""
        current = self._adapters.current
        if current is None:
            return self._base_name
        card = self._adapter_cards[current]
        return f"{card.name} {card.version}" if card is not None else f"{self._base_name} + {current}"

    @property
    def card(self) -> Card | None:
        """The card of what answers: the adapter's in use, where it has one, else the model's."""
        current = self._adapters.current
        return (None if current is None else self._adapter_cards[current]) or self._base_card

    # Adapters.

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters kept beside the model."""
        return self._adapters.names

    @property
    def adapter(self) -> str | None:
        """The adapter in use."""
        return self._adapters.current

    def add_adapter(self, source: str, name: str | None = None) -> str:
        """Load a LoRA adapter beside the model; `use_adapter` lets it answer.

        Args:
            source: directory or hub id of the adapter.
            name: what to call it; the last part of `source` if None.

        Returns:
            Its name.

        Raises:
            CheckpointError: it does not belong to this model, or its name is taken.
        """
        folder = local_folder(source)
        if not is_adapter(str(folder)):
            raise CheckpointError(f"{source}: is not an adapter (it has no adapter_config.json)")
        card = read_card(folder)
        if card is not None:
            verify(folder, card)
        check_base(folder, card, self._base_card)
        # A dot would end the name inside the names of its weights.
        called = (Path(source).name if name is None else name).replace(".", "-")
        with self._lock:
            self._adapters.add(folder, called)
            self._adapter_cards[called] = card
        return called

    def use_adapter(self, name: str | None) -> None:
        """Let an adapter that was added answer from now on; None = the model alone.

        What was computed before is forgotten, and a text that another thread is generating ends in an error, since its
        halves would be of two models.

        Raises:
            CheckpointError: there is none of that name.
        """
        with self._lock:
            self._adapters.use(name)
            self.forget()

    def merge_adapter(self) -> None:
        """Add the adapter in use to the weights for good, which makes it as fast as the model alone; drops the others.

        Raises:
            BackendError: the weights are quantized, and would be rounded.
            CheckpointError: none is in use.
        """
        if getattr(self.model, "is_quantized", False):
            raise BackendError(f"{self.name}: its weights are quantized; merge the adapter into unquantized ones")
        with self._lock:
            name, card = self.name, self.card
            self.model = self._adapters.merge()
            self._base_name, self._base_card = name, card
            self._adapter_cards.clear()
            self.forget()

    @property
    def max_pixels(self) -> int:
        """Pixel budget of one picture: the card's, or 1024 x 1024."""
        return self.card.max_pixels if self.card is not None else _DEFAULT_MAX_PIXELS

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages the card promises; English where there is no card."""
        return self.card.languages if self.card is not None else ("en",)

    def continuation_logprobs(self, conversations: Sequence[Conversation], candidates: Sequence[str]) -> np.ndarray:
        """See `Backend`. A candidate of several tokens is scored whole: the sum over its tokens."""
        rows = [self._row(c) for c in conversations]
        befores = [c.turns[-1].text if c.turns[-1].role == "assistant" else "" for c in conversations]
        paths_after = {before: self._candidate_ids(before, candidates) for before in set(befores)}
        reached = self._advance(rows)
        out = np.empty((len(rows), len(candidates)))
        after: list[dict[tuple[int, ...], torch.Tensor]] = [{(): s.logprobs} for s in reached]
        # Every proper beginning of a candidate is a place where a next-token distribution is needed.
        wanted = [
            (i, stem)
            for i, before in enumerate(befores)
            for stem in sorted({path[:n] for path in paths_after[before] for n in range(1, len(path))}, key=len)
        ]
        grown = [rows[i].grown(stem) for i, stem in wanted]
        known = {row.key: state for row, state in zip(rows, reached, strict=True)}
        for (i, stem), state in zip(wanted, self._advance(grown, keep=False, known=known), strict=True):
            after[i][stem] = state.logprobs
        for i, before in enumerate(befores):
            for j, path in enumerate(paths_after[before]):
                out[i, j] = sum(float(after[i][path[:n]][token]) for n, token in enumerate(path))
        return out

    def generate(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> list[str]:
        """See `Backend`."""
        said: list[list[int]] = [[] for _ in conversations]
        for i, token in self._greedy([self._row(c) for c in conversations], max_new_tokens):
            said[i].append(token)
        return [self.tokenizer.decode(ids, skip_special_tokens=True) for ids in said]

    def stream(self, conversation: Conversation, *, max_new_tokens: int) -> Iterator[str]:
        """See `Backend`; a piece is yielded as soon as its characters are complete."""
        ids: list[int] = []
        shown = ""
        for _, token in self._greedy([self._row(conversation)], max_new_tokens):
            ids.append(token)
            text = self.tokenizer.decode(ids, skip_special_tokens=True)
            if not text.endswith("\ufffd"):
                yield text[len(shown) :]
                shown = text
        rest = self.tokenizer.decode(ids, skip_special_tokens=True)[len(shown) :]
        if rest:  # it ended in the middle of a character
            yield rest

    def picture_features(self, pictures: Sequence[Picture]) -> np.ndarray | None:
        """See `GivesFeatures`: what the vision tower made of pictures; None for models that hide it from this engine.

        Pictures that were just judged are not encoded again.
        """
        with self._lock, torch.inference_mode():
            cache = self._passes.pictures
            return None if cache is None or not pictures else cache.features(pictures)

    def forget(self) -> None:
        """Drop what was computed for earlier conversations, after the model's weights have changed."""
        with self._lock:
            self._switches += 1
            self._rows.clear()
            if self._passes.pictures is not None:
                self._passes.pictures.clear()

    # From conversations to token rows.

    def text_of(self, conversation: Conversation, *, closed: bool = False) -> str:
        """The chat template's text, a placeholder for each picture.

        Args:
            conversation: one that ends in the user's turn is followed by how an answer starts; one that ends in the
                assistant's stops where its words do.
            closed: let the assistant's last turn end as the template ends a turn, as a model learns to.
        """
        return template_text(self._template, conversation, closed=closed)

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Tokens of a template's text, one for each placeholder of a picture."""
        return tuple(self.tokenizer(text, add_special_tokens=self._reader.adds_special(text))["input_ids"])

    def inputs_of(self, text: str, pictures: Sequence[Picture]) -> dict[str, torch.Tensor]:
        """What the model's forward pass takes for one conversation, on the CPU: for training.

        Args:
            text: the chat template's; see `text_of`.
            pictures: one for each placeholder in it.

        Returns:
            `input_ids` of shape (1, T) and what belongs to the pictures, the same numbers as in scoring.
        """
        row = self._reader.row(text, tuple(pictures))
        ids = torch.tensor([row.ids])
        inputs = {"input_ids": ids, **self._reader.types(row, ids), **row.inputs}
        grid = self._reader.grid(row)
        if isinstance(self._reader, GridReader) and grid is not None:
            inputs |= {"pixel_values": self._reader.patches(row.pictures).float(), "image_grid_thw": grid}
        return inputs

    def _row(self, conversation: Conversation) -> Row:
        return self._reader.row(self.text_of(conversation), conversation.pictures)

    def _candidate_ids(self, before: str, candidates: Sequence[str]) -> list[tuple[int, ...]]:
        """Tokens of each candidate as they come after the words before it."""
        start = self.tokenizer(before, add_special_tokens=False)["input_ids"] if before else []
        paths = []
        for word in candidates:
            joined = self.tokenizer(before + word, add_special_tokens=False)["input_ids"]
            if joined[: len(start)] != start:
                raise PromptError(f"{word!r} melts into the words before it with this tokenizer: {before[-20:]!r}")
            paths.append(tuple(joined[len(start) :]))
        _check_candidates(candidates, paths)
        return paths

    # Passes.

    def _advance(
        self, rows: list[Row], *, keep: bool = True, known: Mapping[RowKey, State] = MappingProxyType({})
    ) -> list[State]:
        """The state after each row, from the longest beginning that is cached or `known`; equal shapes share a pass.

        With `keep` false the states hold log-probs alone, since keys and values of many rows fill the memory.
        """
        with self._lock:
            return self._advanced(rows, keep, known)

    def _advanced(self, rows: list[Row], keep: bool, known_states: Mapping[RowKey, State]) -> list[State]:
        """`_advance`, by the thread that has the caches to itself."""
        found = {row.key: state for row in rows if (state := self._rows.get(row)) is not None}
        # Beginnings are held here from the start: what a pass leaves behind may push them out of the cache.
        beginnings: dict[RowKey, State] = {}
        groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
        for row in {row.key: row for row in rows if row.key not in found}.values():
            known, state = self._rows.beginning(row, known_states)
            if state is not None:
                beginnings[row.key] = state
            groups[(known, row.shape)].append(row)
        for (known, _), members in groups.items():
            size = _ROWS_FROM_START
            if known:
                size = min(_ROWS_CONTINUED, max(1, states.MAX_BYTES // beginnings[members[0].key].nbytes))
            for start in range(0, len(members), size):
                part = members[start : start + size]
                past = [beginnings[row.key] for row in part] if known else []
                passed = self._pass(part, known, past)
                for row, state in zip(part, passed, strict=True):
                    found[row.key] = state if keep else replace(state, layers=[])
                if keep:
                    self._rows.remember(part, passed)
        return [found[row.key] for row in rows]

    def _pass(self, rows: list[Row], known: int, past: list[State]) -> list[State]:
        return self._passes.run(rows, known, past)

    def _greedy(self, rows: list[Row], limit: int) -> Iterator[tuple[int, int]]:
        """(row number, token) pairs as they are chosen; a row ends at an end token or at the limit."""
        live = dict(enumerate(rows))
        with self._lock:
            switches = self._switches
            after = dict(enumerate(self._advance(rows)))
        for _ in range(limit):
            chosen = {i: int(after[i].logprobs.argmax()) for i in live}
            live = {i: row for i, row in live.items() if chosen[i] not in self._ends}
            if not live:
                return
            for i in live:
                yield i, chosen[i]
            grown = {i: row.grown((chosen[i],)) for i, row in live.items()}
            with self._lock:
                if switches != self._switches:
                    raise BackendError(f"{self.name}: the model was changed while it was answering; ask again")
                after = dict(zip(grown, self._step(grown, after), strict=True))
            live = grown

    def _step(self, rows: dict[int, Row], before: dict[int, State]) -> list[State]:
        """One more token for every row, from the states before it; rows of equal length share a pass."""
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for i, row in rows.items():
            groups[row.shape].append(i)
        out: dict[int, State] = {}
        for (length, _), members in groups.items():
            passed = self._pass([rows[i] for i in members], length - 1, [before[i] for i in members])
            out.update(zip(members, passed, strict=True))
        return [out[i] for i in rows]


def _parts_of(parts: Any) -> tuple[Any, Any, Any]:
    return parts.model, parts.tokenizer, parts.processor


def _check_candidates(candidates: Sequence[str], paths: list[tuple[int, ...]]) -> None:
    for i, path in enumerate(paths):
        for j, other in enumerate(paths):
            if not path or (i != j and other[: len(path)] == path):
                raise PromptError(f"{candidates[i]!r} is empty or begins {candidates[j]!r} with this tokenizer")


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    ends = getattr(model.generation_config, "eos_token_id", None)
    found = {ends} if isinstance(ends, int) else set(ends or ())
    return frozenset(found | {tokenizer.eos_token_id})
