"""Where and how a model is loaded: precision, bits, attention, over several devices, compiled; and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mllm_iqa.backends.base import Conversation
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.errors import CheckpointError, ConfigError, MissingDependencyError
from mllm_iqa.images import load_image
from mllm_iqa.levels import LEVELS
from mllm_iqa.transformers_options import TransformersOptions

WORDS = [f" {level}" for level in LEVELS]
SHOWN = load_image(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8))
ASKED = [Conversation.ask([SHOWN], "How good?", "It is")]


def read(folder: Path, device: str = "cpu", **options: object) -> np.ndarray:
    backend = HuggingFaceBackend.load(str(folder), device=device, options=TransformersOptions(**options))  # type: ignore[arg-type]
    first = backend.continuation_logprobs(ASKED, WORDS)[0]
    backend.generate([ASKED[0].continued(" good.")], max_new_tokens=3)
    return first


@pytest.fixture(scope="session")
def expected(tiny_checkpoint: Path) -> np.ndarray:
    return read(tiny_checkpoint)


def test_a_model_split_over_what_there_is_gives_the_same(tiny_checkpoint: Path, expected: np.ndarray) -> None:
    np.testing.assert_allclose(read(tiny_checkpoint, "split"), expected, atol=1e-4)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_every_way_to_attend_gives_the_same(tiny_checkpoint: Path, expected: np.ndarray, attention: str) -> None:
    np.testing.assert_allclose(read(tiny_checkpoint, attention=attention), expected, atol=1e-4)


def test_an_attention_that_is_not_installed_is_one_sentence(tiny_checkpoint: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^[^\n]*not a checkpoint transformers can load: [^\n]+$"):
        read(tiny_checkpoint, attention="flash_attention_9")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in torch's own compiler
def test_a_compiled_model_gives_the_same(tiny: Callable[[str], Path]) -> None:
    np.testing.assert_allclose(read(tiny("llava"), compile=True), read(tiny("llava")), atol=1e-4)


def test_an_unknown_number_of_bits_is_refused(tiny_checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="quantize is one of 8bit, 4bit, got '3bit'"):
        read(tiny_checkpoint, quantize="3bit")


@pytest.mark.parametrize(
    ("module", "extra", "device", "options"),
    [("bitsandbytes", "quantize", "cpu", {"quantize": "4bit"}), ("accelerate", "train", "split", {})],
)
def test_a_package_that_is_lacking_is_named_with_its_extra(
    tiny_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    extra: str,
    device: str,
    options: dict[str, str],
) -> None:
    from mllm_iqa.backends import loading

    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(loading, "import_module", absent)
    with pytest.raises(MissingDependencyError, match=rf"needs {module}; install it .*mllm-iqa\[{extra}\]"):
        read(tiny_checkpoint, device, **options)
