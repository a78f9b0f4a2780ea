"""Reading a generated answer to a multiple choice, strictly: a letter, an option, or both, and nothing else."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from mllm_iqa.answers import Unparsable

_LETTER = re.compile(r"\(?([A-Z])\)?[.):]?")
_BOTH = re.compile(r"\(?([A-Z])\)?[.):]\s+(.+)")


def parse_choice(text: str, options: Sequence[str]) -> int | Unparsable:
    """Which option an answer names.

    Args:
        text: all that the model said; spaces around it and one closing period do not matter.
        options: as they were shown, lettered A, B ...

    Returns:
        The place of the option, or why none is named: another letter, words around it, or a letter and the text of
        another option. Nothing is guessed.
    """
    said = text.strip()
    if letter := _LETTER.fullmatch(said):
        return _place(letter[1], options)
    plain = [_plain(option) for option in options]
    if _plain(said) in plain:
        return plain.index(_plain(said))
    if both := _BOTH.fullmatch(said):
        place = _place(both[1], options)
        if isinstance(place, Unparsable):
            return place
        if _plain(both[2]) == plain[place]:
            return place
        return Unparsable(f"the letter {both[1]} does not go with {both[2]!r}")
    return Unparsable("neither a letter nor an option" if said else "nothing was said")


def _place(letter: str, options: Sequence[str]) -> int | Unparsable:
    place = string.ascii_uppercase.index(letter)
    return place if place < len(options) else Unparsable(f"there is no option {letter}")


def _plain(text: str) -> str:
    return text.strip().removesuffix(".").strip().lower()
