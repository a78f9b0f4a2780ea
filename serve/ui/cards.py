"""Results as HTML cards. Pure functions: the page, the export and the tests call them alike."""

from __future__ import annotations

from collections.abc import Sequence

from mllm_iqa.advice import advise, advised_comparison, nothing_to_do
from mllm_iqa.advice_rules import SHIPPED, shipped_rules
from mllm_iqa.types import Advice, Comparison, Finding, ImageInfo, RubricScore, Score

from .charts import interval_words, level_bars, mos_scale, severity_meter, strength_mark, verdict_bar
from .entries import Answered, Compared, Entry, Filmed, Judged, Located, Ranked, Refused, Scored
from .held import Held
from .map_card import map_card
from .markup import escaped, prose
from .slider import compare_view
from .strings import Strings, kind_name, level_name
from .video_card import video_card

_DISTRUST = 0.1  # outside mass from which on a card warns
_DOUBTS = {
    "outside mass": "doubt_outside_mass",
    "level entropy": "doubt_level_entropy",
    "feature distance": "doubt_feature_distance",
    "flatness": "doubt_flatness",
    "prompt disagreement": "doubt_prompt_disagreement",
}
"""Signal -> the string that says it."""
_MUCH_OUTSIDE = 0.5  # the same of a rubric, whose levels need not be all that could be said


def entry_card(entry: Entry, strings: Strings, *, name: str, views: tuple[str, str] | None = None) -> str:
    """One entry of the feed.

    Args:
        entry: finished or still growing.
        strings: of the page's language.
        name: of this entry, unique on its page.
        views: of a comparison: data URIs of the two pictures as large as they are to be shown; None = the thumbnails.
    """
    match entry:
        case Scored():
            inside = _scored(entry, strings)
        case Compared():
            shown = (entry.a.thumb, entry.b.thumb) if views is None else views
            inside = _compared(entry, strings, name=name, shown=shown)
        case Ranked():
            inside = _ranked(entry, strings)
        case Answered():
            inside = _answered(entry, strings)
        case Judged():
            inside = _judged_by(entry, strings)
        case Located():
            inside = located(entry, strings, name=name)
        case Filmed():
            inside = filmed(entry, strings)
        case Refused():
            inside = refusal(entry, strings)
    return f'<article class="iqa-entry" id="{name}">{inside}</article>'


def located(entry: Located, strings: Strings, *, name: str) -> str:
    """Where pictures are damaged, each with a switch between map and picture."""
    cards = "".join(
        map_card(held, found, photo, strings, name=f"{name}-map-{i}")
        for i, (held, photo, found) in enumerate(zip(entry.pictures, entry.photos, entry.maps, strict=False))
    )
    return asked(strings.where, entry.pictures) + cards


def filmed(entry: Filmed, strings: Strings) -> str:
    """A video's number and its plot."""
    return asked(entry.name, ()) + video_card(entry.result, strings)


def refusal(refused: Refused, strings: Strings) -> str:
    """Why something could not be done, readable."""
    heading = escaped(str(getattr(strings, refused.heading)))
    return (
        f'<div class="iqa-card iqa-error" role="alert"><h3>{heading}</h3><p>{escaped(refused.text(strings))}</p></div>'
    )


def status(text: str) -> str:
    """What is going on while an answer is made."""
    return f'<div class="iqa-status" role="status"><span class="iqa-spin"></span>{escaped(text)}</div>'


def asked(words: str, pictures: tuple[Held, ...]) -> str:
    """What the user wanted, and of which pictures."""
    thumbs = "".join(f'<img src="{held.thumb}" alt="{escaped(held.name)}">' for held in pictures[:6])
    return f'<div class="iqa-asked"><span class="iqa-thumbs">{thumbs}</span><span>{escaped(words)}</span></div>'


def _scored(entry: Scored, strings: Strings) -> str:
    words = strings.score if entry.focus == "score" else strings.wrong
    cards = "".join(
        score_card(result, held, strings, distortions_first=entry.focus == "wrong")
        if isinstance(result, Score)
        else refusal(Refused("error_picture", detail=f"{result.name}: {result.error}"), strings)
        for held, result in zip(entry.pictures, entry.results, strict=False)
    )
    several = " iqa-several" if len(entry.pictures) > 1 else ""
    return asked(words, entry.pictures) + f'<div class="iqa-cards{several}">{cards}</div>{_note(entry.note)}'


def score_card(score: Score, held: Held, strings: Strings, *, distortions_first: bool = False) -> str:
    """One picture's quality: MOS on its scale, the five levels, what was found, and why."""
    level = level_name(score.level, strings.code)
    image = (
        f'<img class="iqa-picture" src="{held.thumb}" alt="{escaped(held.name)}">'
        f'<div class="iqa-title"><h3>{escaped(f"{held.number} · {held.name}")}</h3>'
    )
    number = (
        f'<p class="iqa-mos iqa-{score.level}"><strong>{score.mos:.2f}</strong> <span>{strings.of_five}</span>'
        f'<em class="iqa-level">{escaped(level)}</em></p>'
    )
    if score.interval is not None:
        words = interval_words(score.interval, strings)
        number += f'<p class="iqa-note" title="{escaped(score.interval.source)}">{escaped(words)}</p>'
    number += _own_scale(score, strings)
    number += "</div>"
    warning = ""
    if score.outside_mass is not None and score.outside_mass >= _DISTRUST:
        text = strings.outside_high.format(mass=f"{score.outside_mass:.0%}")
        warning = f'<p class="iqa-warning">{escaped(text)}</p>'
    warning += _distrust(score, strings)
    chart = mos_scale(score.mos, score.interval, strings)
    if score.levels is not None and score.outside_mass is not None:
        chart += level_bars(score.levels, score.outside_mass, strings)
    found = _found(score.distortions, strings)
    parts = [found, chart] if distortions_first else [chart, found]
    return (
        f'<section class="iqa-card iqa-score"><header>{image}{number}</header>{warning}{"".join(parts)}'
        f"{_explanation(score.explanation, score.confidence, strings)}{_advice(score, strings)}"
        f"{_judged(score, strings)}</section>"
    )


def _advice(score: Score, strings: Strings) -> str:
    """What to do, in the page's language where the shipped rules gave it; nothing where it was not asked."""
    if score.advice is None:
        return ""
    pieces = score.advice
    if all(piece.rule.startswith(f"{SHIPPED}/") for piece in pieces) and score.distortions is not None:
        rules = shipped_rules(strings.code)
        pieces = advise(score.distortions, score.image, reference=score.reference, rules=rules)
    return _advice_list(pieces, strings, otherwise=nothing_to_do(score, language=strings.code) or "")


def _advice_list(pieces: Sequence[Advice], strings: Strings, *, otherwise: str = "") -> str:
    rows = "".join(
        f'<li><span>{escaped(piece.text)}</span><span class="iqa-note" title="{escaped(piece.rule)}">'
        f"{escaped(' · '.join(kind_name(kind, strings.code) for kind in piece.kinds))}</span></li>"
        for piece in pieces
    )
    body = f'<ol class="iqa-advice">{rows}</ol>' if rows else f'<p class="iqa-clean">{escaped(otherwise)}</p>'
    return f"<h4>{escaped(strings.advice)}</h4>{body}" if rows or otherwise else ""


def _judged_by(entry: Judged, strings: Strings) -> str:
    cards = "".join(
        _rubric_card(result, held, strings)
        if isinstance(result, RubricScore)
        else refusal(Refused("error_picture", detail=f"{result.name}: {result.error}"), strings)
        for held, result in zip(entry.pictures, entry.results, strict=False)
    )
    several = " iqa-several" if len(entry.pictures) > 1 else ""
    head = asked(f"{strings.rubric}: {entry.question}", entry.pictures)
    return f'{head}<div class="iqa-cards{several}">{cards}</div>'


def _rubric_card(score: RubricScore, held: Held, strings: Strings) -> str:
    """One picture by a rubric: the level, the value on the rubric's scale, and a bar for each level."""
    low, high = score.scale
    scale = strings.rubric_scale.format(value=f"{score.value:.2f}", low=f"{low:g}", high=f"{high:g}")
    warning = ""
    if score.outside_mass >= _MUCH_OUTSIDE:
        warning = (
            f'<p class="iqa-warning">{escaped(strings.rubric_outside.format(mass=f"{score.outside_mass:.0%}"))}</p>'
        )
    rows = [("", word, p) for word, p in score.probabilities.items()]
    rows.append((" iqa-outside", strings.rubric_none, score.outside_mass))
    bars = "".join(
        f'<div class="iqa-row{kind}"><span class="iqa-name" title="{escaped(name)}">{escaped(name)}</span>'
        f'<span class="iqa-bar"><i style="width:{100 * p:.2f}%"></i></span>'
        f'<span class="iqa-number">{p:.3f}</span></div>'
        for kind, name, p in rows
    )
    return (
        f'<section class="iqa-card iqa-score"><header><img class="iqa-picture" src="{held.thumb}" '
        f'alt="{escaped(held.name)}"><div class="iqa-title"><h3>{escaped(f"{held.number} · {held.name}")}</h3>'
        f'<p class="iqa-mos"><em class="iqa-level">{escaped(score.level)}</em></p>'
        f'<p class="iqa-note">{escaped(scale)}</p></div></header>{warning}'
        f'<div class="iqa-bars iqa-rubric" role="group" aria-label="{escaped(strings.levels)}">{bars}</div>'
        f'<footer class="iqa-note">{escaped(f"{strings.model} {score.model} · {score.rubric}")}</footer></section>'
    )


def _own_scale(score: Score, strings: Strings) -> str:
    """The score on the user's scale, where there is a calibration."""
    known = score.calibrated
    if known is None:
        return ""
    name = strings.on_scale.format(name=known.calibration)
    better = strings.higher_better if known.higher_is_better else strings.lower_better
    if known.low is None or known.high is None:
        interval = strings.no_interval
    else:
        interval = strings.scale_interval.format(
            coverage=f"{known.coverage:.0%}", low=f"{known.low:.4g}", high=f"{known.high:.4g}"
        )
    notes = " · ".join([better, interval, *([strings.extrapolated] if known.extrapolated else [])])
    return (
        f'<p class="iqa-own-scale"><strong>{known.value:.4g}</strong> <span>{escaped(name)}</span></p>'
        f'<p class="iqa-note">{escaped(notes)}</p>'
    )


def _distrust(score: Score, strings: Strings) -> str:
    """Why a score is not to be trusted; nothing where it is, or where nothing is known of that."""
    if score.trust is None or score.trust.trusted:
        return ""
    rows = ""
    for doubt in score.trust.reasons:
        values = strings.distrust_values.format(value=f"{doubt.value:.3g}", threshold=f"{doubt.threshold:.3g}")
        said = getattr(strings, _DOUBTS[doubt.signal])
        rows += f'<li>{escaped(said)} <span class="iqa-number">({escaped(values)})</span></li>'
    return f'<div class="iqa-warning iqa-distrust" role="note">{escaped(strings.distrust)}<ul>{rows}</ul></div>'


def _found(findings: tuple[Finding, ...] | None, strings: Strings) -> str:
    """Distortions with their severities; nothing where they were not looked for."""
    if findings is None:
        return ""
    rows = "".join(
        f'<li><span class="iqa-kind">{escaped(kind_name(finding.kind, strings.code))}</span>'
        f"{severity_meter(finding.severity, strings)}"
        f'<span class="iqa-number" title="{escaped(strings.probability.format(value=f"{finding.probability:.2f}"))}">'
        f"{finding.probability:.2f}</span></li>"
        for finding in findings
    )
    body = f'<ul class="iqa-found">{rows}</ul>' if findings else f'<p class="iqa-clean">{strings.none_found}</p>'
    return f"<h4>{escaped(strings.distortions)}</h4>{body}"


def _explanation(text: str | None, confidence: float | None, strings: Strings) -> str:
    if text is None:
        return ""
    sure = "" if confidence is None else strings.confidence.format(value=f"{confidence:.2f}")
    return (
        f'<h4>{escaped(strings.explanation)}</h4><div class="iqa-prose">{prose(text)}</div>'
        f'<p class="iqa-note">{escaped(sure)}</p>'
    )


def _judged(score: Score, strings: Strings) -> str:
    image = score.image
    size = f"{image.width}x{image.height}"
    if (image.width, image.height) != (image.judged_width, image.judged_height):
        size += f" → {image.judged_width}x{image.judged_height}"
    line = strings.judged_by.format(size=size, model=score.model, prompt=score.prompt)
    return f'<footer class="iqa-note" title="{escaped(_notes(image))}">{escaped(line)}</footer>'


def _notes(image: ImageInfo) -> str:
    return "; ".join(image.notes)


def _compared(entry: Compared, strings: Strings, *, name: str, shown: tuple[str, str]) -> str:
    result, scores = entry.result, entry.scores
    verdict = "" if result is None else _verdict(result, entry, strings)
    sides = "" if scores is None and result is None else _sides(entry, strings)
    text = "" if result is None else _explanation(result.explanation, result.confidence, strings)
    judged = (
        ""
        if result is None
        else f'<footer class="iqa-note">{escaped(f"{strings.model} {result.model} · {result.prompt}")}</footer>'
    )
    view = compare_view(entry.a, entry.b, shown=shown, name=f"{name}-view", strings=strings)
    return (
        asked(strings.compare, (entry.a, entry.b))
        + f'<section class="iqa-card">{verdict}{view}{sides}{text}{judged}{_note(entry.note)}</section>'
    )


def _verdict(result: Comparison, entry: Compared, strings: Strings) -> str:
    names = {"a": f"{entry.a.number} · {entry.a.name}", "b": f"{entry.b.number} · {entry.b.name}"}
    head = strings.tie if result.winner == "tie" else strings.better.format(name=names[result.winner])
    orders = strings.orders_disagree if result.order_flip else strings.orders_agree
    p = result.probabilities
    bar = verdict_bar(
        [
            ("iqa-pa", strings.a_better.format(name=names["a"]), p["a"]),
            ("iqa-pt", strings.equal, p["tie"]),
            ("iqa-pb", strings.b_better.format(name=names["b"]), p["b"]),
        ]
    )
    doubt = f'<p class="iqa-warning">{escaped(strings.scores_disagree)}</p>' if _contradicted(entry) else ""
    mark = " iqa-flip" if result.order_flip else ""
    return (
        f'<h3 class="iqa-winner">{escaped(head)}</h3><p class="iqa-note{mark}">'
        f"{escaped(strings.probability.format(value=f'{result.probability:.2f}'))} · {escaped(orders)}</p>{bar}{doubt}"
    )


def _contradicted(entry: Compared) -> bool:
    """Whether the scores of the two pictures order them against the verdict."""
    if entry.scores is None or entry.result is None or entry.result.winner == "tie":
        return False
    a, b = (score.mos for score in entry.scores)
    return (a > b) != (entry.result.winner == "a")


def _sides(entry: Compared, strings: Strings) -> str:
    """What each of the two is worth on its own, and what was found in it."""
    columns = []
    for i, held in enumerate((entry.a, entry.b)):
        score = None if entry.scores is None else entry.scores[i]
        findings = None
        if entry.result is not None:
            findings = entry.result.distortions_a if i == 0 else entry.result.distortions_b
        number = ""
        if score is not None:
            number = (
                f'<p class="iqa-mos iqa-{score.level}"><strong>{score.mos:.2f}</strong> <span>{strings.of_five}</span>'
                f'<em class="iqa-level">{escaped(level_name(score.level, strings.code))}</em></p>'
                f"{mos_scale(score.mos, score.interval, strings)}"
            )
        title = escaped(f"{held.number} · {held.name}")
        loses = entry.result is not None and entry.result.winner == ("b" if i == 0 else "a")
        told = _loser_advice(entry.result, strings) if loses and entry.result is not None else ""
        columns.append(f"<div><h3>{title}</h3>{number}{_found(findings, strings)}{told}</div>")
    return f'<div class="iqa-sides">{"".join(columns)}</div>'


def _loser_advice(result: Comparison, strings: Strings) -> str:
    """What the loser needs, in the page's language where the shipped rules gave it."""
    if not result.advice:
        return ""
    if all(piece.rule.startswith(f"{SHIPPED}/") for piece in result.advice):
        result = advised_comparison(result, shipped_rules(strings.code))
    return _advice_list(result.advice or (), strings)


def _ranked(entry: Ranked, strings: Strings) -> str:
    head = asked(strings.rank, entry.pictures)
    result = entry.result
    if result is None:
        return head
    spans = [(row.strength, _finite(row.error)) for row in result.images]
    low, high = min(s - e for s, e in spans), max(s + e for s, e in spans)
    hint = escaped(strings.strength_hint)
    rows = "".join(
        f'<li><span class="iqa-rank">{row.rank}</span>'
        f'<img src="{entry.pictures[row.index].thumb}" alt="{escaped(entry.pictures[row.index].name)}">'
        f'<div class="iqa-title"><h3>{escaped(f"{entry.pictures[row.index].number} · {row.image.name}")}</h3>'
        f"{strength_mark(row.strength, row.error, low, high)}</div>"
        f'<span class="iqa-number" title="{hint}">{row.strength:+.2f} ± {row.error:.2f}</span>'
        "</li>"
        for row in result.images
    )
    flips = strings.rank_flips.format(comparisons=result.comparisons, flips=result.order_flips)
    if result.cycles is not None and result.cycles.intransitive:
        cycles = result.cycles
        flips += " " + strings.rank_cycles.format(cycles=cycles.intransitive, triples=cycles.triples)
    return (
        f'{head}<section class="iqa-card"><h3>{escaped(strings.ranked)}</h3><ol class="iqa-ranking">{rows}</ol>'
        f'<p class="iqa-note">{hint}</p>'
        f'<footer class="iqa-note">{escaped(flips)} {escaped(f"{strings.model} {result.model} · {result.prompt}")}'
        "</footer></section>"
    )


def _finite(error: float) -> float:
    return error if abs(error) < float("inf") else 0.0


def _answered(entry: Answered, strings: Strings) -> str:
    body = f'<div class="iqa-prose">{prose(entry.text)}</div>' if entry.text.strip() else ""
    card = f'<section class="iqa-card iqa-answer">{body}{_note(entry.note)}</section>' if body or entry.note else ""
    return asked(entry.question, entry.pictures) + card


def _note(text: str) -> str:
    return f'<p class="iqa-note">{escaped(text)}</p>' if text else ""
