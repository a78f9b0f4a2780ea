"""The transformers engine: any image-text-to-text checkpoint, from a directory or the hub.

Rows of one call share a forward pass only where their shapes are equal, so nothing is ever padded and no result can
depend on its neighbours. Every pass leaves its keys and values behind; a conversation that begins like an earlier one
goes on from there (score, then explain, costs one prefill), and a picture is encoded once for all its questions.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer
from transformers.cache_utils import DynamicCache
from transformers.utils import logging as hf_logging

from ..checkpoints import Card, read_card, verify
from ..errors import BackendError, CheckpointError, PromptError
from ..images import Picture, pad_to_multiple
from .base import Conversation

_QWEN_FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
_DEFAULT_MAX_PIXELS = 1_048_576
_CACHED_ROWS = 64
_CACHED_PICTURES = 64

KeyValues = list[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, slots=True)
class _Row:
    """A conversation as the model reads it: token ids and its pictures, and the key of its cache entries."""

    ids: tuple[int, ...]
    pictures: tuple[Picture, ...]
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _State:
    """What a pass leaves behind: keys and values of all its tokens (batch of one) and log-probs of the next token."""

    keys_values: KeyValues
    logprobs: torch.Tensor


class HuggingFaceBackend:
    """One loaded model. Use `load`; the constructor takes parts that are already there."""

    def __init__(self, model: Any, tokenizer: Any, image_processor: Any, *, name: str, card: Card | None) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.card = card
        self._name = name
        self._is_qwen = model.config.model_type in _QWEN_FAMILIES
        self._shares_vision = model.config.model_type == "qwen3_vl"
        self._rows: OrderedDict[tuple[Any, ...], _State] = OrderedDict()
        self._pictures: OrderedDict[str, Any] = OrderedDict()
        self._multiple = image_processor.patch_size * image_processor.merge_size if self._is_qwen else 1
        self._ends = _end_tokens(model, tokenizer)
        if self._shares_vision and model.device.type == "cpu":
            from ..fast_vision import speed_up

            speed_up(model.model.visual)

    @classmethod
    def load(cls, source: str, *, device: str = "auto", dtype: str = "auto") -> HuggingFaceBackend:
        """Load a checkpoint from a directory or hub id.

        Args:
            source: directory or hub id (offline and mirror settings of the hub are respected).
            device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1" ...
            dtype: "auto" = float32 on a CPU, bfloat16 elsewhere; or a torch dtype's name.

        Raises:
            CheckpointError: nothing loadable there, or weights that differ from the card; one sentence.
        """
        place = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        kind = getattr(torch, dtype if dtype != "auto" else ("float32" if place.type == "cpu" else "bfloat16"), None)
        if not isinstance(kind, torch.dtype):
            raise CheckpointError(f"{dtype!r} is not a torch dtype")
        folder = Path(source)
        card = read_card(folder) if folder.is_dir() else None
        if card is not None:
            verify(folder, card)
        try:
            config = AutoConfig.from_pretrained(source)
            with _quiet_loading(folder.is_dir()):
                model = AutoModelForImageTextToText.from_pretrained(source, dtype=kind, attn_implementation="sdpa")
            if config.model_type in _QWEN_FAMILIES:
                # The family's AutoProcessor wants torchvision for videos, which pictures do not need.
                tokenizer = AutoTokenizer.from_pretrained(source)
                images = AutoImageProcessor.from_pretrained(source, backend="pil")
            else:
                images = AutoProcessor.from_pretrained(source, backend="pil")
                tokenizer = images.tokenizer
        except (OSError, ValueError, ImportError, KeyError) as error:
            raise CheckpointError(_reason(source, error)) from error
        name = f"{card.name} {card.version}" if card is not None else source
        return cls(model.to(place), tokenizer, images, name=name, card=card)

    @property
    def name(self) -> str:
        """Name and version of the model."""
        return self._name

    @property
    def max_pixels(self) -> int | None:
        """Pixel budget of one picture: the card's, or 1024 x 1024."""
        return self.card.max_pixels if self.card is not None else _DEFAULT_MAX_PIXELS

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages the card promises; English where there is no card."""
        return self.card.languages if self.card is not None else ("en",)

    def continuation_logprobs(self, conversations: Sequence[Conversation], candidates: Sequence[str]) -> np.ndarray:
        """See `Backend`. A candidate of several tokens is scored whole: the sum over its tokens."""
        rows = [self._row(c) for c in conversations]
        paths = [self._candidate_ids(conversations[0], word) for word in candidates] if conversations else []
        _check_candidates(candidates, paths)
        # Every proper beginning of a candidate is a place where a next-token distribution is needed.
        stems = sorted({path[:n] for path in paths for n in range(1, len(path))}, key=len)
        states = self._advance(rows)
        out = np.empty((len(rows), len(candidates)))
        after: list[dict[tuple[int, ...], torch.Tensor]] = [{(): s.logprobs} for s in states]
        wanted = [
            (i, stem, _Row(row.ids + stem, row.pictures, row.digests)) for i, row in enumerate(rows) for stem in stems
        ]
        for (i, stem, _), state in zip(wanted, self._advance([r for *_, r in wanted], keep=False), strict=True):
            after[i][stem] = state.logprobs
        for i in range(len(rows)):
            for j, path in enumerate(paths):
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

    # From conversations to token rows.

    def _row(self, conversation: Conversation) -> _Row:
        messages: list[dict[str, Any]] = []
        for turn in conversation.turns:
            parts: list[dict[str, Any]] = []
            if turn.role == "user" and not messages:
                parts += [{"type": "image"} for _ in conversation.pictures]
            messages.append({"role": turn.role, "content": [*parts, {"type": "text", "text": turn.text}]})
        speaks = conversation.turns[-1].role == "assistant"
        last = messages.pop() if speaks else None
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        if last is not None:
            text += conversation.turns[-1].text
        digests = tuple(
            hashlib.sha256(p.pixels.tobytes() + str(p.pixels.shape).encode()).hexdigest() for p in conversation.pictures
        )
        if self._is_qwen:
            pieces = text.split("<|image_pad|>")
            if len(pieces) != len(conversation.pictures) + 1:
                raise BackendError(f"{self.name}: the chat template does not place one image per picture")
            text = pieces[0] + "".join(
                "<|image_pad|>" * self._tokens_of(picture) + piece
                for picture, piece in zip(conversation.pictures, pieces[1:], strict=True)
            )
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            ids = self.image_processor(
                text=text, images=[p.pixels for p in conversation.pictures] or None, add_special_tokens=False
            )["input_ids"][0]
        return _Row(tuple(int(i) for i in ids), conversation.pictures, digests)

    def _tokens_of(self, picture: Picture) -> int:
        height, width = (-(-side // self._multiple) for side in picture.pixels.shape[:2])
        return int(height * width)

    def _candidate_ids(self, conversation: Conversation, word: str) -> tuple[int, ...]:
        """Tokens of a candidate as they come after the conversation's own text."""
        before = conversation.turns[-1].text if conversation.turns[-1].role == "assistant" else ""
        joined = self.tokenizer(before + word, add_special_tokens=False)["input_ids"]
        start = self.tokenizer(before, add_special_tokens=False)["input_ids"] if before else []
        if joined[: len(start)] != start:
            raise PromptError(f"{word!r} melts into the words before it with this tokenizer: {before[-20:]!r}")
        return tuple(joined[len(start) :])

    # Passes.

    @torch.inference_mode()
    def _advance(self, rows: list[_Row], *, keep: bool = True) -> list[_State]:
        """The state after each row, from the longest cached beginning; rows of equal shape share a pass."""
        states: list[_State | None] = [self._cached(row, len(row.ids)) for row in rows]
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for i, row in enumerate(rows):
            if states[i] is None:
                shapes = tuple(p.pixels.shape for p in row.pictures)
                groups[(self._known(row), len(row.ids), shapes)].append(i)
        for (known, _, _), members in groups.items():
            for start in range(0, len(members), 256 if known else 16):
                part = members[start : start + (256 if known else 16)]
                for i, state in zip(part, self._pass([rows[i] for i in part], known), strict=True):
                    states[i] = state
                    if keep:
                        self._remember(rows[i], state)
        return [s for s in states if s is not None]

    def _pass(self, rows: list[_Row], known: int) -> list[_State]:
        ids = torch.tensor([row.ids for row in rows], device=self.model.device)
        inputs: dict[str, Any] = {"use_cache": True, "logits_to_keep": 1}
        if self._is_qwen:
            inputs["position_ids"] = self._positions(rows[0], ids)[:, :, known:]
        if known:
            states = [self._cached(row, known) for row in rows]
            past = [s.keys_values for s in states if s is not None]
            inputs["past_key_values"] = DynamicCache(
                [
                    (torch.cat([kv[layer][0] for kv in past]), torch.cat([kv[layer][1] for kv in past]))
                    for layer in range(len(past[0]))
                ]
            )
        else:
            inputs.update(self._pixels(rows))
            if self._is_qwen:
                inputs["mm_token_type_ids"] = (ids == self.model.config.image_token_id).long()
        out = self.model(input_ids=ids[:, known:], **inputs)
        logprobs = torch.log_softmax(out.logits[:, -1].float(), dim=-1).cpu()
        layers = [(layer.keys, layer.values) for layer in out.past_key_values.layers]
        return [_State([(k[i : i + 1], v[i : i + 1]) for k, v in layers], logprobs[i]) for i in range(len(rows))]

    def _positions(self, row: _Row, ids: torch.Tensor) -> torch.Tensor:
        """Three-axis rotary positions (3, N, T) of rows that share one shape."""
        grid = self._grid(row)
        types = (ids[:1] == self.model.config.image_token_id).long()
        positions, _ = self.model.model.get_rope_index(ids[:1], mm_token_type_ids=types, image_grid_thw=grid)
        return positions.expand(-1, len(ids), -1)

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
            made = self.image_processor.image_processor([p.pixels for p in pictures], return_tensors="pt")
            return {k: v.to(self.model.device) for k, v in made.items() if isinstance(v, torch.Tensor)}
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
        """Encode what is not cached, equal sizes together, and drop the oldest beyond the bound."""
        by_shape: dict[tuple[int, ...], list[str]] = defaultdict(list)
        for digest, picture in pictures.items():
            if digest in self._pictures:
                self._pictures.move_to_end(digest)
            else:
                by_shape[picture.pixels.shape].append(digest)
        for digests in by_shape.values():
            shown = [pictures[d] for d in digests]
            row = _Row((), tuple(shown), tuple(digests))
            out = self.model.model.get_image_features(self._patches(shown), self._grid(row), return_dict=True)
            for i, digest in enumerate(digests):
                self._pictures[digest] = (out.pooler_output[i], [layer[i] for layer in out.deepstack_features])
        while len(self._pictures) > max(_CACHED_PICTURES, len(pictures)):
            self._pictures.popitem(last=False)

    @staticmethod
    def _empty_vision_output() -> Any:
        from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

        return BaseModelOutputWithDeepstackFeatures()

    # The prefix cache.

    def _known(self, row: _Row) -> int:
        """Length of the longest cached proper beginning of a row."""
        for key in reversed(self._rows):
            digests, ids = key
            if digests == row.digests and len(ids) < len(row.ids) and row.ids[: len(ids)] == ids:
                return len(ids)
        return 0

    def _cached(self, row: _Row, length: int) -> _State | None:
        return self._rows.get((row.digests, row.ids[:length]))

    def _remember(self, row: _Row, state: _State) -> None:
        self._rows[(row.digests, row.ids)] = state
        self._rows.move_to_end((row.digests, row.ids))
        while len(self._rows) > _CACHED_ROWS:
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
            grown = {i: _Row((*row.ids, chosen[i]), row.pictures, row.digests) for i, row in live.items()}
            states = dict(zip(grown, self._step(grown, states), strict=True))
            live = grown

    @torch.inference_mode()
    def _step(self, rows: dict[int, _Row], states: dict[int, _State]) -> list[_State]:
        """One more token for every row, from the states before it; rows of equal length share a pass."""
        groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for i, row in rows.items():
            groups[(len(row.ids), tuple(p.pixels.shape for p in row.pictures))].append(i)
        out: dict[int, _State] = {}
        for members in groups.values():
            for i in members:
                self._rows[(rows[i].digests, rows[i].ids[:-1])] = states[i]
            passed = self._pass([rows[i] for i in members], len(rows[members[0]].ids) - 1)
            for i, state in zip(members, passed, strict=True):
                del self._rows[(rows[i].digests, rows[i].ids[:-1])]
                out[i] = state
        return [out[i] for i in rows]


@contextmanager
def _quiet_loading(quiet: bool) -> Iterator[None]:
    """Without transformers' bar for weights that are already on disk; downloads keep theirs."""
    shown = hf_logging.is_progress_bar_enabled()
    if quiet:
        hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        if quiet and shown:
            hf_logging.enable_progress_bar()


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
    if Path(source).is_dir():
        return f"{source}: not a checkpoint transformers can load: {first}"
    offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    hint = "the hub is switched off (HF_HUB_OFFLINE)" if offline else "is the name right and the hub reachable?"
    return f"{source}: could not be fetched; {hint} ({first})"
