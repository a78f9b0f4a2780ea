"""What the modules of an image-text model are for, told by their dotted names in any architecture."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, TypeAlias

Component: TypeAlias = Literal["language", "projector", "vision"]
Target: TypeAlias = Literal["language attention", "language mlp", "projector", "vision"]
Part: TypeAlias = Literal[
    "vision", "projector", "language attention", "language mlp", "language norms", "embeddings", "output layer", "other"
]
"""The finest that is told apart; "other" is what belongs to no component, such as LLaVA-NeXT's end of a row."""

_PROJECTOR = {"merger", "deepstack_merger_list", "multi_modal_projector", "connector"}
_VISION = {"visual", "vision_tower", "vision_model"}
_LANGUAGE = {"language_model", "text_model"}
_ATTENTION = {"self_attn", "linear_attn", "attn", "attention"}
_MLP = {"mlp", "feed_forward"}

LANGUAGE: frozenset[Part] = frozenset(
    ("language attention", "language mlp", "language norms", "embeddings", "output layer")
)


def part_of(name: str) -> Part:
    """The part that a parameter or module of this dotted name belongs to.

    A projector may lie within the vision tower (Qwen's merger): it is a projector all the same.
    """
    segments = set(name.split("."))
    if segments & _PROJECTOR:
        return "projector"
    if segments & _VISION:
        return "vision"
    if "lm_head" in segments:
        return "output layer"
    if not segments & _LANGUAGE:
        return "other"
    if "embed_tokens" in segments:
        return "embeddings"
    if segments & _ATTENTION:
        return "language attention"
    return "language mlp" if segments & _MLP else "language norms"


def parts_named(names: Collection[str]) -> frozenset[Part]:
    """Parts behind a recipe's words: "language" stands for all of the language model, the rest for themselves."""
    named: tuple[Part, ...] = ("language attention", "language mlp", "projector", "vision")
    return frozenset(part for part in named if part in names) | (LANGUAGE if "language" in names else frozenset())
