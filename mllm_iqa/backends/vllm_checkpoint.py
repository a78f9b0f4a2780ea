"""What vLLM must be told about a checkpoint or an adapter, and what it could not load as it is."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from safetensors import SafetensorError, safe_open

from ..adapters import CONFIG, base_of
from ..errors import CheckpointError

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # those vLLM has kernels for
_LLAVAS = ("llava", "llava_next", "llava_onevision", "vipllava")
_TOWER_NAME = re.compile(r"^((?:model\.)?vision_tower\.)(?!vision_model\.)")
_LANGUAGE = re.compile(r"\.(language_model|text_model)\.")


@dataclass(frozen=True, slots=True)
class AdapterNeeds:
    """What an adapter asks of vLLM.

    Attributes:
        base: the model it belongs to, as it names it.
        max_rank: the smallest rank vLLM has that holds the adapter's.
        touches_tower: whether it changes anything but the language model.
    """

    base: str
    max_rank: int
    touches_tower: bool


def adapter_needs(folder: Path) -> AdapterNeeds:
    """Read an adapter's needs from its configuration and the names of its weights.

    Raises:
        CheckpointError: an adapter that vLLM would apply in part or not at all; the sentence says what to do.
    """
    base = base_of(folder)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    merge = "; merge it into its base model first, or use the transformers engine"
    try:
        with safe_open(folder / "adapter_model.safetensors", "np") as weights:
            names = list(weights.keys())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: no adapter_model.safetensors that can be read: {error}") from error
    kind = str(config.get("peft_type", "LORA")).upper()
    if kind != "LORA" or config.get("use_dora") or config.get("bias", "none") != "none":
        what = "DoRA" if config.get("use_dora") else f"{kind} with bias {config.get('bias', 'none')!r}"
        raise CheckpointError(f"{folder}: vLLM takes plain LoRA adapters, and this is {what}{merge}")
    whole = next((name for name in names if ".lora_A." not in name and ".lora_B." not in name), None)
    if whole is not None:
        raise CheckpointError(f"{folder}: it holds {whole}, which vLLM would ignore{merge}")
    rank = max([int(config.get("r", 8)), *map(int, (config.get("rank_pattern") or {}).values())])
    fitting = next((known for known in _RANKS if known >= rank), None)
    if fitting is None:
        raise CheckpointError(f"{folder}: its rank {rank} is beyond vLLM's {_RANKS[-1]}{merge}")
    return AdapterNeeds(base, fitting, any(not _LANGUAGE.search(name) for name in names))


def renamed_for_vllm(source: str) -> TemporaryDirectory[str] | None:
    """A copy of a LLaVA checkpoint under the weight names that vLLM knows; None where it knows them already.

    transformers 5 saves the vision tower as `vision_tower.embeddings...`; vLLM 0.32 and all published checkpoints have
    `vision_tower.vision_model.embeddings...`. Only the headers of the weight files change; their numbers are copied.

    Args:
        source: a directory; a hub id is left to vLLM.
    """
    folder = Path(source)
    if not (folder / "config.json").is_file():
        return None
    if json.loads((folder / "config.json").read_text("utf-8")).get("model_type") not in _LLAVAS:
        return None
    files = sorted(folder.glob("*.safetensors"))
    if not any(_TOWER_NAME.match(name) for file in files for name in _header(file)[0]):
        return None
    copy: TemporaryDirectory[str] = TemporaryDirectory(prefix="mllm-iqa-llava-")
    for path in folder.iterdir():
        target = Path(copy.name, path.name)
        if path.suffix == ".safetensors":
            _copy_renamed(path, target)
        elif path.name.endswith(".safetensors.index.json"):
            index = json.loads(path.read_text("utf-8"))
            index["weight_map"] = {_known(name): file for name, file in index["weight_map"].items()}
            target.write_text(json.dumps(index), "utf-8")
        elif path.is_file():
            shutil.copyfile(path, target)
    return copy


def _known(name: str) -> str:
    return _TOWER_NAME.sub(r"\1vision_model.", name)


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and where its numbers begin."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > min(100_000_000, os.path.getsize(path)):
            raise CheckpointError(f"{path}: not a safetensors file")
        try:
            header: dict[str, Any] = json.loads(file.read(size))
        except ValueError as error:
            raise CheckpointError(f"{path}: not a safetensors file") from error
    return header, 8 + size


def _copy_renamed(source: Path, target: Path) -> None:
    header, start = _header(source)
    text = json.dumps({_known(name): entry for name, entry in header.items()}).encode()
    text += b" " * (-len(text) % 8)
    with source.open("rb") as old, target.open("wb") as new:
        old.seek(start)
        new.write(len(text).to_bytes(8, "little") + text)
        shutil.copyfileobj(old, new, 16 * 2**20)
