"""What the page is made of, without a browser."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest.importorskip("gradio")

import gradio
from mllm_iqa.serve.ui import build_ui
from mllm_iqa.serve.ui.theme import CARD_CSS, DARK, LIGHT, PAGE_CSS, theme

from mllm_iqa import Assistant

from .conftest import in_a_loop


def never(model: str) -> Assistant:
    raise AssertionError("no model is needed to build the page")


@pytest.fixture(scope="module")
def page() -> Any:
    return in_a_loop(lambda: build_ui(never, ["nano", "other"]))


def test_nothing_is_reported_or_offered_to_programs(page: Any) -> None:
    assert page.analytics_enabled is False
    assert {fn.api_visibility for fn in page.fns.values()} == {"private"}
    assert page.delete_cache is not None


def test_the_model_list_is_closed_unless_users_are_trusted(page: Any) -> None:
    def dropdown(blocks: Any) -> Any:
        return next(block for block in blocks.blocks.values() if isinstance(block, gradio.Dropdown))

    assert dropdown(page).allow_custom_value is False
    assert dropdown(in_a_loop(lambda: build_ui(never, ["nano"], custom_models=True))).allow_custom_value is True


def test_a_page_without_models_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one model"):
        build_ui(never, [])


def test_the_looks_come_from_nowhere_else() -> None:
    css = (PAGE_CSS + theme()._get_theme_css()).replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert not re.search(r"https?://|@import|url\((?!.?data:)", css)
    assert LIGHT.keys() == DARK.keys()


def test_every_color_of_the_styles_is_defined() -> None:
    own = {"at", "ratio", "level", "severity", "share", "iqa-font"}
    used = set(re.findall(r"var\(--([\w-]+)", PAGE_CSS + CARD_CSS))
    assert used - own <= {f"iqa-{name}" for name in LIGHT}


def contrast(first: str, second: str) -> float:
    """WCAG 2.2 contrast ratio of two #rrggbb colors: (L1 + 0.05) / (L2 + 0.05)."""

    def luminance(color: str) -> float:
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("palette", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        ("text", "page"),
        ("text", "surface"),
        ("soft", "page"),
        ("soft", "surface"),
        ("text", "accent-soft"),
        ("text", "error-soft"),
        ("error", "error-soft"),
        ("warn", "warn-soft"),
        ("on-accent", "accent"),
    ],
)
def test_words_can_be_read(palette: dict[str, str], ink: str, paper: str) -> None:
    assert contrast(palette[ink], palette[paper]) >= 4.5  # WCAG AA
