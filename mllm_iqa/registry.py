"""Models by name: what can be used, where it comes from, how it is asked and how it answers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .errors import CheckpointError

NANO = Path(__file__).parent / "models" / "nano"

AnswerStyle = Literal["levels", "number"]
"""How a model is read: the probabilities of five level words, or a number it writes after its reasoning."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that has a name here.

    Attributes:
        name: what to pass as `model`.
        source: directory or hub id; revision: of the hub repository, a commit where it is known (None = not from a
            hub); subfolder: of the repository, "" = its root.
        licence: of the weights, as their page says; parameters: how many, for people.
        can: of "score", "explain", "compare", "chat", and "video" = judge several frames of a video at once.
        note: one sentence on what to expect.
        prompt: what it is asked for a rating; answer: how that is read.
        answer_tokens: how many tokens a written answer may take, reasoning included; 0 where none is written.
    """

    name: str
    source: str
    revision: str | None
    licence: str
    parameters: str
    can: tuple[str, ...]
    note: str
    prompt: str = "rate.v1"
    answer: AnswerStyle = "levels"
    answer_tokens: int = 0
    subfolder: str = ""


ALL = ("score", "explain", "compare", "chat")

_PICTURES_ALONE = ("smolvlm-500m",)  # not made for the frames of videos
_UNTUNED = "not tuned for image quality; its findings are guesses"


def _realign(size: str, parameters: str, revision: str, pinned: str) -> ModelEntry:
    return ModelEntry(
        f"q-realign-{size.lower()}",
        f"q-future/Q-ReAlign-{size}-{parameters.replace(' ', '')}",
        revision,
        "Apache-2.0",
        parameters,
        ("score",),
        f"Qwen3.5 tuned on KonIQ, SPAQ, KADID, AGIQA, AVA and LSVQ for scores alone; {pinned}.",
    )


def _plain(name: str, source: str, licence: str, parameters: str, more: str = "") -> ModelEntry:
    can = ALL if name in _PICTURES_ALONE else (*ALL, "video")
    return ModelEntry(name, source, "main", licence, parameters, can, f"Zero-shot: {_UNTUNED}{more}.")


_ENTRIES = (
    ModelEntry(
        "nano",
        str(NANO),
        None,
        "research use (trained on BIQ2021 and BSDS500); code Apache-2.0",
        "13 M",
        ALL,
        "Ships in the package; works offline on a CPU.",
    ),
    ModelEntry("fake", "(no weights)", None, "Apache-2.0", "0", ALL, "For testing pipelines: results mean nothing."),
    _realign("Mini", "0.8 B", "fe1f45a7574c9e9d908875af9f7e90cb946aa19f", "pinned to one commit"),
    _realign("Lite", "4 B", "main", "its revision moves"),
    _realign("Pro", "9 B", "main", "its revision moves"),
    ModelEntry(
        "q-sit",
        "zhangzicheng/q-sit",
        "main",
        "see its page",
        "8 B",
        ("score", "chat"),
        "LLaVA-OneVision tuned to score and to answer questions on quality; published for transformers 4.45, so "
        "compare a few scores with its page; its revision moves.",
        prompt="rate_qsit.v1",
    ),
    ModelEntry(
        "q-sit-mini",
        "zhangzicheng/q-sit-mini",
        "198f645ecbebd113041aa66fb973a1055d6a8c0d",
        "see its page",
        "0.9 B",
        ("score", "chat"),
        "The small Q-SiT; published for transformers 4.45, so compare a few scores with its page; pinned to a commit.",
        prompt="rate_qsit.v1",
    ),
    ModelEntry(
        "visualquality-r1",
        "TianheWu/VisualQuality-R1-7B",
        "main",
        "MIT",
        "8 B",
        ("score", "explain", "chat"),
        "Qwen2.5-VL that reasons, then writes a number; read greedily, where its authors sample; its revision moves.",
        prompt="rate_visualquality.v1",
        answer="number",
        answer_tokens=2048,
    ),
    ModelEntry(
        "q-insight",
        "ByteDance/Q-Insight",
        "main",
        "Apache-2.0",
        "8 B",
        ("score", "explain", "chat"),
        "Qwen2.5-VL that reasons, then writes a number; read greedily, where its authors sample, and shown the picture "
        "before the question, where they show it after; its revision moves.",
        prompt="rate_qinsight.v1",
        answer="number",
        answer_tokens=1024,
        subfolder="score_degradation",
    ),
    _plain("qwen3-vl-2b", "Qwen/Qwen3-VL-2B-Instruct", "Apache-2.0", "2 B"),
    _plain("qwen3-vl-4b", "Qwen/Qwen3-VL-4B-Instruct", "Apache-2.0", "4 B"),
    _plain("qwen3-vl-8b", "Qwen/Qwen3-VL-8B-Instruct", "Apache-2.0", "9 B"),
    _plain("qwen2.5-vl-3b", "Qwen/Qwen2.5-VL-3B-Instruct", "Qwen Research License (non-commercial)", "4 B"),
    _plain("qwen2.5-vl-7b", "Qwen/Qwen2.5-VL-7B-Instruct", "Apache-2.0", "8 B"),
    _plain("internvl3-1b", "OpenGVLab/InternVL3-1B-hf", "see its page", "1 B"),
    _plain("internvl3-8b", "OpenGVLab/InternVL3-8B-hf", "see its page", "8 B"),
    _plain("llava-onevision-0.5b", "llava-hf/llava-onevision-qwen2-0.5b-ov-hf", "Apache-2.0", "0.9 B"),
    _plain("llava-onevision-7b", "llava-hf/llava-onevision-qwen2-7b-ov-hf", "Apache-2.0", "8 B"),
    _plain("smolvlm-500m", "HuggingFaceTB/SmolVLM-500M-Instruct", "Apache-2.0", "0.5 B"),
    _plain("smolvlm2-2.2b", "HuggingFaceTB/SmolVLM2-2.2B-Instruct", "Apache-2.0", "2.2 B"),
)

MODELS: dict[str, ModelEntry] = {entry.name: entry for entry in _ENTRIES}


def entry_of(model: str) -> ModelEntry | None:
    """The entry of a name, or of the hub id that a name stands for, whatever its revision; None if there is none."""
    if model in MODELS:
        return MODELS[model]
    source = model.partition("@")[0]
    return next((entry for entry in _ENTRIES if entry.revision is not None and entry.source == source), None)


def resolve(model: str) -> str:
    """Directory or hub id behind a registry name; anything else is taken as a directory or hub id itself.

    A hub id may end in `@` and a branch, tag or commit.

    Raises:
        CheckpointError: a path that does not exist, or a word that is neither a name here nor a hub id.
    """
    if model in MODELS:
        return MODELS[model].source
    if os.path.isdir(model):
        return model
    if model.startswith((".", "/", "~")) or "/" not in model:
        known = ", ".join(MODELS)
        raise CheckpointError(f"no model named {model!r}: not a directory, not one of {known}, not a hub id owner/name")
    return model
