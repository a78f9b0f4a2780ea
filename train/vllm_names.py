"""The names under which vLLM reads the vision tower of a LLaVA.

transformers 5 saves a CLIP or SigLIP tower as `vision_tower.embeddings...`, vLLM 0.32 wants
`vision_tower.vision_model.embeddings...`, as older versions of transformers saved it; transformers reads both.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

from mllm_iqa.output_file import replaced_at_end

_MODELS = ("llava", "llava_next", "llava_onevision", "cohere2_vision")
_TOWERS = ("clip_vision_model", "siglip_vision_model")


def name_as_vllm_reads(folder: Path) -> None:
    """Rename the tower's weights in a saved checkpoint; does nothing to other models, or the second time.

    Args:
        folder: with `config.json` and safetensors, one file or several with their index.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tower = config.get("vision_config") or {}
    if config.get("model_type") not in _MODELS or tower.get("model_type") not in _TOWERS:
        return
    changed = False
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as shard:
            names = list(shard.keys())
            if names == [_renamed(name) for name in names]:
                continue
            changed, tensors = True, {_renamed(name): shard.get_tensor(name) for name in names}
            metadata = shard.metadata()
        save_file(tensors, path.with_suffix(".renamed"), metadata=metadata)
        os.replace(path.with_suffix(".renamed"), path)
    index = folder / "model.safetensors.index.json"
    if changed and index.is_file():
        listing = json.loads(index.read_text(encoding="utf-8"))
        listing["weight_map"] = {_renamed(name): file for name, file in listing["weight_map"].items()}
        with replaced_at_end(index) as file:
            file.write((json.dumps(listing, indent=2) + "\n").encode())


def _renamed(name: str) -> str:
    before, found, after = name.partition("vision_tower.")
    return name if not found or after.startswith("vision_model.") else f"{before}{found}vision_model.{after}"
