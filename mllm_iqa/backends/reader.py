"""How a checkpoint reads a conversation: its chat template, tokens and picture sizes, without its weights.

Engines that load the weights themselves or run them elsewhere ask here for the same text, token ids and pixels that
the transformers engine gives its model, so that all of them give the same numbers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig, AutoTokenizer, GenerationConfig
from transformers.models.qwen2_vl import Qwen2VLImageProcessorPil

from ..checkpoints import Card, read_card, verify
from ..errors import CheckpointError
from ..images import MAX_ASPECT, MIN_SIDE, Picture, pad_to_multiple
from .base import Conversation
from .candidates import Ids
from .chat_template import template_options, template_text
from .processors import picture_processor
from .rows import GRID_FAMILIES


class CheckpointReader:
    """Template, tokenizer and picture sizes of one checkpoint. Use `load`."""

    def __init__(self, config: Any, tokenizer: Any, processor: Any, *, source: str, card: Card | None) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.source = source
        self.card = card
        self.is_qwen = config.model_type in GRID_FAMILIES
        self._template = processor if getattr(processor, "chat_template", None) else tokenizer
        self._ends = _end_ids(source, tokenizer)
        self._multiple: int = processor.patch_size * processor.merge_size if self.is_qwen else 1

    @classmethod
    def load(cls, source: str, *, check: bool = True) -> CheckpointReader:
        """Read everything but the weights from a directory or hub id.

        Args:
            source: directory or hub id.
            check: that the weight files are those its card speaks of.

        Raises:
            CheckpointError: no checkpoint there, or one that cannot be asked questions.
        """
        card = read_card(Path(source)) if os.path.isdir(source) else None
        if card is not None and check:
            verify(Path(source), card)
        try:
            config = AutoConfig.from_pretrained(source, trust_remote_code=False)
            processor: Any
            if config.model_type in GRID_FAMILIES:
                tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
                processor = Qwen2VLImageProcessorPil.from_pretrained(source, trust_remote_code=False)
            else:
                processor = picture_processor(source)
                tokenizer = processor.tokenizer
        except (OSError, ValueError, ImportError, KeyError, RuntimeError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CheckpointError(f"{source}: not a checkpoint transformers can read: {first}") from error
        if not (getattr(tokenizer, "chat_template", None) or getattr(processor, "chat_template", None)):
            raise CheckpointError(
                f"{source}: has no chat template, so it cannot be asked questions; is it a base model?"
            )
        return cls(config, tokenizer, processor, source=source, card=card)

    def text_of(self, conversation: Conversation) -> str:
        """The chat template's text, a placeholder for each picture; a begun answer stops where its words do."""
        return template_text(self._template, conversation)

    @property
    def template_options(self) -> dict[str, bool]:
        """What a server that renders the template must be told; see `chat_template`."""
        return template_options(self._template)

    def token_ids(self, text: str) -> Ids:
        """Tokens of a template's text, the template's own placeholder for each picture."""
        return tuple(self.tokenizer(text, add_special_tokens=self.adds_special(text))["input_ids"])

    def adds_special(self, text: str) -> bool:
        """Whether the tokenizer's own beginning belongs before this text: not where the template wrote it already."""
        bos = self.tokenizer.bos_token
        return not self.is_qwen and (bos is None or not text.startswith(bos))

    @property
    def end_ids(self) -> frozenset[int]:
        """Tokens that end an answer."""
        return self._ends

    def prompt_length(self, conversation: Conversation) -> int | None:
        """Tokens of a conversation, pictures included; None where the family's processor decides on theirs."""
        if not self.is_qwen:
            return None
        sides = [picture.pixels.shape[:2] for picture in conversation.pictures]
        tokens = sum(int(-(-h // self._multiple) * -(-w // self._multiple)) - 1 for h, w in sides)
        return len(self.token_ids(self.text_of(conversation))) + tokens

    def words_ids(self, words: str) -> Sequence[int]:
        """Tokens of words inside an answer."""
        ids: Sequence[int] = self.tokenizer(words, add_special_tokens=False)["input_ids"]
        return ids

    @property
    def multiple(self) -> int:
        """Both sides of a picture are padded to multiples of this; 1 = not at all."""
        return self._multiple

    def pixels_of(self, picture: Picture) -> np.ndarray:
        """(H, W, 3) uint8 as the model's own processor should get it."""
        return pad_to_multiple(picture.pixels, self._multiple)

    def processor_options(self, max_pixels: int) -> dict[str, Any]:
        """What to override in the checkpoint's processor so that it leaves the size of padded pictures alone.

        Args:
            max_pixels: budget of one picture before padding.
        """
        if not self.is_qwen:
            return {}
        return {"size": {"shortest_edge": self._multiple**2, "longest_edge": self.max_padded_pixels(max_pixels)}}

    def loading_options(self, max_pixels: int) -> dict[str, Any]:
        """The same for a program that loads the processor itself: pictures are then resized by Pillow, as here."""
        return self.processor_options(max_pixels) or {"use_fast": False}

    def max_padded_pixels(self, max_pixels: int) -> int:
        """Bound on the pixels of a padded picture whose own are within the budget, whatever its aspect ratio."""
        short = max(MIN_SIDE, sqrt(max_pixels / MAX_ASPECT))
        sides = (short, max_pixels / short)
        return int((sides[0] + self._multiple) * (sides[1] + self._multiple))


def _end_ids(source: str, tokenizer: Any) -> frozenset[int]:
    try:
        ends = GenerationConfig.from_pretrained(source).eos_token_id
    except OSError:  # it has none
        ends = None
    found = {ends} if isinstance(ends, int) else set(ends or ())
    return frozenset(token for token in found | {tokenizer.eos_token_id} if token is not None)
