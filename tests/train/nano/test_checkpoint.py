"""A written nano: what lies in the folder, and that transformers and the library read the same model back."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mllm_iqa.train.nano.checkpoint import PROMPTS, write_checkpoint
from mllm_iqa.train.nano.instruct import render
from mllm_iqa.train.nano.model import build_nano
from transformers import (
    AutoImageProcessor,
    AutoModelForImageTextToText,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    Qwen3VLForConditionalGeneration,
)

from mllm_iqa import Assistant
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.checkpoints import read_card, sha256_of, verify
from mllm_iqa.errors import CheckpointError
from mllm_iqa.fast_vision import grid_of, patchify
from mllm_iqa.prompt_files import load_prompt

MAX_PIXELS = 128 * 128


@pytest.fixture(scope="module")
def model(nano_tokenizer: PreTrainedTokenizerFast) -> Qwen3VLForConditionalGeneration:
    torch.manual_seed(1)
    return build_nano(nano_tokenizer).eval()


@pytest.fixture(scope="module")
def folder(
    model: Qwen3VLForConditionalGeneration,
    nano_tokenizer: PreTrainedTokenizerFast,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    out = tmp_path_factory.mktemp("checkpoint") / "new" / "nano"
    assert (
        write_checkpoint(
            model, nano_tokenizer, out, name="tiny", version="7", max_pixels=MAX_PIXELS, recipe="a test, untrained"
        )
        == out
    )
    return out


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)


def test_the_folder_holds_one_weight_file_and_nothing_that_runs(folder: Path) -> None:
    names = {p.name for p in folder.iterdir()}
    assert {n for n in names if n.endswith(".safetensors")} == {"model.safetensors"}
    assert {Path(n).suffix for n in names} <= {".safetensors", ".json", ".jinja"}
    assert {"config.json", "tokenizer.json", "preprocessor_config.json", "processor_config.json", "card.json"} <= names


def test_weights_take_two_bytes_each(folder: Path, model: Qwen3VLForConditionalGeneration) -> None:
    # Tied weights are parameters once. Beside them only a header of names, about 100 bytes for a tensor.
    count = sum(p.numel() for p in model.parameters())
    size = (folder / "model.safetensors").stat().st_size
    assert 2 * count < size < 2 * count + 50_000
    # It ships inside the package (DESIGN.md, section 7: 5 to 15 million parameters).
    assert size < 30e6


def test_the_model_in_memory_stays_as_it_was(folder: Path, model: Qwen3VLForConditionalGeneration) -> None:
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert str(model.config.dtype).removeprefix("torch.") == "float32"
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_transformers_reads_every_weight_back_rounded_to_half(
    folder: Path, model: Qwen3VLForConditionalGeneration
) -> None:
    again = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    assert type(again) is type(model)
    assert again.lm_head.weight.data_ptr() == again.get_input_embeddings().weight.data_ptr()
    there = again.state_dict()
    assert set(there) == set(model.state_dict())
    for name, value in model.state_dict().items():
        assert torch.equal(there[name], value.half().float()), name


def test_transformers_reads_half_precision_by_default(folder: Path) -> None:
    assert json.loads((folder / "config.json").read_text("utf8"))["dtype"] == "float16"
    assert AutoModelForImageTextToText.from_pretrained(folder, dtype="auto").dtype == torch.float16


def test_tokenizer_and_template_are_read_back(folder: Path, nano_tokenizer: PreTrainedTokenizerFast) -> None:
    again = AutoTokenizer.from_pretrained(folder)
    for text in ("The quality of the image is excellent.", "图像 é <|im_end|>"):
        assert again.encode(text, add_special_tokens=False) == nano_tokenizer.encode(text, add_special_tokens=False)
    assert again.chat_template == nano_tokenizer.chat_template
    assert (again.eos_token_id, again.pad_token_id) == (nano_tokenizer.eos_token_id, nano_tokenizer.pad_token_id)


def test_the_image_processor_makes_the_patches_of_training(folder: Path, picture: np.ndarray) -> None:
    made = AutoImageProcessor.from_pretrained(folder, backend="pil")(picture, do_resize=False, return_tensors="pt")
    torch.testing.assert_close(made["pixel_values"], patchify(picture[None]), atol=1e-5, rtol=0)
    assert made["image_grid_thw"].tolist() == grid_of(picture[None]).tolist()


def test_the_library_scores_as_the_model_in_memory_does(
    folder: Path, model: Qwen3VLForConditionalGeneration, nano_tokenizer: PreTrainedTokenizerFast, picture: np.ndarray
) -> None:
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    original = HuggingFaceBackend(model, nano_tokenizer, processor, name="in memory", card=None)
    direct = Assistant(original).score(picture, explain=False)
    loaded = Assistant.load(str(folder), device="cpu").score(picture, explain=False)
    assert loaded.model == "tiny 7"
    # Half precision keeps 11 bits: a weight moves by up to 1 in 2048, a score by far less than that times 5.
    assert loaded.mos == pytest.approx(direct.mos, abs=2e-3)
    assert loaded.levels == pytest.approx(direct.levels, abs=1e-3)
    assert loaded.outside_mass == pytest.approx(direct.outside_mass, abs=1e-3)
    # Random weights know nothing of level words.
    assert loaded.outside_mass > 0.5


def test_the_card_says_what_it_is(folder: Path) -> None:
    card = read_card(folder)
    assert card is not None
    assert (card.name, card.version, card.max_pixels) == ("tiny", "7", MAX_PIXELS)
    assert (card.recipe, card.results, card.interval, card.languages) == ("a test, untrained", {}, None, ("en",))
    assert card.prompts == PROMPTS
    assert all(load_prompt(name).name == name for name in card.prompts)
    assert card.training_data
    assert "research" in card.licence


def test_the_budget_of_the_card_bounds_what_is_judged(folder: Path) -> None:
    assistant = Assistant.load(str(folder), device="cpu")
    assert assistant.max_pixels == MAX_PIXELS
    info = assistant.score(np.zeros((300, 200, 3), np.uint8), explain=False).image
    assert info.judged_width * info.judged_height <= MAX_PIXELS


def test_other_weights_than_the_card_speaks_of_are_refused(folder: Path, tmp_path: Path) -> None:
    card = read_card(folder)
    assert card is not None
    assert card.sha256 == {"model.safetensors": sha256_of(folder / "model.safetensors")}
    verify(folder, card)

    for path in folder.iterdir():
        if path.name != "model.safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(CheckpointError, match=r"model\.safetensors: missing; the checkpoint is incomplete"):
        Assistant.load(str(tmp_path))
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match=r"model\.safetensors: sha256 .* differs from the card's"):
        Assistant.load(str(tmp_path))


def test_two_writes_are_the_same_bytes(
    folder: Path, model: Qwen3VLForConditionalGeneration, nano_tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    write_checkpoint(
        model, nano_tokenizer, tmp_path, name="tiny", version="7", max_pixels=MAX_PIXELS, recipe="a test, untrained"
    )
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.torchvision  # the processor of this family needs it for videos
def test_the_stock_processor_asks_as_training_did(folder: Path, picture: np.ndarray) -> None:
    processor = AutoProcessor.from_pretrained(folder)
    content = [{"type": "image"}, {"type": "text", "text": "How?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    made = processor(text=[text], images=[picture], return_tensors="pt")
    # 64 x 96 px are 2 x 3 squares of 32 px, a token each.
    assert processor.tokenizer.decode(made["input_ids"][0]) == render("How?", 1, 6)
    assert made["image_grid_thw"].tolist() == grid_of(picture[None]).tolist()
