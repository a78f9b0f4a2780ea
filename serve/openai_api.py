"""Our own OpenAI-compatible endpoints: `/v1/models` and `/v1/chat/completions` over any backend.

What the API can ask and a backend cannot answer exactly is refused, never ignored: sampling, several answers, tools.
Instead of the most probable tokens' log-probs there is an exact extension, which `/v1/models` announces: a request with
`"candidates": [" excellent", ...]` gets `"candidate_logprobs"`, in the same order.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import iterate_in_threadpool, run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field
from starlette.types import Message as AsgiMessage

from mllm_iqa.backends.base import Backend, Conversation, Turn
from mllm_iqa.backends.served_model import ServedModel
from mllm_iqa.engines import card_of
from mllm_iqa.errors import BackendError, IqaError
from mllm_iqa.images import Picture, load_image

_MAX_PICTURES = 16
_MAX_BODY_BYTES = 64 * 2**20
_MAX_NEW_TOKENS = 4096
_DEFAULT_NEW_TOKENS = 256


class ImageUrl(BaseModel):
    """A picture inside a message."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(pattern="^data:image/", description="A data URI; this endpoint fetches nothing.")
    detail: Literal["auto", "low", "high"] | None = Field(None, description="Ignored: the server's pixel budget holds.")


class ImagePart(BaseModel):
    """A part of a message that shows a picture."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["image_url"]
    image_url: ImageUrl


class TextPart(BaseModel):
    """A part of a message that says something."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["text"]
    text: str


class ChatMessage(BaseModel):
    """One turn: pictures stand before the words of the first one."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str | list[Annotated[TextPart | ImagePart, Field(discriminator="type")]]
    name: str | None = None


class ChatRequest(BaseModel):
    """A chat completion. A field that is not listed is refused."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"model": "nano", "messages": [{"role": "user", "content": "What can you tell about a picture?"}]}
            ]
        },
    )

    model: str
    messages: list[ChatMessage] = Field(min_length=1, max_length=256)
    max_tokens: int | None = Field(None, ge=1, le=_MAX_NEW_TOKENS)
    max_completion_tokens: int | None = Field(None, ge=1, le=_MAX_NEW_TOKENS)
    stream: bool = False
    add_generation_prompt: bool | None = Field(None, description="The default follows from who speaks last.")
    continue_final_message: bool | None = Field(None, description="Go on with the assistant's last words.")
    candidates: list[str] | None = Field(
        None,
        min_length=1,
        max_length=256,
        description="Give the log-prob of each as what comes next; generate nothing.",
    )
    temperature: Literal[0] | None = Field(None, description="Answers are the most probable ones: 0 or absent.")
    top_p: Literal[1] | None = None
    n: Literal[1] | None = None
    logprobs: Literal[False] | None = Field(None, description="Ask with `candidates` instead.")
    seed: int | None = Field(None, description="Nothing is drawn at random; accepted and without effect.")
    user: str | None = Field(None, description="Accepted and without effect.")


class _OpenAIRoute(APIRoute):
    """Bounds the size of a request, and puts every refusal into the form that clients of the API expect."""

    max_body_bytes = _MAX_BODY_BYTES

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        handle = super().get_route_handler()
        limit = self.max_body_bytes

        async def handler(request: Request) -> Response:
            try:
                return await handle(Request(request.scope, _bounded(request, limit)))
            except RequestValidationError as error:
                deepest = max(
                    error.errors(), key=lambda found: len(found["loc"])
                )  # of a union: the form that was meant
                where = ".".join(str(step) for step in deepest["loc"] if step != "body")
                return _refusal(400, f"{where}: {deepest['msg']}" if where else deepest["msg"], where or None)
            except HTTPException as error:
                return _refusal(error.status_code, str(error.detail))
            except IqaError as error:
                return _refusal(400, str(error))

        return handler


def router(backend: Backend, *, model_name: str) -> APIRouter:
    """Endpoints under `/v1` that serve one backend.

    Args:
        backend: what answers; called from several threads at once.
        model_name: what clients ask for.
    """
    routes = APIRouter(prefix="/v1", route_class=_OpenAIRoute, tags=["OpenAI-compatible"])
    created = int(time.time())
    about = ServedModel(
        name=backend.name, max_pixels=backend.max_pixels, languages=backend.languages, card=card_of(backend)
    ).model_dump(mode="json")
    entry = {"id": model_name, "object": "model", "created": created, "owned_by": "mllm-iqa", "mllm_iqa": about}

    @routes.get("/models")
    async def models() -> dict[str, Any]:
        """The model served here, with what it is and that it scores candidates."""
        return {"object": "list", "data": [entry]}

    @routes.get("/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        """The same for one name."""
        _check_model(name, model_name)
        return entry

    @routes.post("/chat/completions", response_model=None)
    async def chat_completions(request: ChatRequest) -> Response | dict[str, Any]:
        """What the model says next, or how likely it says each of some candidates."""
        _check_model(request.model, model_name)
        limit = request.max_completion_tokens or request.max_tokens or _DEFAULT_NEW_TOKENS
        conversation = await run_in_threadpool(conversation_of, request, backend.max_pixels)
        head = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": model_name}
        if request.candidates is not None:
            if request.stream:
                raise BackendError("candidates are scored at once: leave stream out")
            row = await run_in_threadpool(backend.continuation_logprobs, [conversation], request.candidates)
            best = request.candidates[int(row[0].argmax())]
            return _completion(head, best) | {"candidate_logprobs": [float(value) for value in row[0]]}
        if not request.stream:
            (text,) = await run_in_threadpool(backend.generate, [conversation], max_new_tokens=limit)
            return _completion(head, text)
        pieces = backend.stream(conversation, max_new_tokens=limit)
        first = await run_in_threadpool(next, pieces, None)  # what is refused is refused before the answer begins
        return StreamingResponse(_events(head, first, pieces), media_type="text/event-stream")

    return routes


def conversation_of(request: ChatRequest, max_pixels: int | None) -> Conversation:
    """The conversation that a request speaks of, its pictures read.

    Raises:
        ImageError: a picture that cannot be read or is too large.
        BackendError: messages of a form that no backend takes.
    """
    pictures: list[Picture] = []
    turns: list[Turn] = []
    leading = request.messages[0].role == "system"
    if len(request.messages) == leading:
        raise BackendError("a system message alone is no conversation")
    for n, message in enumerate(request.messages, start=-int(leading)):
        parts = [TextPart(type="text", text=message.content)] if isinstance(message.content, str) else message.content
        if message.role != ("user", "assistant")[n % 2] and (n >= 0 or not leading):
            raise BackendError("messages alternate between user and assistant and begin with the user's")
        words: list[str] = []
        for part in parts:
            if isinstance(part, TextPart):
                words.append(part.text)
                continue
            if n or words:
                raise BackendError("pictures stand in the first message of the user, before its words")
            if len(pictures) == _MAX_PICTURES:
                raise BackendError(f"more than {_MAX_PICTURES} pictures")
            name = f"picture {len(pictures) + 1}"
            pictures.append(load_image(part.image_url.url, name=name, max_pixels=max_pixels))
        turns.append(Turn(message.role, "".join(words)))
    speaks = turns[-1].role == "assistant"
    if request.continue_final_message is not None and request.continue_final_message != speaks:
        raise BackendError("continue_final_message belongs to a last message that is the assistant's, and only there")
    if request.add_generation_prompt is not None and request.add_generation_prompt == speaks:
        raise BackendError("add_generation_prompt must be true after the user's message, false after the assistant's")
    return Conversation(tuple(pictures), tuple(turns))


def _completion(head: dict[str, Any], text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {**head, "object": "chat.completion", "choices": [choice]}


async def _events(head: dict[str, Any], first: str | None, rest: Iterator[str]) -> AsyncIterator[str]:
    """The answer as server-sent events; a failure in its middle becomes the last one."""

    def event(delta: dict[str, str], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event({**head, "object": "chat.completion.chunk", "choices": [choice]})

    yield event({"role": "assistant", "content": first or ""})
    try:
        if first is not None:
            async for piece in iterate_in_threadpool(rest):
                yield event({"content": piece})
    except IqaError as error:
        yield _event(_error(str(error), "server_error"))
        return
    yield event({}, "stop")
    yield "data: [DONE]\n\n"


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _check_model(asked: str, served: str) -> None:
    if asked != served:
        raise HTTPException(404, f"no model {asked!r} here; there is {served!r}")


def _error(message: str, kind: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": None}}


def _refusal(status: int, message: str, param: str | None = None) -> JSONResponse:
    kind = "invalid_request_error" if status < 500 else "server_error"
    return JSONResponse(_error(message, kind, param), status_code=status)


def _bounded(request: Request, limit: int) -> Callable[[], Coroutine[Any, Any, AsgiMessage]]:
    """The request's own messages, up to that many bytes of body."""
    seen = 0

    async def receive() -> AsgiMessage:
        nonlocal seen
        message = await request.receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise HTTPException(413, f"the request has more than {limit} bytes")
        return message

    return receive
