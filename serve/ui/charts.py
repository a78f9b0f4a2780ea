"""Numbers as small HTML charts: the MOS on its scale, the five levels, a severity, strengths with their errors."""

from __future__ import annotations

from mllm_iqa.levels import LEVELS, MOS_MAX, MOS_MIN, SEVERITIES
from mllm_iqa.types import Interval

from .markup import escaped
from .strings import Strings, level_name, severity_name


def mos_scale(mos: float, interval: Interval | None, strings: Strings) -> str:
    """The MOS as a dot on the scale from 1 to 5, its interval as a band.

    Args:
        mos: in [1, 5].
        interval: on the same scale; None = unknown, and no band.
        strings: of the page's language.
    """
    label, source, band = f"{strings.mos} {mos:.2f}", "", ""
    if interval is not None:
        low, high = (_percent(value, MOS_MIN, MOS_MAX) for value in (interval.low, interval.high))
        label += f", {interval_words(interval, strings)}"
        source = f' title="{escaped(interval.source)}"'
        band = f'<span class="iqa-band" style="left:{low:.2f}%;width:{high - low:.2f}%"></span>'
    ticks = "".join(f"<span>{tick}</span>" for tick in range(int(MOS_MIN), int(MOS_MAX) + 1))
    return (
        f'<div class="iqa-scale" role="img" aria-label="{escaped(label)}"{source}><div class="iqa-track">{band}'
        f'<span class="iqa-dot" style="left:{_percent(mos, MOS_MIN, MOS_MAX):.2f}%"></span></div>'
        f'<div class="iqa-ticks">{ticks}</div></div>'
    )


def interval_words(interval: Interval, strings: Strings) -> str:
    """The interval in words."""
    return strings.interval.format(
        coverage=f"{interval.coverage:.0%}", low=f"{interval.low:.2f}", high=f"{interval.high:.2f}"
    )


def level_bars(levels: dict[str, float], outside_mass: float, strings: Strings) -> str:
    """A bar for the probability of each level, best first, and one for everything that is no level word.

    Args:
        levels: probability by level word; they sum to 1.
        outside_mass: in [0, 1].
        strings: of the page's language.
    """
    rows = [(f"iqa-{word}", level_name(word, strings.code), levels[word], "") for word in LEVELS]
    rows.append(("iqa-outside", strings.outside, outside_mass, strings.outside_hint))
    bars = "".join(
        f'<div class="iqa-row {kind}" title="{escaped(hint)}"><span class="iqa-name">{escaped(name)}</span>'
        f'<span class="iqa-bar"><i style="width:{100 * p:.2f}%"></i></span>'
        f'<span class="iqa-number">{p:.3f}</span></div>'
        for kind, name, p, hint in rows
    )
    return f'<div class="iqa-bars" role="group" aria-label="{escaped(strings.levels)}">{bars}</div>'


def severity_meter(severity: int, strings: Strings) -> str:
    """A severity, 1 to 5, as five marks and its word."""
    marks = "".join(f"<i{' class=on' if step <= severity else ''}></i>" for step in range(1, len(SEVERITIES) + 1))
    label = strings.severity.format(number=severity)
    return (
        f'<span class="iqa-meter iqa-s{severity}" role="img" aria-label="{escaped(label)}">{marks}</span>'
        f'<span class="iqa-severity">{escaped(severity_name(severity, strings.code))}</span>'
    )


def verdict_bar(shares: list[tuple[str, str, float]]) -> str:
    """Probabilities that sum to 1 as one bar of parts: (class, label, share), with their labels below."""
    parts = "".join(f'<i class="{kind}" style="width:{100 * share:.2f}%"></i>' for kind, _, share in shares)
    labels = "".join(
        f'<span class="{kind}"><b></b>{escaped(label)} <em>{share:.2f}</em></span>' for kind, label, share in shares
    )
    return f'<div class="iqa-verdict"><div class="iqa-split">{parts}</div><div class="iqa-key">{labels}</div></div>'


def strength_mark(strength: float, error: float, low: float, high: float) -> str:
    """A log strength as a dot with its standard error, on the common scale of one ranking.

    Args:
        strength: of this picture.
        error: standard error, at least 0; infinite or NaN where there is none.
        low: left end of the scale.
        high: right end.
    """
    band = error if error == error and abs(error) != float("inf") else 0.0
    left, right, dot = (_percent(value, low, high) for value in (strength - band, strength + band, strength))
    return (
        f'<span class="iqa-track"><span class="iqa-band" style="left:{left:.2f}%;width:{right - left:.2f}%"></span>'
        f'<span class="iqa-dot" style="left:{dot:.2f}%"></span></span>'
    )


def _percent(value: float, low: float, high: float) -> float:
    """Where `value` lies between the ends, in per cent, cut to them; the middle where the ends are one."""
    if high <= low:
        return 50.0
    return 100 * min(1.0, max(0.0, (value - low) / (high - low)))
