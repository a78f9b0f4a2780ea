"""`mllm-iqa serve`: models behind HTTP, or as MCP tools on stdin and stdout."""

from __future__ import annotations

import asyncio
import logging
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

import typer

from mllm_iqa.advice_rules import load_rules
from mllm_iqa.assistant import Assistant
from mllm_iqa.calibration import load_calibration
from mllm_iqa.errors import ConfigError

from .keys import ENVIRONMENT, load_keys
from .options import Limits, ServeOptions

app = typer.Typer(add_completion=False, rich_markup_mode=None)
_DEFAULT = Limits()


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; 127.0.0.1 = this machine alone.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 = any free one.")] = 8000,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A name from `mllm-iqa models`, a folder or a hub id; again for more, the first is the default."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    engine: Annotated[str, typer.Option(help="What runs the model; auto chooses.")] = "auto",
    api_keys: Annotated[
        Path | None, typer.Option(help=f"File of API keys, one a line; {ENVIRONMENT} adds to them, by commas.")
    ] = None,
    insecure_public: Annotated[
        bool, typer.Option("--insecure-public", help="Listen on a public address without an API key.")
    ] = False,
    cors: Annotated[
        list[str] | None, typer.Option(help="Origin whose pages may call this from a browser; again.")
    ] = None,
    url_inputs: Annotated[
        bool, typer.Option("--url-inputs", help="Fetch pictures from public http(s) addresses.")
    ] = False,
    ui: Annotated[bool, typer.Option("--ui/--no-ui", help="Offer the chat page at / when it is installed.")] = True,
    running: Annotated[int, typer.Option(min=1, help="Requests worked on at once.")] = _DEFAULT.running,
    queued: Annotated[int, typer.Option(min=0, help="Requests that wait beyond those.")] = _DEFAULT.queued,
    batch: Annotated[int, typer.Option(min=1, help="Conversations in one call of the model.")] = _DEFAULT.batch_rows,
    timeout: Annotated[
        float, typer.Option(min=1, help="Seconds until a request is given up.")
    ] = _DEFAULT.request_seconds,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Of one request.")] = _DEFAULT.body_bytes >> 20,
    max_megapixels: Annotated[int, typer.Option(min=1, help="Of one picture.")] = _DEFAULT.source_pixels // 10**6,
    calibration: Annotated[
        list[str] | None, typer.Option(help="A calibration's name or file, which requests may name; again for more.")
    ] = None,
    advice: Annotated[
        Path | None,
        typer.Option(help="Rules of your own for the advice: a YAML file.", show_default="the shipped ones"),
    ] = None,
    stdio: Annotated[bool, typer.Option("--stdio", help="Serve MCP on stdin and stdout instead of HTTP.")] = False,
) -> None:
    """Serve models: REST, MCP tools, metrics and the chat page. Stops gracefully on SIGTERM and Ctrl-C."""
    limits = Limits(
        body_bytes=max_megabytes << 20,
        held_bytes=max(_DEFAULT.held_bytes, max_megabytes << 20),
        source_pixels=max_megapixels * 10**6,
        running=running,
        queued=queued,
        request_seconds=timeout,
        drain_seconds=timeout,
        batch_rows=batch,
    )
    keys = () if stdio else load_keys(api_keys)
    if not (stdio or keys or insecure_public or is_loopback(host)):
        raise ConfigError(
            f"--host {host} is open to other machines: give --api-keys FILE (or {ENVIRONMENT}), or --insecure-public"
        )
    options = ServeOptions(
        limits=limits,
        keys=keys,
        cors_origins=tuple(cors or ()),
        allowed_hosts=_LOOPBACK_NAMES if is_loopback(host) and not keys else (),
        url_inputs=url_inputs,
        ui=ui,
        calibrations=tuple(load_calibration(name) for name in dict.fromkeys(calibration or [])),
    )
    rules = None if advice is None else load_rules(advice)
    # Before the models are loaded, which takes long.
    from .app import create_app
    from .server import DrainingServer

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s: %(message)s")
    loading: dict[str, Any] = {"device": device} | ({} if engine == "auto" else {"engine": engine})
    assistants = {name: Assistant.load(name, **loading) for name in dict.fromkeys(model or ["nano"])}
    if rules is not None:
        for assistant in assistants.values():
            assistant.advice = rules
    if stdio:
        from .mcp_tools import serve_stdio

        asyncio.run(serve_stdio(assistants, options))
        return
    service = create_app(assistants, options)
    server = DrainingServer(service, host=host, port=port, drain_seconds=limits.drain_seconds)
    server.run()
    if not server.started:
        raise typer.Exit(1)


_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]", "::1")
"""Host headers of this machine: a page in a browser cannot reach the service under a name of the page's own."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to an address to listen on."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def main(argv: list[str]) -> int:
    """Run with the arguments after `mllm-iqa serve`; returns the exit status."""
    result = app(argv, prog_name="mllm-iqa serve", standalone_mode=False)
    return result if isinstance(result, int) else 0
