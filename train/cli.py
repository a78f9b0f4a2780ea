"""`mllm-iqa train`: run or check a recipe, foresee what it takes, merge an adapter, compare losses, compose a model.

`mllm-iqa train RECIPE` is short for `mllm-iqa train run RECIPE`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mllm_iqa.errors import ConfigError, DataError

from .nano.recipe import NanoRecipe
from .recipe import AnyRecipe, read_recipe, recipe_names, recipe_path
from .tuning.recipe import TuneRecipe

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.command()
def run(
    recipe: Annotated[str, typer.Argument(help=f"A recipe's file, or one of: {', '.join(recipe_names())}.")],
    check: Annotated[bool, typer.Option("--check", help="Validate the recipe and its paths; train nothing.")] = False,
    changes: Annotated[list[str] | None, typer.Option("--set", help="key=value instead of the recipe's.")] = None,
) -> None:
    """Train or tune a model from a recipe. A run that was interrupted goes on where its last saved step was."""
    path = recipe_path(recipe)
    plan = read_recipe(path, changes if changes is not None else ())
    if isinstance(plan, NanoRecipe):
        _check_nano(plan, path)
    elif check:
        from .tuning.sources import read_all

        read_all(plan)
    if check:
        print(f"{path}: valid")
    else:
        print(_run(plan, path.name))


@app.command()
def merge(
    adapter: Annotated[Path, typer.Argument(help="The folder of an adapter.")],
    out: Annotated[Path, typer.Argument(help="The folder to write the whole model to.")],
    dtype: Annotated[
        str, typer.Option(help="Of the weights: float32 changes no score; float16, bfloat16.")
    ] = "float32",
) -> None:
    """Write an adapter and its base model as one checkpoint."""
    from .tuning.merge import merge as merge_adapter

    print(merge_adapter(adapter, out, dtype=dtype))


@app.command()
def ablate(
    recipe: Annotated[str, typer.Argument(help="A recipe of kind tune that names test pictures.")],
    seeds: Annotated[int, typer.Option(help="How many runs of each variant.")] = 3,
    changes: Annotated[list[str] | None, typer.Option("--set", help="key=value instead of the recipe's.")] = None,
) -> None:
    """Compare hard level labels, soft labels, and soft labels with the ranking loss; prints a table."""
    from .tuning.ablation import ablate as compare
    from .tuning.ablation import as_table

    path = recipe_path(recipe)
    plan = read_recipe(path, changes if changes is not None else ())
    if not isinstance(plan, TuneRecipe):
        raise ConfigError(f"{path}: an ablation is of a recipe of kind tune, not {plan.kind}")
    print(as_table(compare(plan, path.name, seeds=range(seeds))))


def _run(plan: AnyRecipe, name: str) -> Path:
    if isinstance(plan, NanoRecipe):
        from .nano.run import train_nano

        return train_nano(plan, name)
    if plan.kind == "tune":
        from .tuning.run import tune

        return tune(plan, name)
    from .tuning.reward_run import tune_by_rewards

    return tune_by_rewards(plan, name)


def _check_nano(plan: NanoRecipe, path: Path) -> None:
    from .nano.instruct import CROPS_FIRST, WHOLE_PICTURES, missing_from

    mix = WHOLE_PICTURES if plan.start else (*CROPS_FIRST, *WHOLE_PICTURES)
    missing = [str(plan.bank / name) for name in missing_from(plan.bank, mix)]
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise DataError(f"{path}: not found: {', '.join(missing[:3])}{more} (`mllm-iqa data bank` writes the bank)")
    if not plan.start and not plan.teacher.is_file():
        raise DataError(f"{path}: the teacher's weights are not at {plan.teacher}")
    for start in plan.start:
        if not (start / "config.json").is_file():
            raise DataError(f"{path}: {start} is not a checkpoint folder")


def main(argv: list[str]) -> int:
    """Run with the arguments after `mllm-iqa train`; returns the exit status."""
    if argv[:1] == ["compose"]:
        from .composing.command import main as compose

        return compose(argv[1:])
    if argv[:1] in (["plan"], ["--plan"]):
        from .planning.command import main as plan

        return plan(argv[1:])
    short = not argv or argv[0] not in ("ablate", "merge", "run", "--help")
    result = app(["run", *argv] if short else argv, prog_name="mllm-iqa train", standalone_mode=False)
    return result if isinstance(result, int) else 0
