"""Results for people: colour and panels on a terminal; elsewhere the same words as plain text, never cut off."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import IO, TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from .advice import nothing_to_do
from .cycles import Cycles
from .levels import LEVELS
from .types import Comparison, Failure, Finding, ImageInfo, Ranking, Score

if TYPE_CHECKING:
    from .anchoring import Anchored
    from .rank_folders import FolderRanking

_COLOURS = {"excellent": "green", "good": "green", "fair": "yellow", "poor": "red", "bad": "bold red"}
_BAR_CELLS = 30
_PLAIN_WIDTH = 1_000_000  # a file has no right edge


def printable(text: str) -> str:
    """`text` with control characters and undecodable bytes escaped, so that a file name cannot drive the terminal."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "backslashreplace").decode() for c in text
    )


def error_line(message: object) -> str:
    """What the command line says when something fails: one line, whatever the message holds."""
    return f"mllm-iqa: error: {printable(' '.join(str(message).split()))}"


def console(file: IO[str] | None = None) -> Console:
    """A console on `file` (None = stdout): a terminal's own width and colours, or neither where it is no terminal."""
    target = sys.stdout if file is None else file
    if target.isatty():
        return Console(file=target, highlight=False)
    return Console(file=target, highlight=False, force_terminal=False, color_system=None, width=_PLAIN_WIDTH)


def spinner(doing: str) -> AbstractContextManager[object]:
    """Something that moves on stderr while the block runs; nothing where that is no terminal."""
    return console(sys.stderr).status(doing) if sys.stderr.isatty() else nullcontext()


def show_score(score: Score, *, on: Console) -> None:
    """One picture in full: number, a bar for each level, findings, explanation, what was judged by whom."""
    lines: list[RenderableType] = [_headline(score), *_scale_and_trust(score), *_bars(score), *_findings(score)]
    if score.explanation is not None:
        lines += [Text(""), Text(printable(score.explanation))]
    if score.confidence is not None:
        lines.append(Text(f"confidence of the text {score.confidence:.2f}", style="dim"))
    lines += _advice(score)
    lines += [Text(""), Text(_judged(score.image), style="dim")]
    lines.append(Text(f"model {score.model}, prompt {score.prompt}", style="dim"))
    title = Text(printable(score.image.name))
    if on.is_terminal:
        on.print(Panel(Group(*lines), title=title, title_align="left", border_style=_COLOURS[score.level]))
    else:
        _print_plain(on, [title, *lines])


def show_results(results: Sequence[Score | Failure], *, on: Console) -> None:
    """One picture in full, or several as a table with the explanations below it and n_scored/n_total at the end."""
    if len(results) == 1 and isinstance(results[0], Score):
        show_score(results[0], on=on)
        return
    scores = [result for result in results if isinstance(result, Score)]
    doubted = [score for score in scores if score.trust is not None and not score.trust.trusted]
    parts: list[RenderableType] = [_table(results, plain=not on.is_terminal), Text("")]
    for score in scores:
        if score.explanation is not None:
            sure = "" if score.confidence is None else f" (confidence {score.confidence:.2f})"
            text = f"{printable(score.explanation)}{sure}"
            parts.append(Text.assemble((printable(score.image.name), "bold"), ": ", text))
            parts += [Text(f"  advice: {printable(str(advice))}") for advice in score.advice or ()]
    parts += [Text(f"{printable(score.image.name)}: {score.trust}", style="red") for score in doubted]
    parts.append(Text(f"{len(scores)}/{len(results)} scored{_judges(scores)}", style="dim"))
    if on.is_terminal:
        on.print(Group(*parts))
    else:
        _print_plain(on, parts)


def show_comparison(comparison: Comparison, *, on: Console) -> None:
    """The verdict, how sure, what was found in each picture, and why."""
    names = {"a": printable(comparison.a.name), "b": printable(comparison.b.name)}
    tie = comparison.winner == "tie"
    verdict = "about equal" if tie else f"{names[comparison.winner]} is better"
    agreement = "disagree on the winner: distrust the verdict" if comparison.order_flip else "agree"
    p = comparison.probabilities
    lines: list[RenderableType] = [
        Text.assemble((verdict, "bold"), f" (probability {comparison.probability:.2f}; the two orders {agreement})"),
        Text(f"a better {p['a']:.2f}, b better {p['b']:.2f}, tie {p['tie']:.2f}"),
    ]
    for side, found in (("a", comparison.distortions_a), ("b", comparison.distortions_b)):
        text = "" if found is None else f": {_found(found)}"
        lines.append(Text(f"{side} = {names[side]}{text}"))
    if comparison.reference is not None:
        lines.append(Text(f"reference = {printable(comparison.reference.name)}"))
    if comparison.explanation is not None:
        lines.append(Text(f"{printable(comparison.explanation)} (confidence {comparison.confidence:.2f})"))
    for advice in comparison.advice or ():
        loser = "b" if comparison.winner == "a" else "a"
        lines.append(Text(f"advice for {loser}: {printable(str(advice))}"))
    lines.append(Text(f"model {comparison.model}, prompt {comparison.prompt}", style="dim"))
    _print_plain(on, lines)


def show_ranking(ranking: Ranking, *, on: Console) -> None:
    """The pictures, best first, with their strengths, and how far to trust the order."""
    table = _empty_table(["rank", "picture", "strength", "+-"], plain=not on.is_terminal)
    for ranked in ranking.images:
        name = Text(printable(ranked.image.name))
        table.add_row(str(ranked.rank), name, f"{ranked.strength:+.2f}", f"{ranked.error:.2f}")
    flips = f"{ranking.order_flips} of {ranking.comparisons} pairs named another winner in the other order"
    judge = f"model {ranking.model}, prompt {ranking.prompt}"
    of = "" if ranking.possible is None else _budget_line(ranking.comparisons, ranking.possible)
    _print_plain(
        on,
        [
            table,
            Text(""),
            Text(flips),
            *_cycle_lines(ranking.cycles),
            *([Text(of)] if of else []),
            Text(judge, style="dim"),
        ],
    )


def show_folder_ranking(ranking: FolderRanking, *, on: Console) -> None:
    """The folders, best first, with their strengths, what they won, and which pictures are missing."""
    table = _empty_table(
        ["rank", "folder", "strength", "+-", "won", "tied", "lost", "pictures", "missing"], plain=not on.is_terminal
    )
    for f in ranking.folders:
        counts = [str(n) for n in (f.won, f.tied, f.lost, f.pictures, len(f.missing))]
        table.add_row(str(f.rank), Text(f.folder), f"{f.strength:+.2f}", f"{f.error:.2f}", *counts)
    lines: list[RenderableType] = [table, Text("")]
    for f in ranking.folders:
        if f.missing:
            more = f" and {len(f.missing) - 10} more" if len(f.missing) > 10 else ""
            lines.append(Text(f"{f.folder} lacks {', '.join(f.missing[:10])}{more}"))
    lines.append(Text(f"{ranking.names} names in two folders or more"))
    lines.append(Text(f"{ranking.order_flips} of {ranking.comparisons} pairs named another winner in the other order"))
    lines += _cycle_lines(ranking.cycles)
    of = _budget_line(ranking.comparisons, ranking.possible)
    lines += [Text(of)] if of else []
    _print_plain(on, [*lines, Text(f"model {ranking.model}, prompt {ranking.prompt}", style="dim")])


def show_anchored(result: Anchored, *, on: Console) -> None:
    """The pictures, best first, on the scale of the anchors, and how well the anchors fit it."""
    table = _empty_table(["picture", "MOS", "+-", "orders that disagree"], plain=not on.is_terminal)
    for row in result.images:
        table.add_row(Text(printable(row.image.name)), f"{row.mos:.2f}", f"{row.error:.2f}", str(row.flips))
    lines: list[RenderableType] = [table, Text("")]
    for anchor in result.anchors:
        known = f"known {anchor['mos']:.2f}, read back {anchor['read_back']:.2f}"
        lines.append(Text(f"anchor {printable(anchor['picture'])}: {known}"))
    lines.append(Text(f"{result.comparisons} pairs compared"))
    _print_plain(on, [*lines, Text(f"model {result.model}, prompt {result.prompt}", style="dim")])


def _budget_line(comparisons: int, possible: int) -> str:
    """How much of the full table was compared; nothing where it was all of it."""
    if comparisons == possible:
        return ""
    return f"{comparisons} of {possible} pairs compared ({comparisons / possible:.0%}), those that tell most"


def _cycle_lines(cycles: Cycles | None) -> list[RenderableType]:
    """How many triples run in a circle, and the worst of them; nothing where no triple was compared in full."""
    if cycles is None or cycles.triples == 0:
        return []
    if cycles.intransitive == 0:
        return [Text(f"none of {cycles.triples} triples runs in a circle")]
    lines: list[RenderableType] = [Text(f"{cycles.intransitive} of {cycles.triples} triples run in a circle")]
    for cycle in cycles.worst:
        around = " > ".join(printable(name) for name in (*cycle.names, cycle.names[0]))
        lines.append(Text(f"  {around} (by {cycle.strength:.2f} at least)"))
    return lines


def show_table(header: Sequence[str], rows: Iterable[Sequence[str]], *, on: Console) -> None:
    """Plain cells under a header; on a terminal, long cells are folded, never cut."""
    table = _empty_table(header, plain=not on.is_terminal)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    _print_plain(on, [table])


def _print_plain(on: Console, parts: Iterable[RenderableType]) -> None:
    """Print without padding at line ends where the console is no terminal."""
    if on.is_terminal:
        on.print(Group(*parts))
        return
    with on.capture() as captured:
        on.print(Group(*parts))
    on.file.write("".join(line.rstrip() + "\n" for line in captured.get().removesuffix("\n").split("\n")))


def _headline(score: Score) -> Text:
    line = Text.assemble(("MOS ", "bold"), (f"{score.mos:.2f} of 5 ({score.level})", f"bold {_COLOURS[score.level]}"))
    if score.interval is not None:
        interval = score.interval
        line.append(f", {interval.coverage:.0%} interval {interval.low:.2f} to {interval.high:.2f}")
        line.append(f" [{interval.source}]", style="dim")
    if score.std is not None:
        line.append(f", std {score.std:.2f}")
    return line


def _scale_and_trust(score: Score) -> list[RenderableType]:
    """The score on the user's scale, and why not to trust it; a line each, where there is one."""
    lines: list[RenderableType] = []
    if score.calibrated is not None:
        lines.append(Text(printable(str(score.calibrated)), style="bold"))
    if score.trust is not None and not score.trust.trusted:
        lines.append(Text(str(score.trust), style="bold red"))
    return lines


def _bars(score: Score) -> list[RenderableType]:
    if score.levels is None:
        return [Text("the model wrote this number; it says nothing of how sure it is", style="dim")]
    grid = Table.grid(padding=(0, 1))
    for level in LEVELS:
        p = score.levels[level]
        grid.add_row(level, f"{p:.3f}", Text("█" * round(p * _BAR_CELLS), style=_COLOURS[level]))
    grid.add_row(Text("no level", style="dim"), Text(f"{score.outside_mass:.3f}", style="dim"), "")
    return [grid]


def _findings(score: Score) -> list[RenderableType]:
    if score.distortions is None:
        return []
    if not score.distortions:
        return [Text(""), Text("no distortion found")]
    grid = Table.grid(padding=(0, 2))
    for finding in score.distortions:
        where = "" if finding.region is None else "at " + ", ".join(f"{edge:.2f}" for edge in finding.region)
        grid.add_row(finding.kind, finding.severity_word, f"p={finding.probability:.2f}", where)
    return [Text(""), grid]


def _advice(score: Score) -> list[RenderableType]:
    """What to do, or that there is nothing to do; nothing where it was not asked."""
    if score.advice is None:
        return []
    told = [str(advice) for advice in score.advice] or [nothing_to_do(score) or ""]
    return [Text(""), *(Text(f"advice: {printable(words)}") for words in told)]


def _found(findings: Sequence[Finding]) -> str:
    return "; ".join(map(str, findings)) or "none found"


def _judged(image: ImageInfo) -> str:
    size, judged = f"{image.width}x{image.height}", f"{image.judged_width}x{image.judged_height}"
    return "; ".join([f"{size} pixels" + ("" if size == judged else f", judged at {judged}"), *image.notes])


def _judges(scores: Sequence[Score]) -> str:
    """Who judged, from all scores: normally one model and one prompt."""
    judges = sorted({f"model {score.model}, prompt {score.prompt}" for score in scores})
    return f"; {'; '.join(judges)}" if judges else ""


def _empty_table(header: Sequence[str], *, plain: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0)) if plain else Table(box=SIMPLE_HEAD)
    for name in header:
        table.add_column(name, overflow="fold", justify="right" if name == "MOS" else "left")
    return table


def _table(results: Sequence[Score | Failure], *, plain: bool) -> Table:
    scaled = any(isinstance(result, Score) and result.calibrated is not None for result in results)
    header = ["picture", "MOS", "interval", "level", *(["own scale", "interval"] if scaled else []), "distortions"]
    table = _empty_table(header, plain=plain)
    for result in results:
        if isinstance(result, Failure):
            error = Text(f"error: {printable(result.error)}", style="red")
            table.add_row(Text(printable(result.name)), *["-"] * (len(header) - 2), error)
            continue
        table.add_row(
            Text(printable(result.image.name)),
            f"{result.mos:.2f}",
            "-" if result.interval is None else f"{result.interval.low:.2f} to {result.interval.high:.2f}",
            Text(result.level, style=_COLOURS[result.level]),
            *(_own_scale(result) if scaled else ()),
            Text("-" if result.distortions is None else _found(result.distortions)),
        )
    return table


def _own_scale(score: Score) -> tuple[str, str]:
    """The score on the user's scale and its interval."""
    known = score.calibrated
    if known is None:
        return "-", "-"
    low, high = ("-" if end is None else f"{end:.4g}" for end in (known.low, known.high))
    return f"{known.value:.4g}", f"{low} to {high}"
