"""Refusals: every answer that is not a result has one JSON form, a code for programs and a sentence for people."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

STATUS: dict[str, int] = {
    "bad_request": 400,
    "invalid_json": 400,
    "invalid_multipart": 400,
    "url_refused": 400,
    "unauthorized": 401,
    "not_found": 404,
    "unknown_model": 404,
    "method_not_allowed": 405,
    "too_slow": 408,
    "too_large": 413,
    "unsupported_media_type": 415,
    "invalid_parameter": 422,
    "unreadable_image": 422,
    "unreadable_video": 422,
    "queue_full": 429,
    "internal": 500,
    "not_installed": 501,
    "engine": 502,
    "draining": 503,
    "timeout": 504,
}
"""Every code there is, and its HTTP status. Codes are stable: they are added, never changed."""


class Problem(Exception):
    """A request that gets no result.

    Attributes:
        code: a key of `STATUS`.
        message: one sentence.
        retry_after: seconds after which to try again; None = trying again does not help.
        read_through: whether the whole request had been read when it was refused.
    """

    def __init__(self, code: str, message: str, *, retry_after: int | None = None, read_through: bool = True) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.read_through = read_through

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.code]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"error": {"code": self.code, "message": self.message}}

    def response(self) -> JSONResponse:
        """The answer."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if not self.read_through or self.code == "draining":
            headers["Connection"] = "close"
        return JSONResponse(self.to_dict(), self.status, headers)
