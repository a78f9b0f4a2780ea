"""The pictures that ship with the package, ready to be tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from .held import Held, hold


@dataclass(frozen=True, slots=True)
class Example:
    """Pictures that are tried together; `words` is the name of the page's string that says what they show."""

    key: str
    names: tuple[str, ...]
    words: str


EXAMPLES = (
    Example("coffee", ("coffee.jpg", "coffee_out_of_focus.jpg"), "example_pair"),
    Example("cat", ("cat.jpg",), "example_one"),
)


@cache
def example_pictures(key: str) -> tuple[Held, ...]:
    """The pictures of an example, numbered from 1; a KeyError for an unknown one."""
    names = {example.key: example.names for example in EXAMPLES}[key]
    folder = files("mllm_iqa") / "examples"
    return tuple(
        hold((folder / name).read_bytes(), number=number, name=name, max_pixels=100_000_000)
        for number, name in enumerate(names, start=1)
    )


def renumbered(pictures: Sequence[Held], first: int) -> tuple[Held, ...]:
    """The same pictures, numbered from `first`."""
    return tuple(replace(held, number=number) for number, held in enumerate(pictures, start=first))
