"""Reading a request, multipart or JSON, into its model. Everything stays in memory; no file is ever written."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from typing import Any, TypeVar

from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from .problems import Problem
from .schemas import SentImage

_NAME_LENGTH = 120
_MAX_FIELDS = 32

M = TypeVar("M", bound=BaseModel)


async def read_request(request: Request, model: type[M], *, max_images: int) -> M:
    """The request as `model`.

    Args:
        request: its body is multipart/form-data or application/json.
        model: a request of `schemas`.
        max_images: refuse more pictures than these.

    Raises:
        Problem: a body that cannot be read, or one that does not fit the model.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        values = await _form(request, model, max_images)
    elif kind == "application/json":
        values = await run_in_threadpool(_json, await request.body())
    else:
        message = f"send application/json or multipart/form-data, not {shown(kind) or 'a body without a type'}"
        raise Problem("unsupported_media_type", message)
    try:
        parsed = await run_in_threadpool(model.model_validate, values)
    except ValidationError as error:
        raise Problem("invalid_parameter", _what_is_wrong(error)) from None
    images = getattr(parsed, "images", [])
    if len(images) > max_images:
        raise Problem("invalid_parameter", f"{len(images)} pictures are more than the limit of {max_images} a request")
    return parsed


def shown(name: str) -> str:
    """A name that came from outside, fit to be shown: its last part, printable, of bounded length."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(c for c in last if c.isprintable())[:_NAME_LENGTH]


def _json(body: bytes) -> Any:
    try:
        values = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Problem("invalid_json", f"the body is not valid JSON: {shown(str(error))}") from None
    if not isinstance(values, dict):
        raise Problem("invalid_json", "the body must be a JSON object")
    return values


class _InMemory(MultiPartParser):
    """Starlette's parser, which else moves files over a megabyte to the disk. The body's size is bounded before."""

    spool_max_size = 2**62
    ended = False

    def on_end(self) -> None:
        """The closing boundary was there; Starlette does not ask for it."""
        self.ended = True

    def close(self) -> None:
        """Let go of every file, of parts that never ended too."""
        for file in self._files_to_close_on_error:
            file.close()


async def _form(request: Request, model: type[BaseModel], max_images: int) -> dict[str, Any]:
    body = await request.body()

    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _InMemory(
        request.headers, once(), max_files=max_images + 3, max_fields=_MAX_FIELDS, max_part_size=len(body)
    )
    try:
        form = await parser.parse()
        if not parser.ended:
            raise Problem("invalid_multipart", "the form does not end with its boundary; is it cut off?")
        return await _values(form, model)
    except MultiPartException as error:
        raise Problem("invalid_multipart", f"the form cannot be read: {error.message}") from None
    finally:
        parser.close()


async def _values(form: FormData, model: type[BaseModel]) -> dict[str, Any]:
    """Fields by name. `image` and `images` are one field; it and others that occur again become lists."""
    many = "images" in model.model_fields
    out: dict[str, Any] = {}
    for name, part in form.multi_items():
        value: Any = part
        if isinstance(part, UploadFile):
            value = SentImage.uploaded(await part.read(), part.filename)
        elif name == "messages":
            value = _messages(part)
        if many and name in ("image", "images"):
            out.setdefault("images", []).append(value)
        elif name in out:
            raise Problem("invalid_multipart", f"the field {shown(name)!r} is there twice")
        else:
            out[name] = value
    return out


def _messages(text: str) -> Any:
    """JSON, or else the words of one question."""
    try:
        return json.loads(text) if text.lstrip().startswith("[") else [{"role": "user", "content": text}]
    except (ValueError, RecursionError):
        raise Problem("invalid_json", "the field 'messages' is neither a JSON list nor a plain question") from None


def _what_is_wrong(error: ValidationError) -> str:
    """The first faults, by place; never what was sent."""
    faults = []
    for fault in error.errors(include_url=False, include_context=False, include_input=False)[:3]:
        place = ".".join(shown(str(part)) for part in fault["loc"]) or "the request"
        faults.append(f"{place}: {fault['msg']}")
    return "; ".join(faults)
