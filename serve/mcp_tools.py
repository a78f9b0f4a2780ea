"""MCP tools: an assistant that speaks the Model Context Protocol can score, compare and explain pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field, ValidationError

from mllm_iqa.assistant import Assistant

from .judge import Judge
from .metrics import Metrics
from .options import ServeOptions
from .problems import Problem
from .schemas import CompareRequest, ExplainRequest, ScoreRequest, SentImage
from .url_fetch import Fetcher

_INSTRUCTIONS = (
    "Image quality assessment. MOS runs from 1 (bad) to 5 (excellent) and is about technical quality, not content. "
    "Give pictures as data URIs or base64."
)
_PATHS = " A path of a file on this machine will do too."
Picture = Annotated[str, Field(description="A data URI or base64; an http(s) address where the server fetches those.")]
Reference = Annotated[str | None, Field(description="The same, of what it is compared with.")]


def build_mcp(judge: Judge, *, paths: bool = False) -> MCPServer[Any]:
    """The tools `score`, `compare` and `explain` over some models.

    Args:
        judge: does the work.
        paths: whether a picture may be the path of a file here; only for clients on this machine (stdio).
    """
    server: MCPServer[Any] = MCPServer("mllm-iqa", instructions=_INSTRUCTIONS + (_PATHS if paths else ""))

    @server.tool()
    async def score(image: Picture, reference: Reference = None) -> dict[str, Any]:
        """Score the technical quality of a picture: MOS, interval and the probabilities of five level words."""
        given = None if reference is None else _sent(reference, paths)
        try:
            rows = await judge.score(ScoreRequest(images=[_sent(image, paths)], reference=given))
        except Problem as problem:
            raise ToolError(problem.message) from None
        return rows[0].to_dict()

    @server.tool()
    async def explain(image: Picture, reference: Reference = None) -> dict[str, Any]:
        """Score a picture, find its distortions with their severities, and say in words what is wrong and why."""
        given = None if reference is None else _sent(reference, paths)
        try:
            return (await judge.explain(ExplainRequest(image=_sent(image, paths), reference=given))).to_dict()
        except Problem as problem:
            raise ToolError(problem.message) from None

    @server.tool()
    async def compare(a: Picture, b: Picture, reference: Reference = None) -> dict[str, Any]:
        """Say which of two pictures has the better quality ("a", "b" or "tie"), how sure that is, and why."""
        given = None if reference is None else _sent(reference, paths)
        try:
            asked = CompareRequest(a=_sent(a, paths), b=_sent(b, paths), reference=given)
            return (await judge.compare(asked)).to_dict()
        except Problem as problem:
            raise ToolError(problem.message) from None

    return server


def _sent(words: str, paths: bool) -> SentImage:
    """A picture from the words of a tool call."""
    if paths and len(words) < 4096 and words[:5].lower() != "data:":
        file = Path(words).expanduser()
        try:
            if file.is_file():
                return SentImage.uploaded(file.read_bytes(), file.name)
        except OSError as error:
            raise ToolError(f"{file.name}: {error.strerror}") from None
    try:
        if words.lower().startswith(("http://", "https://")):
            return SentImage(url=words)
        return SentImage(data=words)
    except ValidationError:
        raise ToolError("a picture is a data URI, base64 or an http(s) address") from None


async def serve_stdio(assistants: Mapping[str, Assistant], options: ServeOptions) -> None:
    """Serve the tools on stdin and stdout until stdin ends; pictures may be paths of files here."""
    fetcher = Fetcher(max_bytes=options.limits.body_bytes) if options.url_inputs else None
    judge = Judge(assistants, limits=options.limits, metrics=Metrics(), fetcher=fetcher)
    try:
        await build_mcp(judge, paths=True).run_stdio_async()
    finally:
        judge.close()
