"""`mllm-iqa train RECIPE`: run a recipe, or check one. `train compose` makes a model, `train plan` foresees a run."""

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
    from .instruct import CROPS_FIRST, WHOLE_PICTURES, missing_from

    mix = WHOLE_PICTURES if plan.start is not None else (*CROPS_FIRST, *WHOLE_PICTURES)
    missing = [str(plan.bank / name) for name in missing_from(plan.bank, mix)]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise DataError(f"{recipe}: not found: {', '.join(missing[:3])}{more} (`mllm-iqa data build` writes the bank)")
    if plan.start is None and not plan.teacher.is_file():
        raise DataError(f"{recipe}: the teacher's weights are not at {plan.teacher}")
    if plan.start is not None and not (plan.start / "config.json").is_file():
        raise DataError(f"{recipe}: {plan.start} is not a checkpoint folder")
    if check:
        print(f"{recipe}: valid")
        return
    from .nano import train_nano

    print(train_nano(plan, recipe.name))


def main(argv: list[str]) -> int:
    """Run with the arguments after `mllm-iqa train`; returns the exit status."""
    if argv[:1] == ["compose"]:
        from .compose_command import main as compose

        return compose(argv[1:])
    if argv[:1] in (["plan"], ["--plan"]):
        from .plan_command import main as plan

        return plan(argv[1:])
    result = app(argv, prog_name="mllm-iqa train", standalone_mode=False)
    return result if isinstance(result, int) else 0
