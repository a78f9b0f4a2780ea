"""Where one picture is damaged, as a card: the map over the picture, a switch to the picture alone, the boxes."""

from __future__ import annotations

from typing import Any

from .charts import severity_meter
from .entries import Map
from .held import Held
from .markup import escaped
from .strings import Strings, kind_name


def map_card(held: Held, found: Map, photo: str, strings: Strings, *, name: str) -> str:
    """The card.

    Args:
        held: the picture.
        found: its map.
        photo: data URI of the picture alone.
        strings: of the page's language.
        name: of this card, unique on its page; it ties the two switches together.
    """
    title = escaped(f"{held.number} · {held.name}")
    values = found.values
    share = escaped(strings.map_share.format(share=f"{values['damaged_share']:.0%}"))
    tiles = values["tiles"]
    judged = f"{strings.model} {values['model']} · {tiles['count']} x {tiles['side']} px"
    return (
        f'<section class="iqa-card iqa-map"><h3>{title}</h3><p class="iqa-note">{share}</p>'
        f'<input type="radio" class="iqa-map-on" id="{name}-1" name="{name}" checked>'
        f'<input type="radio" class="iqa-map-off" id="{name}-2" name="{name}">'
        f'<div class="iqa-switch"><label for="{name}-1">{escaped(strings.map_over)}</label>'
        f'<label for="{name}-2">{escaped(strings.map_photo)}</label></div>'
        f'<div class="iqa-map-view"><img class="iqa-drawn" src="{found.drawn}" alt="{title}: {share}">'
        f'<img class="iqa-alone" src="{photo}" alt="{title}"></div>'
        f"{_boxes(values['regions'], strings)}"
        f'<p class="iqa-note">{escaped(strings.map_hint)}</p>'
        f'<footer class="iqa-note">{escaped(judged)}</footer></section>'
    )


def _boxes(regions: list[dict[str, Any]] | None, strings: Strings) -> str:
    if regions is None:
        return f'<p class="iqa-note">{escaped(strings.no_distortions_told)}</p>'
    if not regions:
        return f'<p class="iqa-clean">{escaped(strings.no_regions)}</p>'
    rows = "".join(
        f'<li><span class="iqa-kind">{escaped(kind_name(r["kind"], strings.code))}</span>'
        f"{severity_meter(r['severity'], strings)}"
        f'<span class="iqa-number">{", ".join(map(str, r["box"]))}</span></li>'
        for r in regions
    )
    return f'<h4>{escaped(strings.distortions)}</h4><ul class="iqa-found">{rows}</ul>'
