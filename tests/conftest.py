"""Every test runs offline, and finds the shared photographs where they are."""

import importlib.util
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import mllm_iqa  # noqa: F401 (before a test module imports peft or transformers: see mllm_iqa.torchvision_operators)

if TYPE_CHECKING:
    from mllm_iqa.checkpoints import Card

# Here, at the top level, because Hugging Face libraries read these once, when a test first imports them.
for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
    os.environ.setdefault(name, "1")

# A suite that a script starts in the background inherits an ignored Ctrl-C, and so would the programs that it tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Markers of what only some environments have (make test-vllm makes one that has both), and the package that decides.
NEEDED = {"vllm": "vllm", "torchvision": "torchvision"}

REPO = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for marker, package in NEEDED.items():
        if importlib.util.find_spec(package) is None:
            for item in items:
                if item.get_closest_marker(marker) is not None:
                    item.add_marker(pytest.mark.skip(reason=f"{package} is not installed; make test-vllm runs this"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photographs and human labels beside the checkout."""
    folder = REPO.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the shared photographs and labels are not here (../shared/data)")
    return folder


@pytest.fixture(scope="session")
def blank_card() -> "Card":
    """A card that promises nothing; tests copy it with what they are about."""
    from mllm_iqa.checkpoints import Card

    return Card(
        name="x",
        version="1",
        licence="",
        base_model=None,
        languages=("en",),
        max_pixels=1,
        prompts=(),
        training_data=(),
        recipe="",
        results={},
        sha256={},
    )


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3-VL of the true class at toy size with nano's tokenizer and random weights, large enough to matter."""
    import torch
    from mllm_iqa.train.nano.model import SPECIAL
    from mllm_iqa.train.nano.tokenizer import build_tokenizer
    from transformers import Qwen2VLImageProcessorPil, Qwen3VLConfig, Qwen3VLForConditionalGeneration

    from mllm_iqa.checkpoints import Card, IntervalCard, sha256_of, write_card

    folder = tmp_path_factory.mktemp("tiny-qwen3-vl")
    tokenizer = build_tokenizer()
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e4,
            "mrope_section": [6, 5, 5],
            "mrope_interleaved": True,
        },
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.2,
    }
    vision = {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_heads": 2,
        "out_hidden_size": 64,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
        "initializer_range": 0.1,
    }
    ids = {name: tokenizer.convert_tokens_to_ids(token) for name, token in SPECIAL.items()}
    config = Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **ids)
    torch.manual_seed(0)
    model = Qwen3VLForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(patch_size=16, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(folder)
    card = Card(
        name="tiny",
        version="0",
        licence="Apache-2.0",
        base_model=None,
        languages=("en",),
        max_pixels=128 * 128,
        prompts=("rate.v1",),
        training_data=(),
        recipe="random weights",
        results={},
        interval=IntervalCard(coverage=0.8, multiplier=0.5, calibrated_on="nothing"),
        sha256={"model.safetensors": sha256_of(folder / "model.safetensors")},
    )
    write_card(folder, card)
    return folder


@pytest.fixture(scope="session")
def serve_app() -> Iterator[Callable[[Any], str]]:
    """Runs applications under uvicorn on loopback until the session ends; gives each one's URL."""
    import threading
    import time

    import uvicorn

    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(app: Any) -> str:
        server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, daemon=True)
        running.append((server, thread))
        thread.start()
        deadline = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive() and time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)
        return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"

    yield start
    for server, _ in running:
        server.should_exit = True
    for _, thread in running:
        thread.join(timeout=60)
