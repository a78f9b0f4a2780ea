"""The feed: everything asked and answered in a session, oldest first, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from .cards import entry_card, status
from .entries import Compared, Entry
from .markup import escaped
from .strings import Strings
from .tasks import Step

FEED_JS = (files(__package__) / "feed.js").read_text(encoding="utf-8")
_LARGE_VIEWS = 3  # of the last comparisons; earlier ones keep their thumbnails, so that a long feed stays light


def feed(entries: Sequence[Entry], strings: Strings) -> str:
    """All finished entries, or what the page can do where there are none."""
    if not entries:
        return welcome(strings)
    comparisons = [i for i, entry in enumerate(entries) if isinstance(entry, Compared)]
    large = set(comparisons[-_LARGE_VIEWS:])
    return "".join(
        entry_card(entry, strings, name=f"entry-{i + 1}", views=_views(entry) if i in large else None)
        for i, entry in enumerate(entries)
    )


def live(step: Step, strings: Strings) -> str:
    """An entry that still grows, and what is being done."""
    card = "" if step.entry is None else entry_card(step.entry, strings, name="entry-live", views=_views(step.entry))
    return card + (status(step.doing) if step.doing else "")


def welcome(strings: Strings) -> str:
    """The empty feed."""
    return (
        f'<div class="iqa-welcome"><h2>{escaped(strings.empty_title)}</h2><p>{escaped(strings.empty_text)}</p>'
        f'<p class="iqa-note">{escaped(strings.privacy)}</p></div>'
    )


def _views(entry: Entry) -> tuple[str, str] | None:
    return entry.views if isinstance(entry, Compared) else None
