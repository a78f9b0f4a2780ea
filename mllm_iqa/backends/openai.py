"""The engine behind HTTP: any server with an OpenAI-compatible chat completions API that can return log-probs.

Three kinds of servers are told apart by what `/models` says: `mllm-iqa serve`, which scores candidates itself; vLLM,
which gives the log-probs of chosen tokens; and others, which give those of their most probable tokens and will do as
long as every candidate is among them. Nothing is guessed: a number that the server does not give is refused.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any, Literal
from urllib.parse import unquote, urldefrag

import numpy as np
from PIL import Image
from pydantic import ValidationError

from ..errors import BackendError
from ..images import Picture
from ..registry import MODELS
from .base import Conversation
from .http_client import JsonClient
from .openai_logprobs import ServerTokens, candidates_row, check_length, top_row, vllm_row
from .reader import CheckpointReader
from .served_model import ServedModel

_DEFAULT_MAX_PIXELS = 1_048_576
_ENCODED_PICTURES = 32

Kind = Literal["mllm-iqa", "vllm", "other"]


class OpenAIBackend:
    """One model of a server. Use `connect`."""

    def __init__(
        self,
        client: JsonClient,
        served: str,
        kind: Kind,
        *,
        about: ServedModel | None,
        reader: CheckpointReader | None,
        max_pixels: int | None,
        concurrency: int,
    ) -> None:
        self._client = client
        self._served = served
        self._kind = kind
        self._reader = reader
        if about is None:
            card = None if reader is None else reader.card
            about = ServedModel(
                name=served if card is None else f"{card.name} {card.version}",
                max_pixels=_DEFAULT_MAX_PIXELS if card is None else card.max_pixels,
                languages=("en",) if card is None else card.languages,
                card=card,
            )
        self.card = about.card
        self._about = about
        self._max_pixels = about.max_pixels if max_pixels is None else max_pixels
        self._pool = ThreadPoolExecutor(concurrency, "mllm-iqa-http")
        self._uris: OrderedDict[str, str] = OrderedDict()
        self._lock = Lock()
        self._tokens = ServerTokens(client, served)

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        checkpoint: str | None = None,
        max_pixels: int | None = None,
        concurrency: int = 8,
        timeout_s: float = 120.0,
        retries: int = 5,
    ) -> OpenAIBackend:
        """Ask a server what it serves.

        Args:
            url: base URL of the API, such as `http://127.0.0.1:8000/v1`; `#name` at its end chooses one of its models.
            checkpoint: name, folder or hub id of the model that runs there, whose card and picture sizes then hold;
                None = the model's name, where that is a name from `mllm-iqa models` or was given as a folder. A server
                of ours says all this itself.
            max_pixels: pixel budget of one picture instead of the model's own.
            concurrency: requests under way at once.
            timeout_s: longest silence of the server.
            retries: how often a failed request is made again.

        Raises:
            BackendError: no such server or model.
            CheckpointError: `checkpoint` is none.
        """
        base, fragment = urldefrag(url)
        client = JsonClient(base, timeout_s=timeout_s, retries=retries, connections=concurrency)
        entry = _entry(client, unquote(fragment))
        served = str(entry["id"])
        about = _about(entry, client.url)
        kind: Kind = "vllm" if entry.get("owned_by") == "vllm" else "other"
        if about is not None:
            kind = "mllm-iqa"
        if checkpoint is None and (served in MODELS or (fragment and os.path.isdir(served))):
            checkpoint = served
        reader = None
        if kind != "mllm-iqa" and checkpoint is not None:
            from ..registry import resolve

            reader = CheckpointReader.load(resolve(checkpoint), check=False)
        return cls(client, served, kind, about=about, reader=reader, max_pixels=max_pixels, concurrency=concurrency)

    @property
    def name(self) -> str:
        """Name and version of the model as the server or its card gives it, else the name it is served under."""
        return self._about.name

    @property
    def max_pixels(self) -> int | None:
        """Pixel budget of one picture: the model's own where it is known, or 1024 x 1024."""
        return self._max_pixels

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of the server's model or its card; English where nothing says."""
        return self._about.languages

    def continuation_logprobs(self, conversations: Sequence[Conversation], candidates: Sequence[str]) -> np.ndarray:
        """See `Backend`.

        Raises:
            BackendError: the server lacks what this needs; the sentence says what.
        """
        words = tuple(candidates)

        def row(conversation: Conversation) -> list[float]:
            body = self._body(conversation)
            before = conversation.turns[-1].text if conversation.turns[-1].role == "assistant" else ""
            match self._kind:
                case "mllm-iqa":
                    return candidates_row(self._client, body, words)
                case "vllm":
                    return vllm_row(self._client, body, before, words, self._tokens, self._length(conversation))
                case "other":
                    return top_row(self._client, body, before, words, self._reader)

        rows = self._each(row, conversations)
        return np.array(rows, dtype=np.float64).reshape(len(conversations), len(words))

    def generate(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> list[str]:
        """See `Backend`."""

        def said(conversation: Conversation) -> str:
            answer = self._client.post("/chat/completions", self._greedy(conversation, max_new_tokens))
            check_length(self._client, answer, self._length(conversation))
            try:
                return answer["choices"][0]["message"]["content"] or ""
            except (KeyError, IndexError, TypeError):
                raise BackendError(f"{self._client.url}: the answer holds no choices[0].message.content") from None

        return self._each(said, conversations)

    def stream(self, conversation: Conversation, *, max_new_tokens: int) -> Iterator[str]:
        """See `Backend`."""
        body = self._greedy(conversation, max_new_tokens) | {"stream": True}
        for event in self._client.events("/chat/completions", body):
            if isinstance(event, dict) and event.get("error"):
                raise BackendError(f"{self._client.url}: failed while answering: {_said(event['error'])}")
            try:
                pieces = [choice["delta"].get("content") for choice in event["choices"]]
            except (KeyError, TypeError, AttributeError):
                raise BackendError(f"{self._client.url}: an event holds no choices[].delta") from None
            yield from filter(None, pieces)

    def close(self) -> None:
        """Close the connections."""
        self._pool.shutdown()
        self._client.close()

    def _each(self, work: Callable[[Conversation], Any], conversations: Sequence[Conversation]) -> list[Any]:
        """The work of each, in order, as many at once as allowed; the first failure ends it."""
        futures = [self._pool.submit(work, conversation) for conversation in conversations]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def _length(self, conversation: Conversation) -> int | None:
        """Tokens that the server must find in the conversation; None where that cannot be known."""
        if self._reader is None or self._kind != "vllm":
            return None
        return self._reader.prompt_length(conversation)

    def _greedy(self, conversation: Conversation, max_new_tokens: int) -> dict[str, Any]:
        body = self._body(conversation) | {"max_tokens": max_new_tokens}
        if self._kind == "vllm":  # which otherwise takes what the checkpoint recommends for sampling
            body |= {"repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0}
            if self._reader is not None:
                body |= {"stop_token_ids": list(self._reader.end_ids)}
        return body

    def _body(self, conversation: Conversation) -> dict[str, Any]:
        """A request for what comes next."""
        messages: list[dict[str, Any]] = []
        pictures = conversation.pictures
        for turn in conversation.turns:
            content: Any = turn.text
            if turn.role == "user" and pictures:
                urls = [{"type": "image_url", "image_url": {"url": self._uri(p)}} for p in pictures]
                content, pictures = [*urls, {"type": "text", "text": turn.text}], ()
            messages.append({"role": turn.role, "content": content})
        body: dict[str, Any] = {"model": self._served, "messages": messages, "temperature": 0.0}
        if conversation.turns[-1].role == "assistant":
            body |= {"add_generation_prompt": False, "continue_final_message": True}
        if self._kind == "vllm" and self._reader is not None and self._reader.template_options:
            body["chat_template_kwargs"] = self._reader.template_options
        return body

    def _uri(self, picture: Picture) -> str:
        """A picture as a data URI of a PNG: every pixel as it is."""
        pixels = self._reader.pixels_of(picture) if self._reader is not None else picture.pixels
        digest = hashlib.sha256(pixels.tobytes() + str(pixels.shape).encode()).hexdigest()
        with self._lock:
            if digest in self._uris:
                self._uris.move_to_end(digest)
                return self._uris[digest]
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "PNG", compress_level=1)
        uri = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
        with self._lock:
            self._uris[digest] = uri
            while len(self._uris) > _ENCODED_PICTURES:
                self._uris.popitem(last=False)
        return uri


def _entry(client: JsonClient, wanted: str) -> dict[str, Any]:
    """What `/models` says about the wanted model, or about the only one."""
    try:
        entries = {str(entry["id"]): entry for entry in client.get("/models")["data"]}
    except (KeyError, TypeError):
        raise BackendError(f"{client.url}/models: not the list of models of an OpenAI-compatible server") from None
    if not wanted and len(entries) == 1:
        wanted = next(iter(entries))
    if wanted in entries:
        found: dict[str, Any] = entries[wanted]
        return found
    names = ", ".join(entries) or "none"
    lacks = f"serves no model {wanted!r}" if wanted else "serves several models"
    raise BackendError(f"{client.url} {lacks}; choose one with #name at the end of the URL: {names}")


def _about(entry: dict[str, Any], url: str) -> ServedModel | None:
    """What a server of ours tells; None from any other."""
    if "mllm_iqa" not in entry:
        return None
    try:
        return ServedModel.model_validate(entry["mllm_iqa"])
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise BackendError(
            f"{url}: describes its model otherwise than this version of mllm-iqa expects ({where})"
        ) from None


def _said(error: Any) -> str:
    return " ".join(str(error.get("message", error) if isinstance(error, dict) else error).split())[:300]
