"""How the page looks: one palette for light and one for dark, system fonts, the styles of page and cards."""

from __future__ import annotations

from importlib.resources import files

import gradio as gr

FONTS = ("system-ui", "-apple-system", "Segoe UI", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")

LIGHT = {
    "page": "#f5f6f8",
    "surface": "#ffffff",
    "sunken": "#eef1f4",
    "line": "#dfe4ea",
    "text": "#1b2530",
    "soft": "#5c6b7a",
    "accent": "#0f6d70",
    "on-accent": "#ffffff",
    "accent-soft": "#dff0ef",
    "error": "#b3261e",
    "error-soft": "#fdeceb",
    "warn": "#8a5a00",
    "warn-soft": "#fdf3dd",
    "excellent": "#1f8a5b",
    "good": "#6a9e3f",
    "fair": "#c79a1c",
    "poor": "#d9762f",
    "bad": "#c8423c",
}
DARK = {
    "page": "#10161c",
    "surface": "#18212a",
    "sunken": "#212c37",
    "line": "#2d3a47",
    "text": "#e6ebf0",
    "soft": "#9aa9b8",
    "accent": "#5cc4c0",
    "on-accent": "#08201f",
    "accent-soft": "#173a3c",
    "error": "#ff9a92",
    "error-soft": "#3a1f20",
    "warn": "#f2c76b",
    "warn-soft": "#362c17",
    "excellent": "#46b985",
    "good": "#93c464",
    "fair": "#e2bc4b",
    "poor": "#ee9a5b",
    "bad": "#ee716a",
}


def _variables(palette: dict[str, str]) -> str:
    return "".join(f"--iqa-{name}:{color};" for name, color in palette.items())


def _style(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


_FONT = f"--iqa-font:{','.join(FONTS)};"
CARD_CSS = _style("cards.css")
PAGE_CSS = f":root{{{_FONT}{_variables(LIGHT)}}}.dark{{{_variables(DARK)}}}{CARD_CSS}{_style('page.css')}"
EXPORT_PALETTE = (
    f":root{{color-scheme:light dark;{_FONT}{_variables(LIGHT)}}}"
    f"@media (prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}"
)


def theme() -> gr.themes.Base:
    """Gradio's own parts in the page's colors and the system's fonts."""
    both = {
        "body_background_fill": "page",
        "body_text_color": "text",
        "body_text_color_subdued": "soft",
        "background_fill_primary": "surface",
        "background_fill_secondary": "sunken",
        "border_color_primary": "line",
        "block_background_fill": "surface",
        "block_border_color": "line",
        "block_label_text_color": "soft",
        "block_title_text_color": "soft",
        "block_info_text_color": "soft",
        "input_background_fill": "surface",
        "input_border_color": "line",
        "input_border_color_focus": "accent",
        "input_placeholder_color": "soft",
        "button_primary_background_fill": "accent",
        "button_primary_background_fill_hover": "accent",
        "button_primary_text_color": "on-accent",
        "button_secondary_background_fill": "surface",
        "button_secondary_background_fill_hover": "sunken",
        "button_secondary_border_color": "line",
        "button_secondary_text_color": "text",
    }
    light = {key: LIGHT[name] for key, name in both.items()}
    dark = {f"{key}_dark": DARK[name] for key, name in both.items()}
    plain = {"block_shadow": "none", "button_primary_shadow": "none", "button_secondary_shadow": "none"}
    base = gr.themes.Base(primary_hue="teal", neutral_hue="slate", radius_size="lg", font=FONTS, font_mono=_MONO)
    return base.set(**light, **dark, **plain, color_accent=LIGHT["accent"], block_border_width="1px")
