"""The compare view: two pictures in one frame, with a slider between them or side by side."""

from __future__ import annotations

from .held import Held
from .markup import escaped
from .strings import Strings

_MOVE = "this.closest(&#39;.iqa-compare&#39;).style.setProperty(&#39;--at&#39;,this.value+&#39;%&#39;)"


def compare_view(a: Held, b: Held, *, shown: tuple[str, str], name: str, strings: Strings) -> str:
    """Two pictures, fitted into the same frame whatever their sizes. Works without scripts but one inline handler.

    Args:
        a: on the left.
        b: on the right.
        shown: data URIs of what is shown of each.
        name: of this view, unique on its page; it ties the two switches together.
        strings: of the page's language.
    """
    same = (a.width, a.height) == (b.width, b.height)
    note = "" if same else f'<p class="iqa-note">{escaped(strings.sizes_differ.format(a=a.size, b=b.size))}</p>'
    # The frame takes the mean shape, so that neither picture loses more than the other where the shapes differ.
    ratio = ((a.width / a.height) * (b.width / b.height)) ** 0.5
    label_a, label_b = (escaped(f"{held.number} · {held.name}") for held in (a, b))
    return (
        f'<div class="iqa-compare" style="--ratio:{ratio:.4f}">'
        f'<input type="radio" class="iqa-by-slider" id="{name}-1" name="{name}" checked>'
        f'<input type="radio" class="iqa-by-side" id="{name}-2" name="{name}">'
        f'<div class="iqa-switch"><label for="{name}-1">{escaped(strings.slider)}</label>'
        f'<label for="{name}-2">{escaped(strings.side_by_side)}</label></div>'
        f'<div class="iqa-frame"><figure class="iqa-a"><img src="{shown[0]}" alt="{label_a}">'
        f"<figcaption>{label_a}</figcaption></figure>"
        f'<figure class="iqa-b"><img src="{shown[1]}" alt="{label_b}"><figcaption>{label_b}</figcaption></figure>'
        f'<span class="iqa-line"></span><input type="range" class="iqa-range" min="0" max="100" value="50" '
        f'step="0.5" aria-label="{escaped(strings.slider_hint)}" oninput="{_MOVE}"></div>'
        f'{note}<p class="iqa-note">{escaped(strings.preview_note)}</p></div>'
    )
