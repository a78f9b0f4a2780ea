"""API keys: read from a file or the environment, compared in constant time, never shown."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from mllm_iqa.errors import ConfigError

from .problems import Problem

ENVIRONMENT = "MLLM_IQA_API_KEYS"
_MIN_LENGTH = 16
_OPEN = ("/healthz", "/readyz")


def load_keys(file: Path | None) -> tuple[str, ...]:
    """The keys in `file`, one a line, lines beginning with # left out, and those in MLLM_IQA_API_KEYS, by commas.

    Raises:
        ConfigError: a file that cannot be read or holds no key, or a key too short to be safe. No key is shown.
    """
    found: list[str] = []
    if file is not None:
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not text"
            raise ConfigError(f"--api-keys {file}: {reason}") from None
        found += [line for line in lines if line and not line.startswith("#")]
        if not found:
            raise ConfigError(f"--api-keys {file}: holds no key; write one a line")
    found += [key.strip() for key in os.environ.get(ENVIRONMENT, "").split(",") if key.strip()]
    for number, key in enumerate(found, start=1):
        if len(key) < _MIN_LENGTH or not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError(f"API key number {number} must be {_MIN_LENGTH} or more ASCII characters without spaces")
    return tuple(dict.fromkeys(found))


class KeyCheck:
    """ASGI middleware that lets in who brings a key.

    As `Authorization: Bearer KEY` or `X-API-Key: KEY`; as the password of HTTP Basic too, which browsers ask for.
    """

    def __init__(self, app: ASGIApp, *, keys: Sequence[str], on_refusal: Callable[[str], None]) -> None:
        """Stand before `app`; `on_refusal` is told the code of every request that is not let in."""
        self._app = app
        self._on_refusal = on_refusal
        self._digests = [hashlib.sha256(key.encode()).digest() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass, refuse the rest."""
        if scope["type"] == "lifespan" or scope["path"] in _OPEN or self._opens(Headers(scope=scope)):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            self._on_refusal("unauthorized")
            message = "an API key is needed: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
            response = Problem("unauthorized", message, read_through=False).response()
            page = scope["method"] == "GET" and not scope["path"].startswith(("/v1/", "/mcp"))
            response.headers["WWW-Authenticate"] = 'Basic realm="mllm-iqa"' if page else "Bearer"
            await response(scope, receive, send)

    def _opens(self, headers: Headers) -> bool:
        digest = hashlib.sha256(_offered(headers).encode("utf-8", "surrogateescape")).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]  # all of them, whatever was found
        return any(matches)


def _offered(headers: Headers) -> str:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError, ValueError):
            return ""
    return headers.get("x-api-key", "")
