"""The transformers engine: any image-text-to-text checkpoint, from a directory or the hub.

Rows of one call share a forward pass only where their shapes are equal, so nothing is ever padded and no result can
depend on its neighbours. Every pass leaves its keys and values behind; a conversation that begins like an earlier one
goes on from there (score, then explain, costs one prefill), and Qwen3-VL encodes a picture once for all its questions.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from threading import RLock
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForImageTextToText, AutoTokenizer
from transformers.cache_utils import DynamicCache
from transformers.models.qwen2_vl import Qwen2VLImageProcessorPil
from transformers.utils import logging as hf_logging

from ..adapters import base_of, check_base, is_adapter, merged_into
from ..checkpoints import Card, read_card, verify
from ..errors import BackendError, CheckpointError, PromptError
from ..fast_vision import speed_up, takes_encoded_pictures
from ..images import Picture, pad_to_multiple
from ..parallel import one_thread_each
from ..registry import resolve
from .base import Conversation
from .processors import picture_processor

_QWEN_FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
_DEFAULT_MAX_PIXELS = 1_048_576
_CACHED_ROWS = 64
_CACHED_PICTURES = 64
_MAX_BYTES = 512 * 2**20  # of keys and values that the cache keeps, and of those that go on from it in one pass
# Said aloud: left unsaid, transformers asks on a terminal whether to run the code a checkpoint brings.
_SAFE: dict[str, Any] = dict(trust_remote_code=False)
# Rows in one pass: whole conversations with pictures, and single tokens that go on from cached ones.
_ROWS_FROM_START, _ROWS_CONTINUED = 16, 64

KeyValues = list[tuple[torch.Tensor, torch.Tensor]]
_Key = tuple[tuple[str, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class _Row:
    """A conversation as the model reads it: token ids, pictures and their digests.

    `inputs` is what the processor of a model outside the Qwen families made of the pictures.
    """

    ids: tuple[int, ...]
    pictures: tuple[Picture, ...]
    digests: tuple[str, ...]
    inputs: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def key(self) -> _Key:
        """What equal rows share."""
        return self.digests, self.ids

    def grown(self, ids: tuple[int, ...]) -> _Row:
        """The same row with more tokens at its end."""
        return replace(self, ids=self.ids + ids)


@dataclass(frozen=True, slots=True)
class _State:
    """What a pass leaves behind for one of its rows: where its keys and values are, and the next token's log-probs.

    All states of a pass share one `keys_values`, so that rows which stay together go on without a copy.
    """

    keys_values: KeyValues
    row: int
    logprobs: torch.Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of this row's keys and values."""
        return sum(k[0].nbytes + v[0].nbytes for k, v in self.keys_values)


class HuggingFaceBackend:
    """One loaded model. Use `load`; the constructor takes parts that are already there.

    `image_processor` is the image processor of a Qwen family, and the whole processor of any other model.
    """

    def __init__(self, model: Any, tokenizer: Any, image_processor: Any, *, name: str, card: Card | None) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.card = card
        self._name = name
        self._is_qwen = model.config.model_type in _QWEN_FAMILIES
        is_qwen3 = model.config.model_type == "qwen3_vl"
        self._shares_vision = is_qwen3 and takes_encoded_pictures(model.model)
        self._lock = RLock()  # of the two caches
        self._rows: OrderedDict[_Key, _State] = OrderedDict()
        self._pictures: OrderedDict[str, Any] = OrderedDict()
        self._template = image_processor if getattr(image_processor, "chat_template", None) else tokenizer
        self._multiple = image_processor.patch_size * image_processor.merge_size if self._is_qwen else 1
        self._ends = _end_tokens(model, tokenizer)
        if is_qwen3 and model.device.type == "cpu":
            speed_up(model.model.visual)

    @classmethod
    def load(
        cls, source: str, *, device: str = "auto", dtype: str = "auto", quantization: Any = None
    ) -> HuggingFaceBackend:
        """Load a checkpoint, or an adapter merged into its base, from a directory or hub id.

        Args:
            source: directory or hub id (offline and mirror settings of the hub are respected).
            device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1" ...
            dtype: "auto" = float32 on a CPU, bfloat16 elsewhere; or a torch dtype's name.
            quantization: a transformers quantization config to load the weights with; None = as they are.

        Raises:
            CheckpointError: nothing loadable there, or weights that differ from the card; one sentence.
        """
        if is_adapter(source):
            return cls._with_adapter(Path(source), device=device, dtype=dtype)
        place = _place(device)
        kind = getattr(torch, dtype if dtype != "auto" else ("float32" if place.type == "cpu" else "bfloat16"), None)
        if not isinstance(kind, torch.dtype):
            raise CheckpointError(f"{dtype!r} is not a torch dtype")
        folder = Path(source)
        card = read_card(folder) if os.path.isdir(source) else None
        if card is not None:
            verify(folder, card)
        options: dict[str, Any] = {}
        if quantization is not None:
            options = {"quantization_config": quantization, "device_map": {"": place}}
        try:
            config = AutoConfig.from_pretrained(source, **_SAFE)
            with _quiet_loading(os.path.isdir(source)):
                loaded: Any = AutoModelForImageTextToText.from_pretrained(
                    source,
                    dtype=kind,
                    attn_implementation="sdpa",
                    use_safetensors=True,
                    output_loading_info=True,
                    **options,
                    **_SAFE,
                )
            model, loading = loaded
            _check_complete(source, loading)
            if config.model_type not in _QWEN_FAMILIES and hasattr(getattr(model, "model", None), "get_rope_index"):
                # Its positions depend on the pictures, and it keeps those of the last prefill to itself.
                raise CheckpointError(f"{source}: models of type {config.model_type!r} are not supported")
            if config.model_type in _QWEN_FAMILIES:
                # The family's AutoProcessor wants torchvision for videos, which pictures do not need; some versions'
                # AutoImageProcessor wants it too. All checkpoints of the family share this class.
                tokenizer = AutoTokenizer.from_pretrained(source, **_SAFE)
                images = Qwen2VLImageProcessorPil.from_pretrained(source, **_SAFE)
            else:
                images = picture_processor(source)
                tokenizer = images.tokenizer
        except (OSError, ValueError, ImportError, KeyError, RuntimeError, SafetensorError) as error:
            raise CheckpointError(_reason(source, error)) from error
        if not (getattr(tokenizer, "chat_template", None) or getattr(images, "chat_template", None)):
            raise CheckpointError(
                f"{source}: has no chat template, so it cannot be asked questions; is it a base model?"
            )
        name = f"{card.name} {card.version}" if card is not None else source
        if quantization is None:
            model = model.to(place)
        return cls(model, tokenizer, images, name=name, card=card)

    @classmethod
    def _with_adapter(cls, folder: Path, *, device: str, dtype: str) -> HuggingFaceBackend:
        card = read_card(folder)
        if card is not None:
            verify(folder, card)
        base = cls.load(resolve(base_of(folder)), device=device, dtype=dtype)
        check_base(folder, card, base.card)
        model = merged_into(base.model, folder)
        name = f"{card.name} {card.version}" if card is not None else str(folder)
        return cls(model, base.tokenizer, base.image_processor, name=name, card=card or base.card)

    @property
    def name(self) -> str:
        """Name and version of the model."""
        return self._name

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
        states = self._advance(rows)
        out = np.empty((len(rows), len(candidates)))
        after: list[dict[tuple[int, ...], torch.Tensor]] = [{(): s.logprobs} for s in states]
        # Every proper beginning of a candidate is a place where a next-token distribution is needed.
        wanted = [
            (i, stem)
            for i, before in enumerate(befores)
            for stem in sorted({path[:n] for path in paths_after[before] for n in range(1, len(path))}, key=len)
        ]
        grown = [rows[i].grown(stem) for i, stem in wanted]
        known = {row.key: state for row, state in zip(rows, states, strict=True)}
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

    def forget(self) -> None:
        """Drop what was computed for earlier conversations, after the model's weights have changed."""
        with self._lock:
            self._rows.clear()
            self._pictures.clear()

    # From conversations to token rows.

    def text_of(self, conversation: Conversation, *, closed: bool = False) -> str:
        """The chat template's text, a placeholder for each picture.

        Args:
            conversation: one that ends in the user's turn is followed by how an answer starts; one that ends in the
                assistant's stops where its words do.
            closed: let the assistant's last turn end as the template ends a turn, as a model learns to.
        """
        messages: list[dict[str, Any]] = []
        for turn in conversation.turns:
            parts: list[dict[str, Any]] = []
            if turn.role == "user" and not messages:
                parts += [{"type": "image"} for _ in conversation.pictures]
            messages.append({"role": turn.role, "content": [*parts, {"type": "text", "text": turn.text}]})
        speaks = conversation.turns[-1].role == "assistant"
        text: str = self._template.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=not speaks, continue_final_message=speaks and not closed
        )
        return text

    def token_ids(self, text: str) -> tuple[int, ...]:
        """Tokens of a template's text, one for each placeholder of a picture."""
        return tuple(self.tokenizer(text, add_special_tokens=self._adds_special(text))["input_ids"])

    def inputs_of(self, text: str, pictures: Sequence[Picture]) -> dict[str, torch.Tensor]:
        """What the model's forward pass takes for one conversation, on the CPU: for training.

        Args:
            text: the chat template's; see `text_of`.
            pictures: one for each placeholder in it.

        Returns:
            `input_ids` of shape (1, T) and what belongs to the pictures, the same numbers as in scoring.
        """
        row = self._tokenized(text, tuple(pictures))
        inputs = {"input_ids": torch.tensor([row.ids])}
        if not self._is_qwen:
            return inputs | row.inputs
        inputs["mm_token_type_ids"] = self._types(row, inputs["input_ids"])
        grid = self._grid(row)
        if grid is not None:
            inputs |= {"pixel_values": self._patches(list(row.pictures)).float().cpu(), "image_grid_thw": grid.cpu()}
        return inputs

    def _adds_special(self, text: str) -> bool:
        bos = self.tokenizer.bos_token
        return not self._is_qwen and (bos is None or not text.startswith(bos))

    def _row(self, conversation: Conversation) -> _Row:
        return self._tokenized(self.text_of(conversation), conversation.pictures)

    def _tokenized(self, text: str, pictures: tuple[Picture, ...]) -> _Row:
        digests = tuple(hashlib.sha256(p.pixels.tobytes() + str(p.pixels.shape).encode()).hexdigest() for p in pictures)
        if self._is_qwen:
            pieces = text.split("<|image_pad|>")
            if len(pieces) != len(pictures) + 1:
                raise BackendError(f"{self.name}: the chat template does not place one image per picture")
            text = pieces[0] + "".join(
                "<|image_pad|>" * self._tokens_of(picture) + piece
                for picture, piece in zip(pictures, pieces[1:], strict=True)
            )
            return _Row(self.token_ids(text), pictures, digests)
        made = self.image_processor(
            text=[text],
            images=[p.pixels for p in pictures] or None,
            add_special_tokens=self._adds_special(text),
            return_tensors="pt",
        )
        ids = made.pop("input_ids")[0].tolist()
        made.pop("attention_mask", None)
        return _Row(tuple(ids), pictures, digests, dict(made))

    def _tokens_of(self, picture: Picture) -> int:
        height, width = (-(-side // self._multiple) for side in picture.pixels.shape[:2])
        return int(height * width)

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

    @torch.inference_mode()
    def _advance(
        self, rows: list[_Row], *, keep: bool = True, known: Mapping[_Key, _State] = MappingProxyType({})
    ) -> list[_State]:
        """The state after each row, from the longest beginning that is cached or `known`; equal shapes share a pass.

        With `keep` false the states hold log-probs alone, since keys and values of many rows fill the memory.
        """
        with self._lock:
            return self._advanced(rows, keep, known)

    def _advanced(self, rows: list[_Row], keep: bool, known_states: Mapping[_Key, _State]) -> list[_State]:
        """`_advance`, by the thread that has the caches to itself."""
        states = {row.key: self._rows[row.key] for row in rows if row.key in self._rows}
        # Beginnings are held here from the start: what a pass leaves behind may push them out of the cache.
        beginnings: dict[_Key, _State] = {}
        groups: dict[tuple[Any, ...], list[_Row]] = defaultdict(list)
        for row in {row.key: row for row in rows if row.key not in states}.values():
            known, state = self._beginning(row, known_states)
            if state is not None:
                beginnings[row.key] = state
            groups[(known, len(row.ids), tuple(p.pixels.shape for p in row.pictures))].append(row)
        for (known, _, _), members in groups.items():
            size = _ROWS_FROM_START
            if known:
                size = min(_ROWS_CONTINUED, max(1, _MAX_BYTES // beginnings[members[0].key].nbytes))
            for start in range(0, len(members), size):
                part = members[start : start + size]
                past = [beginnings[row.key] for row in part] if known else []
                passed = self._pass(part, known, past)
                for row, state in zip(part, passed, strict=True):
                    states[row.key] = state if keep else replace(state, keys_values=[])
                if keep:
                    self._remember(part, passed)
        return [states[row.key] for row in rows]

    def _pass(self, rows: list[_Row], known: int, past: list[_State]) -> list[_State]:
        """The states after rows of one shape, from those after their first `known` tokens (0: from the start)."""
        ids = torch.tensor([row.ids for row in rows], device=self.model.device)
        inputs: dict[str, Any] = {"use_cache": True, "logits_to_keep": 1}
        if self._is_qwen:
            inputs["position_ids"] = self._positions(rows[0], ids)[:, :, known:]
        if known:
            inputs["past_key_values"] = DynamicCache(_joined(past))
        else:
            inputs.update(self._pixels(rows))
            if self._is_qwen:
                inputs["mm_token_type_ids"] = self._types(rows[0], ids)
        out = self.model(input_ids=ids[:, known:], **inputs)
        logprobs = torch.log_softmax(out.logits[:, -1].float(), dim=-1).cpu()
        if logprobs.isnan().any():
            raise BackendError(f"{self.name}: its probabilities are not numbers; does {self.model.dtype} suit it?")
        kept = [(layer.keys, layer.values) for layer in out.past_key_values.layers if hasattr(layer, "keys")]
        if len(kept) < len(out.past_key_values.layers) or any(k.shape[-2] != ids.shape[1] for k, _ in kept):
            raise BackendError(f"{self.name}: its layers do not keep every token's key, which this engine needs")
        return [_State(kept, i, logprobs[i]) for i in range(len(rows))]

    def _positions(self, row: _Row, ids: torch.Tensor) -> torch.Tensor:
        """Three-axis rotary positions (3, N, T) of rows that share one shape."""
        grid = self._grid(row)
        types = self._types(row, ids[:1])
        positions: torch.Tensor
        positions, _ = self.model.model.get_rope_index(ids[:1], mm_token_type_ids=types, image_grid_thw=grid)
        return positions.expand(-1, len(ids), -1)

    def _types(self, row: _Row, ids: torch.Tensor) -> torch.Tensor:
        """1 where a picture's token stands, else 0. Pictures come first; a later token of theirs is only a word."""
        places: torch.Tensor = ids == self.model.config.image_token_id
        return (places & (places.cumsum(dim=1) <= sum(map(self._tokens_of, row.pictures)))).long()

    def _grid(self, row: _Row) -> torch.Tensor | None:
        if not row.pictures:
            return None
        patch = self.image_processor.patch_size
        sides = [[-(-s // self._multiple) * self._multiple // patch for s in p.pixels.shape[:2]] for p in row.pictures]
        return torch.tensor([[1, *side] for side in sides], device=self.model.device)

    def _pixels(self, rows: list[_Row]) -> dict[str, Any]:
        """Vision inputs of rows that share one shape."""
        pictures = [p for row in rows for p in row.pictures]
        if not pictures:
            return {}
        if not self._is_qwen:
            made = {k: torch.cat([row.inputs[k] for row in rows]).to(self.model.device) for k in rows[0].inputs}
            return {k: v.to(self.model.dtype) if v.is_floating_point() else v for k, v in made.items()}
        grid = torch.cat([g for g in (self._grid(row) for row in rows) if g is not None])
        if not self._shares_vision:
            return {"pixel_values": self._patches(pictures), "image_grid_thw": grid}
        digests = [d for row in rows for d in row.digests]
        self._encode(dict(zip(digests, pictures, strict=True)))
        encoded = [self._pictures[d] for d in digests]
        out = self._empty_vision_output()
        out.pooler_output = [tokens for tokens, _ in encoded]
        out.deepstack_features = [[layers[k] for _, layers in encoded] for k in range(len(encoded[0][1]))]
        return {"mm_encoder_outputs": {"image": out}, "image_grid_thw": grid}

    def _patches(self, pictures: list[Picture]) -> torch.Tensor:
        padded = [pad_to_multiple(p.pixels, self._multiple) for p in pictures]
        values = self.image_processor(padded, do_resize=False, return_tensors="pt")["pixel_values"]
        return torch.as_tensor(values, device=self.model.device, dtype=self.model.dtype)

    def _encode(self, pictures: dict[str, Picture]) -> None:
        """Encode what is not cached and drop the oldest beyond the bound."""
        on_cpu = self.model.device.type == "cpu"
        together: dict[object, list[str]] = defaultdict(list)
        for digest, picture in pictures.items():
            if digest in self._pictures:
                self._pictures.move_to_end(digest)
            else:
                together[digest if on_cpu else picture.pixels.shape].append(digest)
        groups = list(together.values())
        shown = [[pictures[d] for d in digests] for digests in groups]
        # On a CPU one thread a picture: cores that need not wait for one another, working sets that fit their caches.
        encoded = one_thread_each(self._encoded, shown) if on_cpu and len(shown) > 1 else map(self._encoded, shown)
        for digests, group in zip(groups, encoded, strict=True):
            self._pictures.update(zip(digests, group, strict=True))
        while len(self._pictures) > max(_CACHED_PICTURES, len(pictures)):
            self._pictures.popitem(last=False)

    @torch.inference_mode()
    def _encoded(self, pictures: list[Picture]) -> list[tuple[torch.Tensor, list[torch.Tensor]]]:
        """(merged tokens, DeepStack features) of each of some pictures of equal size."""
        row = _Row((), tuple(pictures), ())
        out = self.model.model.get_image_features(self._patches(pictures), self._grid(row), return_dict=True)
        return [(out.pooler_output[i], [layer[i] for layer in out.deepstack_features]) for i in range(len(pictures))]

    @staticmethod
    def _empty_vision_output() -> Any:
        from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

        return BaseModelOutputWithDeepstackFeatures()

    # The prefix cache.

    def _beginning(self, row: _Row, known: Mapping[_Key, _State]) -> tuple[int, _State | None]:
        """Length and state of the longest cached or known proper beginning of a row; 0 and None without one."""
        longest, found = 0, None
        for (digests, ids), state in chain(self._rows.items(), known.items()):
            if longest < len(ids) < len(row.ids) and digests == row.digests and row.ids[: len(ids)] == ids:
                longest, found = len(ids), state
        return longest, found

    def _remember(self, rows: list[_Row], states: list[_State]) -> None:
        """Cache the states of a pass and drop the oldest beyond the bounds."""
        for row, state in zip(rows, states, strict=True):
            self._rows[row.key] = state
            self._rows.move_to_end(row.key)
        while len(self._rows) > _CACHED_ROWS or (len(self._rows) > 1 and _held_bytes(self._rows.values()) > _MAX_BYTES):
            self._rows.popitem(last=False)

    def _greedy(self, rows: list[_Row], limit: int) -> Iterator[tuple[int, int]]:
        """(row number, token) pairs as they are chosen; a row ends at an end token or at the limit."""
        live = dict(enumerate(rows))
        states = dict(enumerate(self._advance(rows)))
        for _ in range(limit):
            chosen = {i: int(states[i].logprobs.argmax()) for i in live}
            live = {i: row for i, row in live.items() if chosen[i] not in self._ends}
            if not live:
                return
            for i in live:
                yield i, chosen[i]
            grown = {i: row.grown((chosen[i],)) for i, row in live.items()}
            states = dict(zip(grown, self._step(grown, states), strict=True))
            live = grown

    @torch.inference_mode()
    def _step(self, rows: dict[int, _Row], states: dict[int, _State]) -> list[_State]:
        """One more token for every row, from the states before it; rows of equal length share a pass."""
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for i, row in rows.items():
            groups[(len(row.ids), tuple(p.pixels.shape for p in row.pictures))].append(i)
        out: dict[int, _State] = {}
        for (length, _), members in groups.items():
            passed = self._pass([rows[i] for i in members], length - 1, [states[i] for i in members])
            out.update(zip(members, passed, strict=True))
        return [out[i] for i in rows]


def _held_bytes(states: Iterable[_State]) -> int:
    """Bytes of keys and values that these states keep alive: a state keeps those of its whole pass."""
    passes = {id(state.keys_values): state.keys_values for state in states}
    return sum(k.nbytes + v.nbytes for layers in passes.values() for k, v in layers)


def _joined(states: list[_State]) -> KeyValues:
    """Keys and values of the rows of these states, in order; those of a whole pass as they are."""
    first = states[0].keys_values
    rows = [state.row for state in states]
    if any(state.keys_values is not first for state in states):
        layers = range(len(first))
        pieces = [[[kv[state.row : state.row + 1] for kv in state.keys_values[i]] for state in states] for i in layers]
        return [(torch.cat([k for k, _ in layer]), torch.cat([v for _, v in layer])) for layer in pieces]
    return first if rows == list(range(len(first[0][0]))) else [(k[rows], v[rows]) for k, v in first]


@contextmanager
def _quiet_loading(quiet: bool) -> Iterator[None]:
    """Without transformers' bar for weights that are already on disk; downloads keep theirs."""
    shown = hf_logging.is_progress_bar_enabled()
    if quiet:
        hf_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if quiet and shown:
            hf_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _check_complete(source: str, loading: Any) -> None:
    """Refuse weights that are not all there: what is missing would be filled with random numbers."""
    lacking = sorted(loading["missing_keys"])
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise CheckpointError(f"{source}: not a whole checkpoint: no weights for {lacking[0]}{more}")


def _place(device: str) -> torch.device:
    """The torch device of that name; a BackendError says that it is not here."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:  # torch raises the latter where it was built without CUDA
        raise BackendError(f"no device {device!r} here: {str(error).splitlines()[0]}") from error
    return place


def _check_candidates(candidates: Sequence[str], paths: list[tuple[int, ...]]) -> None:
    for i, path in enumerate(paths):
        for j, other in enumerate(paths):
            if not path or (i != j and other[: len(path)] == path):
                raise PromptError(f"{candidates[i]!r} is empty or begins {candidates[j]!r} with this tokenizer")


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    ends = getattr(model.generation_config, "eos_token_id", None)
    found = {ends} if isinstance(ends, int) else set(ends or ())
    return frozenset(found | {tokenizer.eos_token_id})


def _reason(source: str, error: Exception) -> str:
    first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if os.path.isdir(source):
        return f"{source}: not a checkpoint transformers can load: {first}"
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    hint = "the hub is switched off (HF_HUB_OFFLINE)" if offline else "is the name right and the hub reachable?"
    return f"{source}: could not be fetched; {hint} ({first})"
