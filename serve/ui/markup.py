"""Text into HTML: the only way words from users, files and models get onto the page."""

from __future__ import annotations

import html
import re

_TEMPLATE_MARKS = str.maketrans({"$": "&#36;", "{": "&#123;", "}": "&#125;", "`": "&#96;"})
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def escaped(text: str) -> str:
    """`text` as it may stand in HTML text and in quoted attributes.

    Markup characters become entities, those of template languages too; control characters and those that turn the
    direction of writing (which make `gpj.exe` look like `exe.jpg`) become a visible mark.
    """
    clean = _HIDDEN.sub("\N{REPLACEMENT CHARACTER}", text.encode("utf-8", "replace").decode())
    return html.escape(clean, quote=True).translate(_TEMPLATE_MARKS)


def prose(text: str) -> str:
    """What a model or a user said, as paragraphs and lists; `**bold**`, `code` and headings are understood.

    Nothing else is markup: links and tags are shown as the characters they are.
    """
    blocks: list[str] = []
    items: list[str] = []
    lines: list[str] = []

    def close() -> None:
        if lines:
            blocks.append(f"<p>{'<br>'.join(lines)}</p>")
            lines.clear()
        if items:
            blocks.append(f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>")
            items.clear()

    for line in text.strip().splitlines():
        bullet = re.match(r"\s*[-*•]\s+(.*)", line)
        heading = re.match(r"#{1,6}\s+(.*)", line)
        if not line.strip():
            close()
        elif heading:
            close()
            blocks.append(f"<p><strong>{_inline(heading[1])}</strong></p>")
        elif bullet:
            if lines:
                close()
            items.append(_inline(bullet[1]))
        else:
            if items:
                close()
            lines.append(_inline(line))
    close()
    return "".join(blocks)


def _inline(line: str) -> str:
    safe = escaped(line)
    safe = re.sub(r"&#96;([^&]+)&#96;", r"<code>\1</code>", safe)
    return re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", safe)
