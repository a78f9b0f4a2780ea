"""Results as HTML cards. Pure functions: the page, the export and the tests call them alike."""

from __future__ import annotations

from mllm_iqa.types import Comparison, Finding, ImageInfo, Score

from .charts import interval_words, level_bars, mos_scale, severity_meter, strength_mark, verdict_bar
from .entries import Answered, Compared, Entry, Ranked, Refused, Scored
from .held import Held
from .markup import escaped, prose
from .slider import compare_view
from .strings import Strings, kind_name, level_name

_DISTRUST = 0.1  # outside mass from which on a card warns


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
        case Refused():
            inside = refusal(entry, strings)
    return f'<article class="iqa-entry" id="{name}">{inside}</article>'


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
        f"{_explanation(score.explanation, score.confidence, strings)}{_judged(score, strings)}</section>"
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
        said = getattr(strings, f"doubt_{doubt.signal.replace(' ', '_')}")
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
        columns.append(f"<div><h3>{title}</h3>{number}{_found(findings, strings)}</div>")
    return f'<div class="iqa-sides">{"".join(columns)}</div>'


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
