"""`mllm-iqa train plan`: what a recipe will take, before anything is downloaded or loaded."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from mllm_iqa.errors import ConfigError

from ..nano.recipe import NanoRecipe
from ..recipe import read_recipe, recipe_path
from .plan import as_text, make_plan, nano_as_text

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help="A recipe's file, or a shipped one's name.")],
    changes: Annotated[list[str] | None, typer.Option("--set", help="key=value instead of the recipe's.")] = None,
    picture: Annotated[list[str] | None, typer.Option(help="WIDTHxHEIGHT of the pictures; may be repeated.")] = None,
    text_tokens: Annotated[int, typer.Option(min=1, help="Tokens of one question and its answer.")] = 256,
    examples: Annotated[int | None, typer.Option(min=1, help="To learn from, for the steps per epoch.")] = None,
) -> None:
    """Print parameters, trainable share, GPU memory for full, LoRA and QLoRA tuning, tokens of a picture, and steps."""
    plan = read_recipe(recipe_path(recipe), changes if changes is not None else ())
    sizes = [_size(text) for text in (["512x384", "1024x768"] if picture is None else picture)]
    if isinstance(plan, NanoRecipe):
        print(nano_as_text(plan, sizes=sizes))
    else:
        print(as_text(make_plan(plan, sizes=sizes, text_tokens=text_tokens, examples=examples)))


def _size(text: str) -> tuple[int, int]:
    """(height, width) of "WIDTHxHEIGHT"."""
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if found is None:
        raise ConfigError(f"--picture {text}: expected WIDTHxHEIGHT in pixels, such as 512x384")
    return int(found[2]), int(found[1])


def main(argv: list[str]) -> int:
    """Run with the arguments after `mllm-iqa train plan`; returns the exit status."""
    result = app(argv, prog_name="mllm-iqa train plan", standalone_mode=False)
    return result if isinstance(result, int) else 0
