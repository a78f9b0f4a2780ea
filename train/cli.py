"""`mllm-iqa train RECIPE`: run a recipe, or check one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mllm_iqa.errors import DataError

from .recipe import read_recipe

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, e.g. train/recipes/nano.yaml.")],
    check: Annotated[bool, typer.Option("--check", help="Validate the recipe and its paths; train nothing.")] = False,
) -> None:
    """Train a model from a recipe. A run that was interrupted goes on where its last saved step was."""
    plan = read_recipe(recipe)
    missing = [str(p) for p in (plan.bank / "photos.parquet", plan.teacher) if not p.is_file()]
    if missing:
        raise DataError(f"{recipe}: not found: {', '.join(missing)} (`mllm-iqa data build` writes the bank)")
    if check:
        print(f"{recipe}: valid")
        return
    from .nano import train_nano

    print(train_nano(plan, recipe.name))


def main(argv: list[str]) -> int:
    """Run with the arguments after `mllm-iqa train`; returns the exit status."""
    result = app(argv, prog_name="mllm-iqa train", standalone_mode=False)
    return result if isinstance(result, int) else 0
