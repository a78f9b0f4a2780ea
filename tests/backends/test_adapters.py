"""LoRA adapters beside one model: switched, merged, refused, and forgotten by the caches."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForImageTextToText

from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.base import Conversation
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.checkpoints import Card, IntervalCard, sha256_of, write_card
from mllm_iqa.errors import BackendError, CheckpointError
from mllm_iqa.images import load_image
from mllm_iqa.levels import LEVELS
from mllm_iqa.transformers_options import TransformersOptions

WORDS = [f" {level}" for level in LEVELS]
TOLERANCE = 1e-4  # float32; a merged weight rounds once more
ASKED = [
    Conversation.ask(
        [load_image(np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8))], "How good?", "It is"
    )
]


@pytest.fixture(scope="session")
def adapter(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a random adapter of that name; "sharp" changes the vision tower too."""
    folder = tmp_path_factory.mktemp("adapters")

    def made(name: str) -> Path:
        if (folder / name).exists():
            return folder / name
        model = AutoModelForImageTextToText.from_pretrained(tiny_checkpoint)
        targets = ["q_proj", "v_proj"] + (["attn.qkv"] if name == "sharp" else [])
        wrapped = get_peft_model(model, LoraConfig(r=4, lora_alpha=32, target_modules=targets))
        torch.manual_seed(len(name))
        for key, weight in wrapped.named_parameters():
            if "lora_" in key:
                torch.nn.init.normal_(weight, std=0.3)
        wrapped.peft_config["default"].base_model_name_or_path = str(tiny_checkpoint)
        wrapped.save_pretrained(folder / name)
        return folder / name

    return made


@pytest.fixture
def backend(tiny_checkpoint: Path, adapter: Callable[[str], Path]) -> HuggingFaceBackend:
    options = TransformersOptions(adapters=(str(adapter("sharp")), str(adapter("warm"))))
    return HuggingFaceBackend.load(str(tiny_checkpoint), device="cpu", options=options)


def read(backend: HuggingFaceBackend) -> np.ndarray:
    return backend.continuation_logprobs(ASKED, WORDS)[0]


def merged(folder: Path) -> np.ndarray:
    """What peft's own merging of the adapter gives."""
    return read(HuggingFaceBackend.load(str(folder), device="cpu"))


def test_adapters_are_switched_and_the_caches_forget(
    backend: HuggingFaceBackend, tiny_checkpoint: Path, adapter: Callable[[str], Path]
) -> None:
    expected = {
        "sharp": merged(adapter("sharp")),
        "warm": merged(adapter("warm")),
        None: read(HuggingFaceBackend.load(str(tiny_checkpoint), device="cpu")),
    }
    assert np.abs(expected["sharp"] - expected["warm"]).max() > 0.05
    assert np.abs(expected["sharp"] - expected[None]).max() > 0.05
    assert (backend.adapters, backend.adapter, backend.name) == (("sharp", "warm"), "sharp", "tiny 0 + sharp")
    for name in ("sharp", "warm", None, "sharp", None, "warm"):
        backend.use_adapter(name)
        assert backend.adapter == name
        np.testing.assert_allclose(read(backend), expected[name], atol=TOLERANCE)
    assert backend.name == "tiny 0 + warm"


def test_an_adapter_that_is_added_later_changes_nothing_until_it_is_used(
    tiny_checkpoint: Path, adapter: Callable[[str], Path]
) -> None:
    backend = HuggingFaceBackend.load(str(tiny_checkpoint), device="cpu")
    before = read(backend)
    assert backend.add_adapter(str(adapter("warm")), "v1.2") == "v1-2"
    backend.forget()
    np.testing.assert_allclose(read(backend), before, atol=TOLERANCE)
    backend.use_adapter("v1-2")
    np.testing.assert_allclose(read(backend), merged(adapter("warm")), atol=TOLERANCE)


def test_the_adapter_in_use_is_merged_and_the_others_are_gone(
    backend: HuggingFaceBackend, adapter: Callable[[str], Path]
) -> None:
    backend.use_adapter("warm")
    backend.merge_adapter()
    assert (backend.adapters, backend.adapter, backend.name) == ((), None, "tiny 0 + warm")
    assert not [name for name, _ in backend.model.named_parameters() if "lora_" in name]
    np.testing.assert_allclose(read(backend), merged(adapter("warm")), atol=TOLERANCE)
    with pytest.raises(CheckpointError, match="no adapter is in use"):
        backend.merge_adapter()


def test_a_switch_in_the_middle_of_an_answer_ends_it(backend: HuggingFaceBackend) -> None:
    pieces = backend.stream(ASKED[0], max_new_tokens=20)
    next(pieces)
    backend.use_adapter("warm")
    with pytest.raises(BackendError, match="the model was changed while it was answering; ask again"):
        list(pieces)


def test_the_assistant_takes_the_interval_of_the_adapter_in_use(
    tiny_checkpoint: Path, adapter: Callable[[str], Path], tmp_path: Path, blank_card: Card
) -> None:
    folder = tmp_path / "calibrated"
    shutil.copytree(adapter("warm"), folder)
    card = blank_card.model_copy(
        update={
            "name": "warm",
            "max_pixels": 128 * 128,
            "interval": IntervalCard(coverage=0.7, multiplier=0.1, calibrated_on="my own"),
            "sha256": {"adapter_model.safetensors": sha256_of(folder / "adapter_model.safetensors")},
        }
    )
    write_card(folder, card)
    options = TransformersOptions(adapters=(str(folder),))
    assistant = Assistant.load(str(tiny_checkpoint), device="cpu", options=options)
    pixels = ASKED[0].pictures[0].pixels
    score = assistant.score(pixels, explain=False)
    assert score.interval is not None
    assert (score.interval.source, score.model) == ("my own", "warm 1")
    assistant.use_adapter(None)
    score = assistant.score(pixels, explain=False)
    assert score.interval is not None
    assert (score.interval.source, score.model) == ("nothing", "tiny 0")
    with pytest.raises(BackendError, match="does not switch adapters"):
        Assistant.load("fake").use_adapter(None)


def test_what_does_not_belong_is_refused(
    backend: HuggingFaceBackend, tiny_checkpoint: Path, adapter: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="no adapter named 'cold' is loaded; there are: 'sharp', 'warm'"):
        backend.use_adapter("cold")
    with pytest.raises(CheckpointError, match="there is an adapter named 'warm' already"):
        backend.add_adapter(str(adapter("warm")))
    with pytest.raises(CheckpointError, match=r"is not an adapter \(it has no adapter_config\.json\)"):
        backend.add_adapter(str(tiny_checkpoint))
    pickled = tmp_path / "pickled"
    shutil.copytree(adapter("warm"), pickled)
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    for load in (backend.add_adapter, HuggingFaceBackend.load):
        with pytest.raises(CheckpointError, match=r"has no adapter_model\.safetensors, and pickled weights are never"):
            load(str(pickled))
    np.testing.assert_allclose(read(backend), merged(adapter("sharp")), atol=TOLERANCE)


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_an_adapter_stays_beside_quantized_weights(
    bits: str, tiny_checkpoint: Path, adapter: Callable[[str], Path]
) -> None:
    options = TransformersOptions(quantize=bits)
    whole = HuggingFaceBackend.load(str(tiny_checkpoint), device="cpu", options=options)
    assert [
        type(m).__name__
        for m in whole.model.modules()
        if type(m).__name__.startswith("Linear4") or "8bit" in type(m).__name__
    ]
    exact = read(HuggingFaceBackend.load(str(tiny_checkpoint), device="cpu"))
    # Random weights have outliers in no column, so even 4 bits stay near.
    assert np.abs(np.exp(read(whole)) - np.exp(exact)).max() < 0.1
    tuned = HuggingFaceBackend.load(str(adapter("warm")), device="cpu", options=options)
    assert tuned.adapter == "warm"
    with pytest.raises(BackendError, match="its weights are quantized; merge the adapter into unquantized ones"):
        tuned.merge_adapter()
    assert np.abs(np.exp(read(tuned)) - np.exp(merged(adapter("warm")))).max() < 0.1
