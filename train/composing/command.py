"""`mllm-iqa train compose`: write a composed model as a checkpoint that transformers and vLLM load."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mllm_iqa.checkpoints import Card, sha256_of, write_card
from mllm_iqa.errors import ConfigError

from ..vllm_names import name_as_vllm_reads
from .compose import Composed, compose, family_of, picture_tokens
from .language_model import load_language_model
from .open_clip_tower import Tower, load_tower

app = typer.Typer(add_completion=False, rich_markup_mode=None)


class ProjectorName(StrEnum):
    """How the tower's patches become tokens of the language model."""

    mlp = "mlp"
    shuffle = "shuffle"


@app.command()
def run(
    output: Annotated[Path, typer.Argument(help="Folder to write; must not exist yet, or be empty.")],
    vision: Annotated[str, typer.Option(help="OpenCLIP model, e.g. ViT-L-14-336, or hf-hub:owner/name.")],
    llm: Annotated[str, typer.Option(help="Causal language model: a folder or a hub id.")],
    pretrained: Annotated[str | None, typer.Option(help="OpenCLIP tag or weights file of --vision.")] = None,
    projector: Annotated[
        ProjectorName, typer.Option(help="mlp: a token per patch; shuffle: a token per 2 x 2 patches, in tiles.")
    ] = ProjectorName.mlp,
    seed: Annotated[int, typer.Option(help="Of the projector's random weights.")] = 0,
) -> None:
    """Join an OpenCLIP vision tower and a language model; the projector between them is then to be trained."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigError(f"{output} exists already; name a new folder")
    tower = load_tower(vision, pretrained)
    family = family_of(tower, projector.value)
    language = load_language_model(llm, picture_tokens(family), seed=seed)
    composed = compose(tower, language, projector=projector.value, seed=seed)
    parts = f"{vision}{'' if pretrained is None else f' ({pretrained})'} + {llm}"
    print(write(composed, tower, output, parts=parts, recipe=f"composed with projector {projector.value}, seed {seed}"))


def write(composed: Composed, tower: Tower, folder: Path, *, parts: str, recipe: str) -> Path:
    """Write the checkpoint: weights (safetensors), configuration, processor, chat template and card.

    Args:
        composed: the model and its processor.
        tower: its vision tower.
        folder: to write to, made where it is missing.
        parts: what it was made of, for the card.
        recipe: how, for the card.

    Returns:
        The folder.
    """
    composed.model.save_pretrained(folder)
    composed.processor.save_pretrained(folder)
    name_as_vllm_reads(folder)
    weights = {path.name: sha256_of(path) for path in sorted(folder.glob("*.safetensors"))}
    card = Card(
        name=folder.name,
        version="0",
        licence=f"the terms of every part apply: {parts}",
        base_model=parts,
        languages=("en",),
        max_pixels=tower.image_size**2 * getattr(composed.processor.image_processor, "max_patches", 1),
        prompts=(),
        training_data=(),
        recipe=f"{recipe}; the projector is not trained yet, so its answers mean nothing",
        results={"largest difference of a vision feature from OpenCLIP's": tower.max_difference},
        sha256=weights,
    )
    write_card(folder, card)
    return folder


def main(argv: list[str]) -> int:
    """Run with the arguments after `mllm-iqa train compose`; returns the exit status."""
    result = app(argv, prog_name="mllm-iqa train compose", standalone_mode=False)
    return result if isinstance(result, int) else 0
