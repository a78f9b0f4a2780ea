"""The page of a folder's scores: one HTML file; for many pictures, thumbnails and texts lie beside it."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import numpy as np

from ..output_file import replaced_at_end
from ..terminal import printable
from .columns import DETAILS_PER_FILE, advice_of, columns_of, details_of, doubts_of, groups_of, in_html
from .maps import map_path
from .store import PAGE, Row, thumbnail_path

EMBEDDED_UP_TO = 500
"""Pictures up to which everything is inside the page."""

WORST, GROUPS_SHOWN, FAILURES_SHOWN = 20, 200, 500
_BIN = 0.2
_BINS = 20
_DETAILS = "details"


@dataclass(frozen=True, slots=True)
class Heading:
    """What the page says of itself.

    Attributes:
        title: of the page.
        link: how the pictures' folder is reached from the page, ending in a slash; None = pictures are not linked.
        made: when, with time zone.
        version: of the program.
    """

    title: str
    link: str | None
    made: datetime
    version: str


def write_page(home: Path, rows: Sequence[Row], heading: Heading, *, embed: bool | None = None) -> None:
    """Write the page into the folder of a store, and what lies beside it.

    Args:
        home: of the store; its thumbnails are there.
        rows: in the order of their names.
        heading: see `Heading`.
        embed: whether thumbnails and texts are inside the page; None = up to `EMBEDDED_UP_TO` pictures.
    """
    inside = len(rows) <= EMBEDDED_UP_TO if embed is None else embed

    def thumb(row: Row) -> str | None:
        return None if row["error"] is not None else _uri_of(thumbnail_path(home, row["sha256"]))

    def drawn(row: Row) -> str | None:
        return _uri_of(map_path(home, row["sha256"]))

    groups = groups_of(rows)
    shutil.rmtree(home / _DETAILS, ignore_errors=True)
    if not inside:
        _write_details(home / _DETAILS, _columns(rows, groups, heading, inside=False), details_of(rows))
    with replaced_at_end(home / PAGE) as file:
        text = page(rows, heading, thumb=thumb, drawn=drawn, inside=inside, groups=groups)
        file.write(text.encode("utf-8", "backslashreplace"))


def page(
    rows: Sequence[Row],
    heading: Heading,
    *,
    thumb: Callable[[Row], str | None],
    inside: bool,
    drawn: Callable[[Row], str | None] = lambda row: None,
    groups: Sequence[Sequence[int]] | None = None,
) -> str:
    """The page as HTML. File names are untrusted: everything is escaped, and the page lets no script run but its own.

    Args:
        rows: flat rows, see `store`.
        heading: see `Heading`.
        thumb: data URI of a row's small picture; None = there is none.
        inside: whether thumbnails, texts and columns are inside the page; else the worst pictures' alone.
        drawn: data URI of the map of a scored row; None = there is none.
        groups: of near-duplicates, see `groups_of`; None = looked for.
    """
    groups = groups_of(rows) if groups is None else groups
    columns = _columns(rows, groups, heading, inside=inside)
    if inside:
        columns |= {"images": [thumb(row) or "" for row in rows], "details": details_of(rows)}
    scored = [row for row in rows if row["error"] is None]
    script, style = _read("gallery.js"), _read("gallery.css")
    digest = base64.b64encode(sha256(script.encode()).digest()).decode()
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    beside = "" if inside else " 'self' file:"
    return environment.get_template("gallery.html.jinja").render(
        heading=heading,
        policy=f"default-src 'none'; img-src data:{beside}; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'{beside}",
        style=style,
        script=script,
        columns=in_html(columns) if inside else None,
        total=len(rows),
        scored=len(scored),
        summary=summary_of(scored),
        bars=histogram(scored),
        worst=[{**_shown(row, thumb(row), heading), "map": drawn(row)} for row in worst_of(scored)],
        groups=_listed(rows, groups[:GROUPS_SHOWN]),
        group_count=len(groups),
        failures=[(printable(r["name"]), r["error"]) for r in rows if r["error"] is not None][:FAILURES_SHOWN],
        judges=sorted({f"{row['model']}, prompt {row['prompt']}" for row in scored}),
        intervals=sorted({str(row["interval_source"]) for row in scored if row["interval_source"]}),
        kinds=columns["kinds"],
        levels=columns["levels"],
    )


def worst_of(scored: Sequence[Row]) -> list[Row]:
    """The lowest scores, lowest first."""
    return sorted(scored, key=lambda row: (row["mos"], row["name"]))[:WORST]


def summary_of(scored: Sequence[Row]) -> dict[str, float] | None:
    """Mean, median and ends of the scores; None without any."""
    if not scored:
        return None
    mos = np.array([row["mos"] for row in scored])
    return {
        "mean": float(mos.mean()),
        "median": float(np.median(mos)),
        "low": float(mos.min()),
        "high": float(mos.max()),
    }


def histogram(scored: Sequence[Row]) -> list[dict[str, float]]:
    """Counts of scores in steps of 0.2 from 1 to 5, with each bar's height in percent of the highest."""
    places = [min(_BINS - 1, int((row["mos"] - 1) / _BIN + 1e-9)) for row in scored]
    counts = np.bincount(np.array(places, dtype=int), minlength=_BINS)
    top = max(1, int(counts.max()))
    return [
        {"low": 1 + k * _BIN, "high": 1 + (k + 1) * _BIN, "count": int(n), "percent": 100 * int(n) / top}
        for k, n in enumerate(counts)
    ]


def data_uri(webp: bytes) -> str:
    """A small picture as an address that needs no file."""
    return "data:image/webp;base64," + base64.b64encode(webp).decode()


def _uri_of(path: Path) -> str | None:
    return data_uri(path.read_bytes()) if path.is_file() else None


def _listed(rows: Sequence[Row], groups: Sequence[Sequence[int]]) -> list[list[dict[str, Any]]]:
    """Near-duplicates, best first."""
    out = []
    for members in groups:
        ordered = sorted((rows[i] for i in members), key=lambda row: (-(row["mos"] or 0), row["name"]))
        out.append([{"name": printable(row["name"]), "mos": row["mos"]} for row in ordered])
    return out


def _shown(row: Row, image: str | None, heading: Heading) -> Mapping[str, Any]:
    link = None if heading.link is None else heading.link + quote(row["name"], errors="replace")
    said = {"advice": advice_of(row), "doubts": doubts_of(row)}
    return {**row, **said, "name": printable(row["name"]), "image": image, "link": link}


def _columns(rows: Sequence[Row], groups: Sequence[Sequence[int]], heading: Heading, *, inside: bool) -> dict[str, Any]:
    return {**columns_of(rows, groups), "inside": inside, "link": heading.link, "perFile": DETAILS_PER_FILE}


def _write_details(folder: Path, columns: Mapping[str, Any], details: Sequence[Sequence[str | None]]) -> None:
    """What lies beside the page, as scripts: a page opened from a file may load these, and nothing else."""
    folder.mkdir(parents=True)
    text = str(in_html(columns)).replace("\\", "\\\\").replace("'", "\\'")
    (folder / "columns.js").write_text(f"window.iqaColumns='{text}';\n", encoding="utf-8")
    for number in range(0, len(details), DETAILS_PER_FILE):
        part = number // DETAILS_PER_FILE
        text = f"iqaDetails({part},{in_html(details[number : number + DETAILS_PER_FILE])});\n"
        (folder / f"{part:05d}.js").write_text(text, encoding="utf-8")


def _read(name: str) -> str:
    return (files(__package__) / name).read_text("utf-8")
