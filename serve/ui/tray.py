"""The tray: where pictures are dropped, shown, left out and removed, and where the examples lie."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from .entries import Refused
from .examples import EXAMPLES, example_pictures
from .held import Held
from .intake import Limits
from .markup import escaped
from .strings import Strings

TRAY_JS = (files(__package__) / "tray.js").read_text(encoding="utf-8")


def tray(pictures: Sequence[Held], refusals: Sequence[Refused], *, limits: Limits, strings: Strings) -> str:
    """The tray as HTML. `tray.js` turns what is done to it into events.

    Args:
        pictures: of the session.
        refusals: of the last upload.
        limits: of the session.
        strings: of the page's language.
    """
    hint = strings.drop_hint.format(megabytes=limits.megabytes)
    drop = (
        f'<label class="iqa-drop" data-limit="{limits.megabytes * 2**20}" tabindex="0">'
        f'<input type="file" multiple accept="image/*" aria-label="{escaped(strings.drop)}">'
        f"<span><b>{escaped(strings.drop)}</b><small>{escaped(hint)}</small></span>"
        f'<span class="iqa-reading">{escaped(strings.uploading)}</span></label>'
    )
    errors = "".join(
        f'<div class="iqa-refused" role="alert"><b>{escaped(str(getattr(strings, r.heading)))}</b> '
        f"{escaped(r.text(strings))}</div>"
        for r in refusals
    )
    shown = "".join(_thumb(held, strings) for held in pictures)
    hint = f'<p class="iqa-note">{escaped(strings.pick_hint)}</p>' if len(pictures) > 1 else ""
    grid = f'<ul class="iqa-tray">{shown}</ul>{hint}' if pictures else ""
    return f'<div class="iqa-box"><h2>{escaped(strings.pictures)}</h2>{drop}{errors}{grid}{_examples(strings)}</div>'


def _thumb(held: Held, strings: Strings) -> str:
    name, remove = escaped(held.name), escaped(strings.remove.format(name=held.name))
    return (
        f'<li class="{"iqa-in" if held.chosen else "iqa-out"}"><button type="button" class="iqa-pick" '
        f'data-pick="{held.number}" aria-pressed="{str(held.chosen).lower()}" title="{name} · {held.size}">'
        f'<img src="{held.thumb}" alt="{name}"><span class="iqa-tag">{held.number}</span>'
        f'<span class="iqa-caption">{name}</span></button><button type="button" class="iqa-remove" '
        f'data-remove="{held.number}" aria-label="{remove}">&times;</button></li>'
    )


def _examples(strings: Strings) -> str:
    buttons = "".join(
        f'<button type="button" class="iqa-example" data-example="{example.key}"><span>'
        + "".join(f'<img src="{held.thumb}" alt="">' for held in example_pictures(example.key))
        + f"</span>{escaped(str(getattr(strings, example.words)))}</button>"
        for example in EXAMPLES
    )
    return f'<h2>{escaped(strings.examples)}</h2><div class="iqa-examples">{buttons}</div>'
