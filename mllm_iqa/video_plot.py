"""The trace of a video as one SVG file: quality over time, cuts, and the worst moments with their frames.

Self-contained: no scripts, fonts or pictures from elsewhere; light and dark pages alike (it brings its own paper).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape

from .levels import LEVELS
from .video_pooling import POOLINGS
from .video_types import Moment, TracePoint, VideoScore

_WIDTH, _LEFT, _RIGHT, _TOP = 960, 92, 24, 64
_HIGH = 230  # of the plotting area
_THUMB, _GAP = 164, 12
# The levels as bands of one hue from light to dark: told apart by lightness, whatever one sees of color.
_BANDS = {"excellent": "#f3f7fb", "good": "#e9f0f7", "fair": "#dde8f2", "poor": "#cfdeec", "bad": "#bfd2e5"}
_LINE, _DOT, _WORST, _INK, _FAINT, _CUT = "#1b4f8a", "#1b4f8a", "#c2410c", "#1f2328", "#59636e", "#9aa4af"
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', sans-serif\""


def clock(seconds: float) -> str:
    """A time as m:ss, h:mm:ss, or with a tenth where it is under ten seconds."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds + 0.5)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def svg_of(result: VideoScore) -> str:
    """The plot as the text of an SVG file."""
    shown = result.worst[: (_WIDTH - 2 * _GAP) // (_THUMB + _GAP)]
    below = _TOP + _HIGH + 44
    height = below + (198 if shown else 0)
    end = max(result.video.last_seconds, 0.001)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(_summary(result), quote=True)}" {_FONT} font-size="13">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        *_heading(result),
        *_bands(),
        *_time_axis(end),
        *_cuts(result, end),
        *_curve(result, end),
        *_marks(shown, end),
        *(part for i, moment in enumerate(shown) for part in _moment(i, moment, below)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _summary(result: VideoScore) -> str:
    return f"{result.video.name}: MOS {result.mos:.2f} of 5, {result.level}; {result.n_scored} frames over time"


def _heading(result: VideoScore) -> list[str]:
    others = ", ".join(f"{kind} {value:.2f}" for kind, value in result.pooled.items() if kind != result.pooling)
    video = result.video
    about = f"{result.n_scored}/{result.n_total} frames scored by {result.model}; {video.width}x{video.height}"
    about += f", {video.codec}" + (f", {clock(video.duration)}" if video.duration else "")
    if result.ended_early:
        about += f"; ended early: {result.ended_early}"
    name = video.name if len(video.name) <= 60 else f"{video.name[:57]}..."
    return [
        f'<text x="{_LEFT}" y="24" font-size="17" font-weight="600" fill="{_INK}">{escape(name)}</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="24" text-anchor="end" fill="{_INK}">'
        f'<tspan font-size="17" font-weight="600">MOS {result.mos:.2f}</tspan> '
        f"{escape(POOLINGS[result.pooling].partition(',')[0])} ({escape(others)})</text>",
        f'<text x="{_LEFT}" y="46" fill="{_FAINT}">{escape(about[:150])}</text>',
    ]


def _y(mos: float) -> float:
    return _TOP + _HIGH * (5 - mos) / 4


def _x(seconds: float, end: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * seconds / end


def _bands() -> list[str]:
    """Five levels, each from half a step below its value to half a step above; and their names."""
    out = []
    for place, level in enumerate(LEVELS):
        value = 5 - place
        top, bottom = _y(min(5.0, value + 0.5)), _y(max(1.0, value - 0.5))
        out.append(
            f'<rect x="{_LEFT}" y="{top:.1f}" width="{_WIDTH - _LEFT - _RIGHT}" height="{bottom - top:.1f}" '
            f'fill="{_BANDS[level]}"/>'
        )
        at = min(max(_y(value), _TOP + 6), _TOP + _HIGH - 2)
        out.append(f'<text x="{_LEFT - 8}" y="{at + 4:.1f}" text-anchor="end" fill="{_FAINT}">{level} {value}</text>')
    return out


def _time_axis(end: float) -> list[str]:
    step = next((s for s in _STEPS if end / s <= 9), math.ceil(end / 9 / 3600) * 3600)
    base = _TOP + _HIGH
    out = [f'<line x1="{_LEFT}" y1="{base}" x2="{_WIDTH - _RIGHT}" y2="{base}" stroke="{_FAINT}"/>']
    for k in range(int(end / step + 1e-6) + 1):
        x = _x(k * step, end)
        label = clock(k * step) if end >= 10 else f"{k * step:g} s"
        out.append(f'<line x1="{x:.1f}" y1="{base}" x2="{x:.1f}" y2="{base + 5}" stroke="{_FAINT}"/>')
        label = "0" if k == 0 else label
        out.append(f'<text x="{x:.1f}" y="{base + 20}" text-anchor="middle" fill="{_FAINT}">{label}</text>')
    return out


def _cuts(result: VideoScore, end: float) -> list[str]:
    cuts = [c for c in result.video.cuts if c <= end][:400]
    return [
        f'<line x1="{_x(cut, end):.1f}" y1="{_TOP}" x2="{_x(cut, end):.1f}" y2="{_TOP + _HIGH}" stroke="{_CUT}" '
        f'stroke-dasharray="3 4"><title>cut at {clock(cut)}</title></line>'
        for cut in cuts
    ]


def _curve(result: VideoScore, end: float) -> list[str]:
    """The line, broken where frames could not be scored, and the pooled value."""
    runs: list[list[tuple[TracePoint, float]]] = [[]]
    for point in result.trace:
        if point.mos is None:
            runs.append([])
        else:
            runs[-1].append((point, point.mos))
    y = _y(result.mos)
    out = [
        f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" stroke="{_LINE}" stroke-opacity="0.55" '
        f'stroke-dasharray="8 5"><title>{result.pooling} {result.mos:.2f}</title></line>'
    ]
    for run in filter(None, runs):
        line = " ".join(f"{_x(p.seconds, end):.1f},{_y(mos):.1f}" for p, mos in run)
        out.append(f'<polyline points="{line}" fill="none" stroke="{_LINE}" stroke-width="2" stroke-linejoin="round"/>')
    if result.n_total <= 300:
        out += [
            f'<circle cx="{_x(p.seconds, end):.1f}" cy="{_y(mos):.1f}" r="2.6" fill="{_DOT}">'
            f"<title>{clock(p.seconds)}: MOS {mos:.2f}</title></circle>"
            for run in runs
            for p, mos in run
        ]
    return out


def _marks(shown: Sequence[Moment], end: float) -> list[str]:
    """A numbered mark at every worst moment, the worst on top."""
    out = []
    for place, moment in reversed(list(enumerate(shown, start=1))):
        x, y = _x(moment.seconds, end), _y(moment.mos)
        out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="{_WORST}" stroke="#ffffff" stroke-width="1.5"/>')
        out.append(
            f'<text x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" font-size="11" font-weight="700" '
            f'fill="#ffffff">{place}</text>'
        )
    return out


def _moment(place: int, moment: Moment, top: float) -> list[str]:
    """One worst moment: its frame, when it is, its score, what was found."""
    x = 24 + place * (_THUMB + _GAP)
    uri = "data:image/jpeg;base64," + base64.b64encode(moment.thumbnail).decode()
    found = ""
    if moment.distortions is not None:
        found = ", ".join(f"{f.kind} ({f.severity_word})" for f in moment.distortions[:1]) or "no distortion found"
    found = found if len(found) <= 29 else f"{found[:28]}…"
    return [
        f'<image x="{x}" y="{top}" width="{_THUMB}" height="123" href="{uri}" preserveAspectRatio="xMidYMid meet"/>',
        f'<circle cx="{x + 9}" cy="{top + 138}" r="9" fill="{_WORST}"/>',
        f'<text x="{x + 9}" y="{top + 142}" text-anchor="middle" font-size="11" font-weight="700" fill="#ffffff">'
        f"{place + 1}</text>",
        f'<text x="{x + 24}" y="{top + 143}" fill="{_INK}" font-weight="600">{clock(moment.seconds)}, '
        f"MOS {moment.mos:.2f}</text>",
        f'<text x="{x}" y="{top + 163}" font-size="12" fill="{_FAINT}">{escape(found)}</text>',
    ]
