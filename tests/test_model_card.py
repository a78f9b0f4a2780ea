"""The shipped model's MODEL_CARD.md says what its card.json says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mllm_iqa.checkpoints import Card, read_card

NANO = Path(__file__).parents[1] / "mllm_iqa" / "models" / "nano"
TEXT = (NANO / "MODEL_CARD.md").read_text(encoding="utf-8")
FIGURES = TEXT.split("## Figures")[1].split("The same kinds in a second")[0]
ROWS = re.findall(r"^\| ([^|]+?) \| ([-\d.]+) \| ([^|]*) \| ([^|]*) \|$", FIGURES, re.M)


@pytest.fixture(scope="module")
def card() -> Card:
    found = read_card(NANO)
    assert found is not None
    return found


def test_it_is_about_the_weights_that_ship(card: Card) -> None:
    assert TEXT.startswith(f"# nano {card.version}\n")
    assert card.interval is not None and card.interval.calibrated_on in TEXT


@pytest.mark.parametrize(("name", "value", "interval", "count"), ROWS)
def test_every_figure_is_the_card_s(card: Card, name: str, value: str, interval: str, count: str) -> None:
    known = card.results[name]
    if isinstance(known, dict):
        assert interval == f"{known['low']:.3f} to {known['high']:.3f}"
        assert count == f"{known['n']}/{known['total']}"
        known = known["value"]
    assert value == f"{known:.3f}"


def test_the_figures_that_users_decide_on_are_there() -> None:
    named = {row[0] for row in ROWS}
    assert {"photographs SRCC", "family top-1", "severity within one", "clean called clean"} <= named
