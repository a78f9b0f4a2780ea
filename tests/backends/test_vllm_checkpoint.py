"""What vLLM must be told about adapters, and LLaVA checkpoints under the names it knows; needs no vLLM."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from mllm_iqa.backends.vllm_checkpoint import AdapterNeeds, adapter_needs, renamed_for_vllm
from mllm_iqa.child_processes import torchvision_for_children
from mllm_iqa.errors import CheckpointError

LANGUAGE = "base_model.model.model.language_model.layers.0.self_attn.q_proj"
TOWER = "base_model.model.model.visual.blocks.0.attn.qkv"


def adapter(folder: Path, *modules: str, extra: tuple[str, ...] = (), **config: Any) -> Path:
    settings = {"base_model_name_or_path": "nano", "peft_type": "LORA", "r": 4, **config}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    names = [f"{module}.lora_{side}.weight" for module in modules for side in "AB"]
    save_file({name: np.zeros(1, np.float32) for name in (*names, *extra)}, folder / "adapter_model.safetensors")
    return folder


def test_a_language_adapter(tmp_path: Path) -> None:
    assert adapter_needs(adapter(tmp_path, LANGUAGE)) == AdapterNeeds("nano", 8, False)


def test_an_adapter_of_the_vision_side_and_mixed_ranks(tmp_path: Path) -> None:
    folder = adapter(tmp_path, LANGUAGE, TOWER, r=16, rank_pattern={"qkv": 40})
    assert adapter_needs(folder) == AdapterNeeds("nano", 64, True)


@pytest.mark.parametrize(
    ("config", "extra", "said"),
    [
        ({"use_dora": True}, (), "this is DoRA; merge it"),
        ({"bias": "all"}, (), "this is LORA with bias 'all'; merge it"),
        ({"peft_type": "LOHA"}, (), "this is LOHA"),
        ({"r": 1024}, (), "its rank 1024 is beyond vLLM's 512"),
        ({}, ("base_model.model.lm_head.weight",), "it holds base_model.model.lm_head.weight, which vLLM would ignore"),
    ],
)
def test_what_vllm_would_apply_in_part_is_refused(
    tmp_path: Path, config: dict[str, Any], extra: tuple[str, ...], said: str
) -> None:
    with pytest.raises(CheckpointError, match=said):
        adapter_needs(adapter(tmp_path, LANGUAGE, extra=extra, **config))


def test_an_adapter_without_weights_is_refused(tmp_path: Path) -> None:
    (adapter(tmp_path, LANGUAGE) / "adapter_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no adapter_model\.safetensors that can be read"):
        adapter_needs(tmp_path)


def llava(folder: Path, names: list[str]) -> Path:
    (folder / "config.json").write_text('{"model_type": "llava"}')
    (folder / "tokenizer.json").write_text("{}")
    half = len(names) // 2
    for n, part in enumerate((names[:half], names[half:]), start=1):
        tensors = {name: np.arange(5.0, dtype=np.float32) + len(name) for name in part}
        save_file(tensors, folder / f"model-{n}.safetensors", metadata={"format": "pt"})
    weight_map = {name: f"model-{1 + (i >= half)}.safetensors" for i, name in enumerate(names)}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return folder


def test_a_llava_is_copied_under_the_names_that_vllm_knows(tmp_path: Path) -> None:
    names = ["vision_tower.embeddings.w", "language_model.model.x", "vision_tower.encoder.layers.0.w", "lm_head.weight"]
    source = llava(tmp_path, names)
    copy = renamed_for_vllm(str(source))
    assert copy is not None
    with copy:
        found: dict[str, np.ndarray] = {}
        for file in sorted(Path(copy.name).glob("*.safetensors")):
            found |= load_file(file)
        known = [name.replace("vision_tower.", "vision_tower.vision_model.") for name in names]
        assert sorted(found) == sorted(known)
        for old, new in zip(names, known, strict=True):
            np.testing.assert_array_equal(found[new], np.arange(5.0) + len(old))
        index = json.loads(Path(copy.name, "model.safetensors.index.json").read_text())
        assert sorted(index["weight_map"]) == sorted(known)
        assert Path(copy.name, "tokenizer.json").read_text() == "{}"
        assert renamed_for_vllm(copy.name) is None
    assert not Path(copy.name).exists()


def test_other_checkpoints_are_left_alone(tmp_path: Path) -> None:
    source = llava(tmp_path, ["vision_tower.vision_model.embeddings.w", "lm_head.weight"])
    assert renamed_for_vllm(str(source)) is None
    assert renamed_for_vllm("owner/name") is None
    (source / "config.json").write_text('{"model_type": "qwen3_vl"}')
    assert renamed_for_vllm(str(source)) is None


SAYS = "import sys; print(any(type(f).__name__ == '_Declaring' for f in sys.meta_path), 'site' in sys.modules)"


def test_processes_started_within_can_import_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def child() -> list[str]:
        return subprocess.run([sys.executable, "-c", SAYS], capture_output=True, text=True, check=True).stdout.split()

    monkeypatch.delenv("PYTHONPATH", raising=False)
    with torchvision_for_children():
        assert child() == ["True", "True"]
    assert child()[0] == "False" and "PYTHONPATH" not in os.environ
    # Another sitecustomize on the path still runs.
    (tmp_path / "sitecustomize.py").write_text("print('mine')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with torchvision_for_children():
        assert child() == ["mine", "True", "True"]
    assert os.environ["PYTHONPATH"] == str(tmp_path)
