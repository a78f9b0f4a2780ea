"""The REST endpoints under `/v1`: pictures as form uploads or JSON in, results as JSON or server-sent events out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel

from mllm_iqa.types import Comparison, Failure, Ranking, Score
from mllm_iqa.video_plot import svg_of
from mllm_iqa.video_types import VideoScore

from .forms import read_request
from .judge import Judge
from .options import Limits
from .problems import STATUS, Problem
from .schemas import (
    ChatAnswer,
    ChatRequest,
    CompareRequest,
    ErrorAnswer,
    ExplainRequest,
    RankRequest,
    RubricAnswer,
    RubricRequest,
    ScoreAnswer,
    ScoreRequest,
    VideoRequest,
    WhereRequest,
)
from .video_events import video_events, written

_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorAnswer, "description": ", ".join(code for code in STATUS if STATUS[code] == status)}
    for status in sorted(set(STATUS.values()))
    if status not in (404, 405)
}
_FILE = {"type": "string", "format": "binary"}


def router(judge: Judge, limits: Limits) -> APIRouter:
    """The endpoints over some models."""
    routes = APIRouter(prefix="/v1", tags=["REST"], responses=_REFUSALS)

    @routes.post("/score", response_model=ScoreAnswer, openapi_extra=_body(ScoreRequest))
    async def score(request: Request) -> Response:
        """Score pictures, each on its own: MOS from 1 (bad) to 5 (excellent) with level probabilities and interval."""
        asked = await read_request(request, ScoreRequest, max_images=limits.images)
        rows = [row.to_dict() for row in await judge.score(asked)]
        scored = sum("mos" in row for row in rows)
        return JSONResponse({"results": rows, "n_scored": scored, "n_total": len(rows)})

    @routes.post("/explain", response_model=Score, openapi_extra=_body(ExplainRequest))
    async def explain(request: Request) -> Response:
        """Score one picture and say what is wrong with it and why."""
        asked = await read_request(request, ExplainRequest, max_images=limits.images)
        return JSONResponse((await judge.explain(asked)).to_dict())

    @routes.post("/compare", response_model=Comparison, openapi_extra=_body(CompareRequest))
    async def compare(request: Request) -> Response:
        """Say which of two pictures is better, and why. Both orders are asked and averaged."""
        asked = await read_request(request, CompareRequest, max_images=limits.images)
        return JSONResponse((await judge.compare(asked)).to_dict())

    @routes.post("/rank", response_model=Ranking, openapi_extra=_body(RankRequest))
    async def rank(request: Request) -> Response:
        """Order 2 to 32 pictures from best to worst by comparing pairs of them in both orders."""
        asked = await read_request(request, RankRequest, max_images=limits.images)
        return JSONResponse((await judge.rank(asked)).to_dict())

    @routes.post("/rubric", response_model=RubricAnswer, openapi_extra=_body(RubricRequest))
    async def rubric(request: Request) -> Response:
        """Judge pictures by rubrics: your own question and level words, on their own scale, which is no MOS."""
        asked = await read_request(request, RubricRequest, max_images=limits.images)
        rows = await judge.rubric(asked)
        plain = [
            row.to_dict()
            if isinstance(row, Failure)
            else {"name": row[0].image.name, "scores": [one.to_dict() for one in row]}
            for row in rows
        ]
        scored = sum("scores" in row for row in plain)
        return JSONResponse({"results": plain, "n_scored": scored, "n_total": len(plain)})

    @routes.post("/chat", response_model=ChatAnswer, openapi_extra=_body(ChatRequest))
    async def chat(request: Request) -> Response:
        """Answer a question about pictures, piece by piece: events `piece`, then `done`, or `error`."""
        asked = await read_request(request, ChatRequest, max_images=limits.images)
        model = judge.assistant(asked.model).backend.name
        pieces = judge.chat(asked)
        first = await anext(pieces, "")  # what is refused is refused with its own status, before any event
        if asked.stream:
            return StreamingResponse(_events(first, pieces, model), media_type="text/event-stream", headers=_NO_BUFFER)
        answer = first + "".join([piece async for piece in pieces])
        return JSONResponse({"answer": answer, "model": model})

    @routes.post("/where", response_model=None, openapi_extra=_body(WhereRequest))
    async def where(request: Request) -> Response:
        """Say where a picture is damaged and by what: boxes and a coarse map, or a drawing (PNG)."""
        asked = await read_request(request, WhereRequest, max_images=limits.images)
        found, drawing = await judge.where(asked)
        if drawing is not None:
            return Response(drawing, media_type="image/png")
        return JSONResponse(found.to_dict(grid=asked.grid))

    @routes.post("/video", response_model=None, openapi_extra=_body(VideoRequest))
    async def video(request: Request) -> Response:
        """Score a video by frames: one number, quality over time, the worst moments; as JSON, events or a plot."""
        asked = await read_request(request, VideoRequest, max_images=limits.images)
        events = video_events(judge, asked)
        if asked.stream:
            first = await anext(events)  # what is refused is refused with its own status, before any event
            return StreamingResponse(written(first, events), media_type="text/event-stream", headers=_NO_BUFFER)
        result = [found async for found in events][-1]
        if not isinstance(result, VideoScore):
            raise TypeError("the last event is the result")
        if asked.format == "svg":
            return Response(svg_of(result), media_type="image/svg+xml")
        return JSONResponse(result.to_dict())

    return routes


_NO_BUFFER = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def _events(first: str, pieces: AsyncIterator[str], model: str) -> AsyncIterator[str]:
    said = first
    try:
        if first:
            yield _event("piece", {"text": first})
        async for piece in pieces:
            said += piece
            yield _event("piece", {"text": piece})
        yield _event("done", {"answer": said, "model": model})
    except Problem as problem:
        yield _event("error", problem.to_dict())
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


def _body(model: type[BaseModel]) -> dict[str, Any]:
    """The request body in the OpenAPI schema: JSON, and a form whose pictures are files."""
    json_schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    properties: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if name == "images":
            properties["image"] = {"type": "array", "items": _FILE, "description": "Repeat it for several pictures."}
        elif name in ("image", "a", "b", "reference", "video"):
            properties[name] = {**_FILE, "description": field.description or "A picture."}
        else:
            kind = "boolean" if field.annotation is bool else "string"
            properties[name] = {"type": kind, "description": field.description or "A question, or JSON as above."}
    required = [("image" if name == "images" else name) for name, f in model.model_fields.items() if f.is_required()]
    form = {"type": "object", "properties": properties, "required": required}
    content = {"application/json": {"schema": json_schema}, "multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


REQUESTS: tuple[type[BaseModel], ...] = (
    *(ScoreRequest, ExplainRequest, CompareRequest, RankRequest, RubricRequest, ChatRequest),
    *(WhereRequest, VideoRequest),
)
"""What the endpoints take, for the OpenAPI schema: they read their bodies themselves."""
