"""The service as one ASGI application: REST, OpenAI-compatible endpoints, MCP tools, metrics and the chat page."""

from __future__ import annotations

import importlib
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from html import escape
from typing import Any

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse
from mcp.server.transport_security import TransportSecuritySettings
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.routing import Route

import mllm_iqa
from mllm_iqa.assistant import Assistant
from mllm_iqa.levels import LEVELS

from . import rest
from .intake import Gate, Intake
from .judge import Judge
from .keys import KeyCheck
from .mcp_tools import build_mcp
from .metrics import Measured, Metrics
from .options import Limits, ServeOptions
from .problems import Problem
from .url_fetch import Fetcher

_log = logging.getLogger(__name__)
_TITLE = "mllm-iqa"
_SAME_STATUS = {404: "not_found", 405: "method_not_allowed"}
_ENDPOINTS = (
    ("POST /v1/score", "score pictures"),
    ("POST /v1/explain", "score one picture and say why"),
    ("POST /v1/compare", "which of two is better"),
    ("POST /v1/rank", "order pictures"),
    ("POST /v1/where", "where a picture is damaged"),
    ("POST /v1/video", "score a video by frames"),
    ("POST /v1/chat", "ask about pictures (server-sent events)"),
    ("POST /mcp", "MCP tools score, compare and explain"),
    ("GET /openapi.json", "the schema of all this, with examples"),
    ("GET /healthz, /readyz, /metrics", "for operators"),
)


class Service(FastAPI):
    """The application; `gate` tells what it has accepted and stops it from accepting more."""

    gate: Gate
    judge: Judge

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI schema, with the bodies that endpoints read themselves."""
        if self.openapi_schema is None:
            schema = get_openapi(title=self.title, version=self.version, routes=self.routes)
            template = "#/components/schemas/{model}"
            _, bodies = models_json_schema([(model, "validation") for model in rest.REQUESTS], ref_template=template)
            known = schema.setdefault("components", {}).setdefault("schemas", {})
            known |= bodies["$defs"]
            known["Score"]["properties"]["level"] = {"type": "string", "enum": list(LEVELS)}
            self.openapi_schema = schema
        return self.openapi_schema


def create_app(assistants: Mapping[str, Assistant], options: ServeOptions | None = None) -> Service:
    """Build the application.

    Args:
        assistants: by the name that requests use; the first is the default. Their backends belong to the application.
        options: how it behaves; None = the defaults.
    """
    options = options or ServeOptions()
    limits = options.limits
    metrics = Metrics()
    fetcher = Fetcher(max_bytes=limits.body_bytes) if options.url_inputs else None
    judge = Judge(assistants, limits=limits, metrics=metrics, fetcher=fetcher, calibrations=options.calibrations)
    gate = Gate(running=limits.running, queued=limits.queued)
    metrics.accepted.set_function(lambda: gate.accepted)
    tools = build_mcp(judge)
    guard = TransportSecuritySettings(enable_dns_rebinding_protection=False)  # hosts are checked below, for all paths
    mcp_app = tools.streamable_http_app(
        json_response=True, stateless_http=True, max_request_body_size=limits.body_bytes, transport_security=guard
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with tools.session_manager.run():
            yield
        judge.close()

    app = Service(
        title=_TITLE,
        version=mllm_iqa.__version__,
        lifespan=lifespan,
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.gate, app.judge = gate, judge
    _add_refusals(app, metrics)
    app.include_router(rest.router(judge, limits))
    _add_openai(app, judge)
    app.router.routes.extend(route for route in mcp_app.routes if isinstance(route, Route))
    _add_operations(app, metrics, options)
    # The first one added is the innermost.
    app.add_middleware(Intake, gate=gate, limits=limits, on_refusal=metrics.failed)
    if options.keys:
        app.add_middleware(KeyCheck, keys=options.keys, on_refusal=metrics.failed)
    if options.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(options.cors_origins), allow_methods=["GET", "POST"], allow_headers=["*"]
        )
    if options.allowed_hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(options.allowed_hosts), www_redirect=False)
    labels = {route.path for route in app.routes if isinstance(route, Route)}
    app.add_middleware(Measured, metrics=metrics, label_of=lambda path: path if path in labels else "other")
    if not (options.ui and _add_page(app, judge, limits)):
        app.add_route("/", _landing, include_in_schema=False)
    return app


def _add_refusals(app: Service, metrics: Metrics) -> None:
    """One form for every error, whoever raised it."""

    async def problem(_: Request, error: Exception) -> Response:
        if not isinstance(error, Problem):
            raise error
        metrics.failed(error.code)
        return error.response()

    async def http(_: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        code = _SAME_STATUS.get(error.status_code, "bad_request")
        answer = Problem(code, str(error.detail).rstrip(".").lower() or code).to_dict()
        return JSONResponse(answer, error.status_code, error.headers)

    async def bug(request: Request, error: Exception) -> Response:
        metrics.failed("internal")
        return Problem("internal", "something broke on the server; its log says what").response()

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, bug)


def _add_operations(app: Service, metrics: Metrics, options: ServeOptions) -> None:
    capacity = options.limits.running + options.limits.queued

    @app.get("/healthz", tags=["Operations"])
    async def healthz() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["Operations"], response_model=None)
    async def readyz() -> Response:
        """Whether requests would be accepted now."""
        if app.gate.draining:
            state = "draining"
        elif not app.judge.alive:
            state = "broken"
        else:
            state = "busy" if app.gate.accepted >= capacity else "ready"
        return JSONResponse({"status": state, "models": list(app.judge.models)}, 200 if state == "ready" else 503)

    @app.get("/metrics", tags=["Operations"], response_model=None)
    async def metrics_() -> Response:
        """Figures for Prometheus."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _add_openai(app: Service, judge: Judge) -> None:
    """The OpenAI-compatible endpoints of the default model, where they are installed."""
    try:
        module = importlib.import_module(".openai_api", __package__)
    except ModuleNotFoundError as error:
        if error.name != f"{__package__}.openai_api":
            raise
        return
    name = judge.models[0]
    app.include_router(module.router(judge.backend(name), model_name=name))


def _add_page(app: Service, judge: Judge, limits: Limits) -> bool:
    """The chat page at /, where it is installed; whether it is."""
    try:
        module = importlib.import_module(".ui", __package__)
    except ModuleNotFoundError as error:
        if error.name not in ("gradio", f"{__package__}.ui"):
            raise
        _log.info("no chat page at /: %s is not installed", error.name)
        return False
    page = module.build_ui(judge.assistant, judge.models, calibrations=judge.calibrations)
    module.mount_ui(app, page, path="/", max_megabytes=limits.body_bytes >> 20)
    return True


async def _landing(_: Request) -> Response:
    """A plain page for those who come with a browser."""
    rows = "".join(f"<tr><td><code>{escape(path)}</code></td><td>{escape(what)}</td></tr>" for path, what in _ENDPOINTS)
    style = (
        "body{font:16px system-ui,sans-serif;max-width:42rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}"
    )
    head = f"<!doctype html><meta charset=utf-8><title>{_TITLE}</title><style>{style}td{{padding:.2rem .8rem}}</style>"
    return HTMLResponse(f"{head}<h1>{_TITLE}</h1><p>Image quality assessment.</p><table>{rows}</table>")
