"""The same twenty pictures through every engine: the same scores, winners and words.

transformers against vLLM in process, and against vLLM's own server on loopback through the OpenAI-compatible engine.
To add an engine (REST): a fixture that gives an `Assistant` on it, and its name in ENGINES.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import numpy as np
import pytest
from mllm_iqa.data_build.distortions import apply

from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.base import Conversation
from mllm_iqa.engines import card_of, open_backend
from mllm_iqa.images import Picture, load_image
from mllm_iqa.levels import LEVELS
from mllm_iqa.types import Comparison, Score

# Packages of others warn as they are imported; ours may not.
pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default"), pytest.mark.filterwarnings("error:::mllm_iqa")]

EXAMPLES = Path(__file__).parents[1] / "mllm_iqa" / "examples"
ENGINES = ("vllm", "vllm_server")
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


@pytest.fixture(scope="module")
def vllm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Assistant]:
    """vLLM's own server as a process on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mllm_iqa.serve.vllm_server", "nano", "--port", str(port)]
    log = tmp_path_factory.mktemp("vllm") / "log"
    environment = os.environ | {"VLLM_LOGGING_LEVEL": "WARNING", "VLLM_CPU_KVCACHE_SPACE": "1"}
    direct = build_opener(ProxyHandler({}))
    with log.open("wb") as output:
        server = subprocess.Popen([*command, "--max-num-seqs", "8"], stdout=output, stderr=output, env=environment)
    try:
        deadline = time.monotonic() + 900
        while True:
            assert server.poll() is None and time.monotonic() < deadline, log.read_text("utf8", "replace")[-3000:]
            try:
                direct.open(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except (URLError, OSError):
                time.sleep(0.5)
        yield Assistant.load(f"http://127.0.0.1:{port}/v1")
    finally:
        server.terminate()
        try:
            server.wait(timeout=60)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


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
