"""Recipes: everything a training run depends on, in one strict YAML file.

A recipe's `kind` says what it does: "nano" makes the shipped model from scratch, "tune" tunes any model on scored
pictures and records, "reward" tunes one by rewards for its own answers.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import yaml
from pydantic import BaseModel, ValidationError

from mllm_iqa.errors import ConfigError

from .nano.recipe import NanoRecipe
from .tuning.recipe import RewardRecipe, TuneRecipe

AnyRecipe: TypeAlias = NanoRecipe | TuneRecipe | RewardRecipe
KINDS: dict[str, type[NanoRecipe] | type[TuneRecipe] | type[RewardRecipe]] = {
    "nano": NanoRecipe,
    "tune": TuneRecipe,
    "reward": RewardRecipe,
}

RECIPES = Path(__file__).parent / "recipes"


def recipe_names() -> list[str]:
    """Names of the recipes that ship with the package, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def recipe_path(name: str) -> Path:
    """The file of a recipe, given by its path or by the name of one that ships with the package."""
    return RECIPES / f"{name}.yaml" if name in recipe_names() and not Path(name).is_file() else Path(name)


def read_recipe(path: Path, changes: Sequence[str] = ()) -> AnyRecipe:
    """Read and check a recipe; a ConfigError lists every mistake at once, unknown keys with the nearest known one.

    Args:
        path: of the YAML file.
        changes: "key=value" or "key.key=value" settings that replace the file's; the value is YAML.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such recipe; the shipped ones are: {', '.join(recipe_names())}")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        for change in changes:
            _apply(data, change)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from error
    kind = data.get("kind", "nano") if isinstance(data, dict) else "nano"
    if kind not in KINDS:
        raise ConfigError(f"{path}: kind: {kind!r} is none of {', '.join(KINDS)}")
    try:
        return KINDS[kind].model_validate(data)
    except ValidationError as error:
        found = [_mistake(KINDS[kind], e["loc"], e["msg"], e["type"]) for e in error.errors()]
        raise ConfigError(f"{path}: " + "; ".join(found)) from error


def _apply(data: Any, change: str) -> None:
    key, equals, value = change.partition("=")
    *above, last = key.split(".")
    for name in above:
        data = data.setdefault(name, {}) if isinstance(data, dict) else None
    if not equals or not last or not isinstance(data, dict):
        raise ConfigError(f"--set {change}: give it as key=value, or key.key=value for a key within another")
    data[last] = yaml.safe_load(value)


def _mistake(model: type[BaseModel], place: tuple[int | str, ...], message: str, kind: str) -> str:
    where = ".".join(map(str, place)) or "recipe"
    if kind != "extra_forbidden":
        return f"{where}: {message}"
    near = difflib.get_close_matches(str(place[-1]), _fields_at(model, place[:-1]), n=1)
    return f"{where}: unknown key" + (f", did you mean {near[0]}?" if near else "")


def _fields_at(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the model that stands at a place within another."""
    for step in place:
        if isinstance(step, str) and step in model.model_fields:
            model = _model_in(model.model_fields[step].annotation) or model
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for a in getattr(annotation, "__args__", ()) if (m := _model_in(a)) is not None), None)
