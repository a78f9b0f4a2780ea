"""The MCP tools through the protocol's own client, over HTTP and over stdin and stdout."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mllm_iqa.assistant import Assistant

from .conftest import Running, data_uri, png


def test_tools_over_http(running: Running, fake: Assistant) -> None:
    async def use() -> None:
        async with Client(f"{running.url}/mcp") as client:
            listed = await client.list_tools()
            assert {tool.name for tool in listed.tools} == {"score", "explain", "compare"}
            assert all(tool.description for tool in listed.tools)
            result = await client.call_tool("score", {"image": data_uri(png(1))})
            assert not result.is_error
            assert result.structured_content["mos"] == fake.score(png(1), explain=False).mos
            explained = await client.call_tool("explain", {"image": data_uri(png(1))})
            assert explained.structured_content["explanation"] == fake.score(png(1)).explanation
            better = await client.call_tool("compare", {"a": data_uri(png(1)), "b": data_uri(png(2))})
            assert better.structured_content["winner"] == fake.compare(png(1), png(2)).winner
            wrong = await client.call_tool("score", {"image": "no picture"})
            assert wrong.is_error
            assert "neither a data URI nor valid base64" in wrong.content[0].text

    asyncio.run(use())


def test_tools_over_stdio_read_files_here(tmp_path: Path, fake: Assistant) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    command = StdioServerParameters(
        command=sys.executable, args=["-m", "mllm_iqa", "serve", "--stdio", "--model", "fake"]
    )

    async def use() -> None:
        async with Client(stdio_client(command)) as client:
            result = await client.call_tool("score", {"image": str(tmp_path / "a.png")})
            assert json.loads(result.content[0].text)["mos"] == fake.score(png(1), explain=False).mos

    asyncio.run(use())


@pytest.mark.parametrize("path", ["/etc/hostname", "a.png"])
def test_files_of_the_server_are_not_read_over_http(running: Running, path: str) -> None:
    async def use() -> None:
        async with Client(f"{running.url}/mcp") as client:
            assert (await client.call_tool("score", {"image": path})).is_error

    asyncio.run(use())
