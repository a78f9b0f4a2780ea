"""JSON over HTTP to one server: timeouts, retries with backoff, server-sent events, and a key that nobody sees."""

from __future__ import annotations

import json
import os
import random
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx

from ..errors import BackendError

KEY, COMMON_KEY = "MLLM_IQA_API_KEY", "OPENAI_API_KEY"
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0
_LONGEST_ASKED_WAIT_S = 300.0


class _Key(httpx.Auth):
    """Adds the key to a request; its representation does not show it."""

    def __init__(self, key: str) -> None:
        self._header = f"Bearer {key}"

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]
        """See httpx.Auth."""
        request.headers["Authorization"] = self._header
        yield request

    def __repr__(self) -> str:
        return "_Key(***)"


class JsonClient:
    """Talks to one server, from any number of threads.

    A request that met no server, a busy one (429) or a failing one (5xx) is made again, after the time the server asks
    for or else after a wait that doubles each time, with a random part so that many clients do not return at once.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 120.0,
        retries: int = 5,
        connections: int = 8,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            url: what every path is appended to.
            timeout_s: longest silence of the server before a request counts as failed.
            retries: how often a request is made again.
            connections: how many are kept open.
            sleep: how to wait, in seconds.

        Raises:
            BackendError: not an http(s) URL, or one with a key or password in it.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BackendError(f"{parts.scheme}://{parts.hostname or ''} is not the URL of an HTTP server")
        if parts.username is not None or parts.query:
            raise BackendError(f"no password or query may stand in the URL of {parts.hostname}; put a key into {KEY}")
        self.url = url.rstrip("/")
        self._retries = retries
        self._sleep = sleep
        self._local = _is_loopback(parts.hostname)
        self._key = _key_for(encrypted=parts.scheme == "https" or self._local)
        self._http = httpx.Client(
            auth=None if self._key is None else _Key(self._key),
            timeout=httpx.Timeout(timeout_s, connect=min(10.0, timeout_s)),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            trust_env=not self._local,  # a proxy knows nothing of this machine's own addresses
            follow_redirects=False,
        )
        weakref.finalize(self, self._http.close)

    def __repr__(self) -> str:
        return f"JsonClient({self.url!r})"

    def get(self, path: str, *, base: str | None = None) -> Any:
        """The JSON of a GET; see `post`."""
        return self._json("GET", path, None, base)

    def post(self, path: str, body: dict[str, Any], *, base: str | None = None) -> Any:
        """The JSON that the server answers to this JSON.

        Raises:
            BackendError: no answer after all retries, a refusal, or something else than JSON; never names the key.
            HttpRefusal: the server refused the request itself (4xx).
        """
        return self._json("POST", path, body, base)

    def events(self, path: str, body: dict[str, Any]) -> Iterator[Any]:
        """The JSON of each server-sent event, up to "[DONE]"; retried only while nothing has come.

        Raises:
            BackendError: as `post`, or a stream that breaks off.
        """
        with self._answered("POST", path, body, None, stream=True) as response:
            done = False
            try:
                for line in response.iter_lines():
                    if line.startswith("data:"):
                        data = line[5:].strip()
                        if data == "[DONE]":
                            done = True
                            break
                        yield self._parsed(data)
            except httpx.TransportError as error:
                raise BackendError(f"{self.url}: the answer broke off: {self._hidden(str(error))}") from None
            if not done:
                raise BackendError(f"{self.url}: the answer broke off before its end")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _json(self, method: str, path: str, body: dict[str, Any] | None, base: str | None) -> Any:
        with self._answered(method, path, body, base, stream=False) as response:
            return self._parsed(response.text)

    def _parsed(self, text: str) -> Any:
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            shown = self._hidden(" ".join(text.split())[:80])
            raise BackendError(f"{self.url}: answered something else than JSON: {shown!r}") from None

    @contextmanager
    def _answered(
        self, method: str, path: str, body: dict[str, Any] | None, base: str | None, *, stream: bool
    ) -> Iterator[httpx.Response]:
        """A successful response, its body still to be read if it is a stream; retried as long as that makes sense."""
        url = (self.url if base is None else base) + path
        tries = 0
        while True:
            tries += 1
            request = self._http.build_request(method, url, json=body)
            try:
                response = self._http.send(request, stream=stream)
            except httpx.TransportError as error:
                if tries > self._retries:
                    reason = self._hidden(str(error)) or type(error).__name__
                    raise BackendError(f"{self.url}: no answer after {tries} tries: {reason}") from None
                self._sleep(_wait(tries))
                continue
            try:
                if response.is_success:
                    yield response
                    return
                message = self._message(response)
            finally:
                response.close()
            if response.status_code not in _RETRIED:
                raise self._refusal(response.status_code, message)
            asked = _retry_after(response.headers.get("Retry-After"))
            if asked is not None and asked > _LONGEST_ASKED_WAIT_S:
                raise BackendError(
                    f"{self.url}: asks to come back in {asked:.0f} s ({response.status_code}: {message})"
                )
            if tries > self._retries:
                raise BackendError(f"{self.url}: gave up after {tries} tries ({response.status_code}: {message})")
            self._sleep(_wait(tries) if asked is None else asked)

    def _message(self, response: httpx.Response) -> str:
        """What the server says went wrong, on one line, without the key."""
        try:
            text = response.read().decode("utf-8", "replace")
        except httpx.TransportError:
            text = ""
        try:
            said = json.loads(text)
            found = said.get("error", said.get("detail", said.get("message", text)))
            text = found.get("message", text) if isinstance(found, dict) else found
        except (json.JSONDecodeError, AttributeError):
            pass
        return self._hidden(" ".join(str(text).split())[:300]) or response.reason_phrase

    def _refusal(self, status: int, message: str) -> BackendError:
        if status in (401, 403):
            hint = f"is the key in {KEY} right?" if self._key is not None else f"put its key into {KEY}"
            return BackendError(f"{self.url}: not allowed ({status}: {message}); {hint}")
        return HttpRefusal(status, f"{self.url}: refused the request ({status}: {message})")

    def _hidden(self, text: str) -> str:
        return text if not self._key else text.replace(self._key, "***")


class HttpRefusal(BackendError):
    """A request that the server understood and refused (4xx)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _key_for(*, encrypted: bool) -> str | None:
    """The key for this server; the one meant for another firm's servers never travels in the clear."""
    own = os.environ.get(KEY, "").strip()
    common = os.environ.get(COMMON_KEY, "").strip() if encrypted else ""
    return own or common or None


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _wait(tries: int) -> float:
    """Seconds before the next try: doubling, between a half and the whole of it."""
    longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** (tries - 1))
    return longest * random.uniform(0.5, 1.0)


def _retry_after(header: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, as a number or a date; None where it says nothing readable."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
