"""One example as tensors: what the model reads, which tokens it learns to say, and where its soft label is."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from mllm_iqa.backends.base import Conversation
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.errors import DataError, ImageError
from mllm_iqa.images import Picture, load_image

from .examples import Example, Stored
from .words import Located, locate


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example as the model takes it.

    Attributes:
        example: what it was made from.
        inputs: of the forward pass, batch of one; `input_ids` is (1, T).
        labels: (T,) tokens to be said; -100 for the question, the pictures and the labeled word.
        word: where the labeled word stands; None without one.
    """

    example: Example
    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    word: Located | None


class PictureMemory:
    """Pictures as they were loaded, so that later epochs need not read and reduce them again.

    What does not fit is loaded each time: every epoch shows all, so that dropping the oldest would lose all of them.

    Args:
        max_bytes: of pixels kept.
    """

    def __init__(self, max_bytes: int = 512 * 2**20) -> None:
        self._left = max_bytes
        # By the object, which is kept too lest another one get its number.
        self._kept: dict[tuple[int, int], tuple[Example, tuple[Picture, ...]]] = {}

    def pictures_of(self, example: Example, max_pixels: int) -> tuple[Picture, ...]:
        """As the function of that name."""
        key = (id(example), max_pixels)
        if key in self._kept:
            return self._kept[key][1]
        pictures = pictures_of(example, max_pixels)
        size = sum(picture.pixels.nbytes for picture in pictures)
        if size <= self._left:
            self._left -= size
            self._kept[key] = (example, pictures)
        return pictures


def encode(
    example: Example, backend: HuggingFaceBackend, max_pixels: int, memory: PictureMemory | None = None
) -> Encoded:
    """Turn an example into tensors, with the template, tokenizer and picture processing that scoring uses.

    The answer's tokens are those at which the tokens of the whole conversation differ from those of the question alone.

    Raises:
        DataError: naming the record: a picture that cannot be read, a chat template that rewrites the answer, or a
            labeled word that cannot be found (see `locate`).
    """
    name = example.name
    load = pictures_of if memory is None else memory.pictures_of
    pictures = load(example, max_pixels)
    answer = example.turns[-1].text
    question = backend.text_of(Conversation(pictures, example.turns[:-1]))
    text = backend.text_of(Conversation(pictures, example.turns), closed=True)
    start = text.rfind(answer)
    if start < 0 or not text.startswith(question.rstrip()):
        raise DataError(f"{name}: the model's chat template rewrites the question or the answer: {text[-60:]!r}")
    short = backend.token_ids(text)
    first = _common_start(backend.token_ids(question), short)
    word = None
    if example.word is not None:
        word = locate(text, start + example.word.offset, example.word, backend.token_ids, name=name)
    inputs = backend.inputs_of(text, pictures)
    ids = inputs["input_ids"][0]
    shift = len(ids) - len(short)  # by so much the pictures' places grew, all of them before the answer
    if ids[first + shift :].tolist() != list(short[first:]):
        raise DataError(f"{name}: a picture's place lies in the answer")
    labels = ids.clone()
    labels[: first + shift] = -100
    if word is not None:
        labels[word.position + shift : word.position + shift + word.length] = -100
        word = _shifted(word, shift)
    return Encoded(example, inputs, labels, word)


def pictures_of(example: Example, max_pixels: int) -> tuple[Picture, ...]:
    """An example's pictures as scoring sees them; a DataError names the record of one that cannot be read."""
    try:
        return tuple(load_image(_source(p), max_pixels=max_pixels) for p in example.pictures)
    except ImageError as error:
        raise DataError(f"{example.name}: {error}") from error


def approximate_length(example: Example) -> int:
    """About how long an example is, for batches of similar ones: a token for 4 characters and for 32 x 32 pixels."""
    pixels = sum(_pixels_of(picture) for picture in example.pictures)
    return sum(len(turn.text) for turn in example.turns) // 4 + pixels // 1024


def _source(picture: Path | Stored) -> Path | bytes:
    return picture.source() if isinstance(picture, Stored) else picture


def _pixels_of(picture: Path | Stored) -> int:
    source = _source(picture)
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        return image.width * image.height


def _common_start(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


def _shifted(word: Located, by: int) -> Located:
    labels = tuple(replace(label, position=label.position + by) for label in word.labels)
    return replace(word, position=word.position + by, labels=labels)
