"""The same tuning with other labels and losses: hard levels, soft labels, soft labels with the ranking loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mllm_iqa.checkpoints import read_card
from mllm_iqa.errors import ConfigError

from .recipe import TuneRecipe
from .run import tune

VARIANTS: dict[str, dict[str, Any]] = {
    "hard levels": {"labels": "hard", "fidelity": 0.0},
    "soft labels": {"labels": "soft", "fidelity": 0.0},
    "soft labels + fidelity": {"labels": "soft", "fidelity": 1.0},
}
"""What differs from the recipe: how a score becomes a label, and the weight of the ranking loss."""


@dataclass(frozen=True, slots=True)
class Row:
    """Figures of one variant over its seeds on the test pictures, each of shape (seeds,).

    `kl` is of the human distribution (the soft label of mos and std, whatever was trained on) to the predicted levels.
    """

    variant: str
    srcc: np.ndarray
    plcc: np.ndarray
    kl: np.ndarray


def ablate(recipe: TuneRecipe, recipe_name: str, *, seeds: Sequence[int]) -> list[Row]:
    """Run every variant with every seed, each in a folder below the recipe's output; finished ones are not run again.

    Args:
        recipe: names the pictures and the budget, which all variants share.
        recipe_name: its file's.
        seeds: of initial adapters, order and dropout.

    Raises:
        ConfigError: no test pictures.
    """
    if not recipe.test:
        raise ConfigError(f"{recipe_name}: an ablation needs pictures to measure on; give test")
    rows = []
    for variant, change in VARIANTS.items():
        figures = [_figures(recipe, recipe_name, variant, change, seed) for seed in seeds]
        rows.append(Row(variant, *(np.array([f[name] for f in figures]) for name in ("srcc", "plcc", "kl"))))
    return rows


def _figures(recipe: TuneRecipe, recipe_name: str, variant: str, change: dict[str, Any], seed: int) -> dict[str, float]:
    weights = recipe.weights.model_copy(update={"fidelity": change["fidelity"]})
    folder = recipe.output / f"{variant.replace(' + ', '-').replace(' ', '-')}-{seed}"
    update = {"labels": change["labels"], "weights": weights, "seed": seed, "output": folder}
    result = folder / "result"
    if not (result / "card.json").is_file():
        result = tune(recipe.model_copy(update=update), recipe_name)
    card = read_card(result)
    assert card is not None
    found: Any = card.results["test after"]
    return {"srcc": found["srcc"]["value"], "plcc": found["plcc"]["value"], "kl": found["kl"]}


def as_table(rows: Sequence[Row]) -> str:
    """A Markdown table: mean over the seeds and, in parentheses, their standard deviation."""

    def cell(values: np.ndarray) -> str:
        return f"{values.mean():.3f} ({values.std(ddof=1):.3f})" if len(values) > 1 else f"{values[0]:.3f}"

    lines = ["| labels and loss | SRCC | PLCC | KL to the human distribution |", "|---|---|---|---|"]
    lines += [f"| {row.variant} | {cell(row.srcc)} | {cell(row.plcc)} | {cell(row.kl)} |" for row in rows]
    return "\n".join(lines)
