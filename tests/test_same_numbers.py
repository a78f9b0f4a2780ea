"""The same twenty pictures through every engine: the same scores, winners and words.

transformers against vLLM in process, against vLLM's own server on loopback through the OpenAI-compatible engine, and
against our own service: through that engine too, and through REST.
"""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import httpx
import numpy as np
import pytest
from mllm_iqa.data_build.distortions import apply
from PIL import Image

from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.base import Conversation
from mllm_iqa.engines import card_of, open_backend
from mllm_iqa.images import Picture, load_image
from mllm_iqa.levels import LEVELS
from mllm_iqa.types import Comparison, Score

# Packages of others warn as they are imported; ours may not.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.filterwarnings("error:::mllm_iqa")]

EXAMPLES = Path(__file__).parents[1] / "mllm_iqa" / "examples"
ENGINES = (*(pytest.param(name, marks=pytest.mark.vllm) for name in ("vllm", "vllm_server")), "service")
QUESTION, PREFIX = "How would you rate the quality of this image?", "The quality of the image is"


def pictures() -> list[Picture]:
    """Three photographs, small and of sizes that are not multiples of 32, and seventeen damaged versions of them."""
    out = []
    sources = [load_image(path, max_pixels=40_000) for path in sorted(EXAMPLES.glob("*.jpg"))]
    names = [name for name in _names() for _ in sources]
    for n, source in enumerate(sources):
        out.append(load_image(source, name=f"{n} as it is"))
    for n, name in enumerate(names[:17]):
        rng = np.random.default_rng(n)
        damaged = apply(name, sources[n % 3].pixels, float(1 + n % 5), rng)
        out.append(load_image(damaged, name=f"{n % 3} {name} {1 + n % 5}"))
    return out


def _names() -> list[str]:
    from mllm_iqa.data_build.distortions import DISTORTIONS

    wanted = ("blur", "noise", "compression", "exposure", "contrast", "resampling")
    first = {name.partition(".")[0]: name for name in reversed(sorted(DISTORTIONS))}
    return [first[family] for family in wanted]


@dataclass(frozen=True, slots=True)
class Judged:
    scores: list[Score]
    comparisons: list[Comparison]
    chat: str


def judged(assistant: Assistant) -> Judged:
    shown = pictures()
    scores = [result for result in assistant.score_many(shown, batch_size=20) if isinstance(result, Score)]
    pairs = list(zip(shown[:10], shown[10:], strict=True))
    comparisons = [assistant.compare(a, b, explain=False) for a, b in pairs]
    asked = [{"role": "user", "content": "What is wrong with this image?"}]
    return Judged(scores, comparisons, "".join(assistant.chat(shown[5:6], asked)))


@pytest.fixture(scope="module")
def transformers() -> Assistant:
    return Assistant.load("nano", engine="transformers", device="cpu")


@pytest.fixture(scope="module")
def expected(transformers: Assistant) -> Judged:
    return judged(transformers)


@pytest.fixture(scope="module")
def vllm() -> Iterator[Assistant]:
    from mllm_iqa.engines import VllmOptions

    backend = open_backend("nano", engine="vllm", vllm=VllmOptions(kv_cache_bytes=2**28, max_images=3))
    yield Assistant(backend, card=card_of(backend))
    backend.close()  # type: ignore[attr-defined]


@contextmanager
def serving(log: Path, alive: str, *command: str) -> Iterator[str]:
    """A server as a process on loopback; gives its address once `alive` answers there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"VLLM_LOGGING_LEVEL": "WARNING", "VLLM_CPU_KVCACHE_SPACE": "1"}
    direct = build_opener(ProxyHandler({}))
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        run = [sys.executable, "-m", *command, "--port", str(port)]
        server = subprocess.Popen(run, stdout=output, stderr=output, env=environment)
    try:
        deadline = time.monotonic() + 900
        while True:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text("utf8", "replace")[-3000:]
            try:
                direct.open(address + alive, timeout=5).close()
                break
            except (URLError, OSError):
                time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture(scope="module")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Assistant]:
    """vLLM's own server."""
    log = tmp_path_factory.mktemp("vllm") / "log"
    with serving(log, "/health", "mllm_iqa.serve.vllm_server", "nano", "--max-num-seqs", "8") as address:
        yield Assistant.load(f"{address}/v1")


@pytest.fixture(scope="module")
def service_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Our own service."""
    with serving(tmp_path_factory.mktemp("service") / "log", "/readyz", "mllm_iqa", "serve", "--no-ui") as address:
        yield address


@pytest.fixture(scope="module")
def service(service_address: str) -> Assistant:
    """Its OpenAI-compatible endpoints."""
    return Assistant.load(f"{service_address}/v1")


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_judges_alike(engine: str, expected: Judged, request: pytest.FixtureRequest) -> None:
    found = judged(request.getfixturevalue(engine))
    assert len(found.scores) == len(expected.scores) == 20
    for one, other in zip(found.scores, expected.scores, strict=True):
        # Float32 summed in another order; 5e-3 is what is promised, 1e-4 what is there.
        assert one.mos == pytest.approx(other.mos, abs=1e-4), one.image.name
        assert one.levels == pytest.approx(other.levels, abs=1e-4), one.image.name
        assert (one.model, one.prompt, one.interval.source) == (other.model, other.prompt, other.interval.source)
    same = sum(one.explanation == other.explanation for one, other in zip(found.scores, expected.scores, strict=True))
    assert same >= 19, "explanations differ"
    assert [c.winner for c in found.comparisons] == [c.winner for c in expected.comparisons]
    for one_c, other_c in zip(found.comparisons, expected.comparisons, strict=True):
        assert one_c.probabilities == pytest.approx(other_c.probabilities, abs=1e-4)
    assert found.chat == expected.chat != ""


def test_rest_judges_alike(service_address: str, expected: Judged) -> None:
    shown = pictures()
    files = [(picture.info.name, as_png(picture), "image/png") for picture in shown]
    with httpx.Client(base_url=service_address, trust_env=False, timeout=300) as client:

        def ask(path: str, files: list[tuple[str, Any]], **fields: str) -> Any:
            answer = client.post(path, files=files, data=fields)
            assert answer.status_code == 200, answer.text
            return answer.json()

        many = ask("/v1/score", [("image", file) for file in files], explain="true")
        assert (many["n_scored"], many["n_total"]) == (20, 20)
        for row, other in zip(many["results"], expected.scores, strict=True):
            assert row["image"]["name"] == other.image.name
            assert row["mos"] == pytest.approx(other.mos, abs=1e-4)
            assert row["explanation"] == other.explanation
        for n, other_c in enumerate(expected.comparisons):
            row = ask("/v1/compare", [("a", files[n]), ("b", files[n + 10])], explain="false")
            assert (row["winner"], row["a"]["name"]) == (other_c.winner, other_c.a.name)
            assert row["probabilities"] == pytest.approx(other_c.probabilities, abs=1e-4)
        said = ask("/v1/chat", [("image", files[5])], messages="What is wrong with this image?", stream="false")
        assert said["answer"] == expected.chat


def as_png(picture: Picture) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture.pixels).save(file, "png")
    return file.getvalue()


def test_the_twenty_pictures_differ(expected: Judged) -> None:
    """Equal results would prove little if all pictures were judged alike."""
    assert np.ptp([score.mos for score in expected.scores]) > 1.5
    assert len({comparison.winner for comparison in expected.comparisons}) >= 2
    assert len({score.explanation for score in expected.scores}) >= 10


@pytest.mark.parametrize("engine", ENGINES)
def test_pictures_that_padding_takes_beyond_the_budget_are_not_resized(
    engine: str, transformers: Assistant, request: pytest.FixtureRequest
) -> None:
    # 443 x 591 pixels are within nano's 262,144, and padded to 448 x 608 they are not: the checkpoint's own processor
    # would make them smaller.
    noise = np.random.default_rng(0).integers(0, 256, (443, 591, 3), dtype=np.uint8)
    long = np.random.default_rng(1).integers(0, 256, (33, 1500, 3), dtype=np.uint8)
    asked = [Conversation.ask([load_image(pixels)], QUESTION, PREFIX) for pixels in (noise, long)]
    words = [f" {level}" for level in LEVELS]
    found = request.getfixturevalue(engine).backend.continuation_logprobs(asked, words)
    np.testing.assert_allclose(found, transformers.backend.continuation_logprobs(asked, words), atol=1e-3)


@pytest.mark.parametrize("engine", ENGINES)
def test_streams_are_what_is_generated(engine: str, request: pytest.FixtureRequest) -> None:
    backend = request.getfixturevalue(engine).backend
    asked = Conversation.ask(pictures()[:1], "What is wrong with this image?")
    (whole,) = backend.generate([asked], max_new_tokens=12)
    pieces = list(backend.stream(asked, max_new_tokens=12))
    assert "".join(pieces) == whole and len(pieces) > 1
