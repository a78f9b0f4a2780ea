"""`python -m mllm_iqa.serve.load URL`: how fast a running service is, and whether every answer is its picture's.

First the pictures are sent one at a time; then many requests for the same pictures at once. Every answer must carry the
name that its request alone had, and the MOS that its picture got when it was alone.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import httpx
import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from mllm_iqa.errors import BackendError, IqaError
from mllm_iqa.terminal import error_line

TOLERANCE = 1e-3
"""Largest difference of a MOS in a batch from that of the picture alone: float rounding."""

_MAX_WAITS = 1000  # on 429, for one request


@dataclass(slots=True)
class Figures:
    """What a run measured. Seconds, pictures per second, and MiB of the server's resident memory.

    Attributes:
        requests, concurrency, pictures: what was asked: requests in all, at once, and different pictures.
        answered: requests with a right answer; `lost`, `crossed` and `failed`: no answer, another picture's, an error.
        waits: answers 429 that were waited out.
        p50, p95: of a request, waits included; alone_p50: of a request when it was alone.
        rate, alone_rate: pictures per second; gain: their ratio.
        memory_before, memory_half, memory_after: before the load, in its middle, after it.
        worst_mos_difference: between an answer under load and the one alone.
        faults: the first few things that went wrong, in words.
    """

    requests: int
    concurrency: int
    pictures: int
    answered: int = 0
    lost: int = 0
    crossed: int = 0
    failed: int = 0
    waits: int = 0
    p50: float = 0.0
    p95: float = 0.0
    alone_p50: float = 0.0
    rate: float = 0.0
    alone_rate: float = 0.0
    gain: float = 0.0
    memory_before: float = 0.0
    memory_half: float = 0.0
    memory_after: float = 0.0
    worst_mos_difference: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every request got its own answer."""
        return self.answered == self.requests

    def fault(self, kind: str, words: str) -> None:
        """Count one thing that went wrong."""
        setattr(self, kind, getattr(self, kind) + 1)
        if len(self.faults) < 10:
            self.faults.append(f"{kind}: {words}")


def pictures(count: int, *, side: int, seed: int = 0) -> list[bytes]:
    """Different smooth, noisy JPEG pictures of `side` x 3/4 `side` pixels."""
    out = []
    for n in range(count):
        rng = np.random.default_rng((seed, n))
        height, width = side * 3 // 4, side
        small = Image.fromarray(rng.integers(0, 256, (max(2, height // 16), max(2, width // 16), 3), dtype=np.uint8))
        smooth = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
        noise = rng.integers(-9, 10, (height, width, 3), dtype=np.int16)
        file = io.BytesIO()
        Image.fromarray(np.clip(smooth + noise, 0, 255).astype(np.uint8)).save(file, "jpeg", quality=92)
        out.append(file.getvalue())
    return out


class _Load:
    """One run against one server."""

    def __init__(self, client: httpx.AsyncClient, shown: list[bytes], figures: Figures, *, explain: bool) -> None:
        self._client = client
        self._shown = shown
        self._explain = "true" if explain else "false"
        self.figures = figures

    async def ask(self, name: str, picture: int) -> dict[str, Any]:
        """The answer's row; 429 is waited out as the server says.

        Raises:
            BackendError: any other answer.
        """
        for _ in range(_MAX_WAITS):
            answer = await self._client.post(
                "/v1/score",
                files={"image": (name, self._shown[picture], "image/jpeg")},
                data={"explain": self._explain},
            )
            if answer.status_code != 429:
                break
            self.figures.waits += 1
            await asyncio.sleep(float(answer.headers["retry-after"]))
        if answer.status_code != 200:
            raise BackendError(f"{answer.status_code}: {answer.text[:200]}")
        row: dict[str, Any] = answer.json()["results"][0]
        return row

    async def memory(self) -> float:
        """Resident memory of the server in MiB; 0 where it does not say."""
        lines = (await self._client.get("/metrics")).text.splitlines()
        found = [line for line in lines if line.startswith("process_resident_memory_bytes ")]
        return float(found[0].split()[1]) / 2**20 if found else 0.0

    async def alone(self, progress: Progress) -> list[dict[str, Any]]:
        """Every picture, one at a time; the answers that are right."""
        rows, seconds = [], []
        await self.ask("warm-up", 0)
        for n in progress.track(range(len(self._shown)), description="one at a time"):
            start = time.perf_counter()
            rows.append(await self.ask(f"alone-{n}.jpg", n))
            seconds.append(time.perf_counter() - start)
        self.figures.alone_p50 = float(np.median(seconds))
        self.figures.alone_rate = len(seconds) / sum(seconds)
        return rows

    async def together(self, right: list[dict[str, Any]], progress: Progress) -> None:
        """All requests, so many at once."""
        figures = self.figures
        task = progress.add_task(f"{figures.concurrency} at once", total=figures.requests)
        numbers = iter(range(figures.requests))
        seconds: list[float] = []

        async def client() -> None:
            for n in numbers:
                start = time.perf_counter()
                try:
                    row = await self.ask(f"request-{n}.jpg", n % len(self._shown))
                except httpx.TransportError as error:
                    figures.fault("lost", f"request {n}: {type(error).__name__} {error}")
                    continue
                except BackendError as error:
                    figures.fault("failed", f"request {n}: {error}")
                    continue
                seconds.append(time.perf_counter() - start)
                self._check(n, row, right[n % len(self._shown)])
                progress.advance(task)
                if n == figures.requests // 2:
                    figures.memory_half = await self.memory()

        start = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(figures.concurrency)))
        figures.rate = figures.answered / (time.perf_counter() - start)
        figures.gain = figures.rate / figures.alone_rate
        if seconds:
            figures.p50, figures.p95 = (float(x) for x in np.percentile(seconds, [50, 95]))

    def _check(self, n: int, row: dict[str, Any], right: dict[str, Any]) -> None:
        name = f"request-{n}.jpg"
        if row.get("image", {}).get("name") != name:
            self.figures.fault("crossed", f"request {n} was answered for {row.get('image', row)}")
            return
        difference = abs(row["mos"] - right["mos"])
        if difference > TOLERANCE or row["explanation"] != right["explanation"]:
            self.figures.fault("crossed", f"request {n}: MOS {row['mos']} instead of {right['mos']}, or another text")
            return
        self.figures.worst_mos_difference = max(self.figures.worst_mos_difference, difference)
        self.figures.answered += 1


async def run(
    url: str, *, requests: int, concurrency: int, count: int, side: int, explain: bool, key: str | None
) -> Figures:
    """Measure a running service.

    Args:
        url: e.g. http://127.0.0.1:8000
        requests: in all.
        concurrency: at once.
        count: different pictures. More than the engine remembers (64), or its caches answer.
        side: their width in pixels.
        explain: ask for explanations.
        key: API key, if the service wants one.

    Raises:
        BackendError: the server is not there or does not answer a single request.
    """
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    limits = httpx.Limits(max_connections=concurrency + 2, max_keepalive_connections=concurrency + 2)
    figures = Figures(requests, concurrency, count)
    console = Console(stderr=True)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=600, limits=limits, trust_env=False) as client:
        load = _Load(client, pictures(count, side=side), figures, explain=explain)
        with Progress(console=console, disable=not console.is_terminal) as progress:
            try:
                right = await load.alone(progress)
            except httpx.TransportError as error:
                raise BackendError(f"{url}: no service answers there ({type(error).__name__})") from None
            figures.memory_before = await load.memory()
            await load.together(right, progress)
            figures.memory_after = await load.memory()
    return figures


app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def load(
    url: Annotated[str, typer.Argument(help="Of a running `mllm-iqa serve`.")] = "http://127.0.0.1:8000",
    requests: Annotated[int, typer.Option(min=1, help="Requests in all.")] = 2000,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 50,
    count: Annotated[int, typer.Option("--pictures", min=1, help="Different pictures.")] = 200,
    side: Annotated[int, typer.Option(min=64, help="Width of a picture in pixels.")] = 512,
    explain: Annotated[bool, typer.Option("--explain/--no-explain", help="Ask for explanations too.")] = True,
    key: Annotated[str | None, typer.Option(envvar="MLLM_IQA_API_KEY", help="API key.")] = None,
) -> None:
    """Load a running service and check every answer; exit with 1 when one was lost, crossed or failed."""
    figures = asyncio.run(
        run(url, requests=requests, concurrency=concurrency, count=count, side=side, explain=explain, key=key)
    )
    print(json.dumps(asdict(figures), indent=2))
    raise typer.Exit(0 if figures.good else 1)


def main(argv: list[str]) -> int:
    """Run with these arguments; returns the exit status."""
    try:
        result = app(argv, prog_name="python -m mllm_iqa.serve.load", standalone_mode=False)
    except IqaError as error:
        print(error_line(error), file=sys.stderr)
        return 2
    return result if isinstance(result, int) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
