"""What is said at the end of a run: how many were scored, why others were not, how fast, and how the scores lie."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .levels import MOS_MAX, MOS_MIN

_BINS = 8  # of half a MOS
_BAR_CELLS = 40
_KINDS_KEPT = 50
_OTHER_KINDS = "other"


def failure_kind(error: str) -> str:
    """The kind of a failure: its error without numbers, brackets and what follows a semicolon, up to 60 characters."""
    plain = re.sub(r"\(.*?\)|<.*?>", "", error.split(";")[0])
    plain = re.sub(r"\d+", "N", plain)
    return " ".join(plain.split())[:60].strip(" :,") or "unknown"


@dataclass(slots=True)
class Tally:
    """Counts over the rows of a run; adding one's `to_dict` to another's counts both.

    Attributes:
        scored: rows with a score; known: those of them whose content had been scored before.
        failures: rows without a score, by kind.
        histogram: scores in bins of half a MOS from 1 to 5; the last bin holds 5.0 too.
    """

    scored: int = 0
    known: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    histogram: list[int] = field(default_factory=lambda: [0] * _BINS)

    @property
    def failed(self) -> int:
        """Rows without a score."""
        return self.failures.total()

    @property
    def total(self) -> int:
        """All rows."""
        return self.scored + self.failed

    def add_score(self, mos: float, *, known: bool = False) -> None:
        """Count a score."""
        self.scored += 1
        self.known += known
        place = int((mos - MOS_MIN) / (MOS_MAX - MOS_MIN) * _BINS)
        self.histogram[min(max(place, 0), _BINS - 1)] += 1

    def add_failure(self, error: str) -> None:
        """Count a failure; after `_KINDS_KEPT` kinds the rest counts as one."""
        kind = failure_kind(error)
        self.failures[kind if kind in self.failures or len(self.failures) < _KINDS_KEPT else _OTHER_KINDS] += 1

    def add(self, other: dict[str, Any]) -> None:
        """Count what another tally counted, as its `to_dict` gives it."""
        self.scored += other["scored"]
        self.known += other["known"]
        self.failures.update(other["failures"])
        self.histogram = [a + b for a, b in zip(self.histogram, other["histogram"], strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "scored": self.scored,
            "known": self.known,
            "failed": self.failed,
            "failures": dict(self.failures.most_common()),
            "histogram": list(self.histogram),
        }

    def lines(self, seconds: float) -> list[str]:
        """For people: histogram, throughput, failures by kind."""
        out = _bars(self.histogram)
        fresh = self.total - self.known
        rate = f"{fresh / seconds:,.1f} pictures/s" if seconds > 0 else "at once"
        known = f"; {self.known:,} of the same content scored before" if self.known else ""
        out.append(f"{fresh:,} in {seconds:,.1f} s, {rate}{known}")
        out += [f"{count:,} failed: {kind}" for kind, count in self.failures.most_common()]
        return out


def _bars(histogram: Sequence[int]) -> list[str]:
    if not any(histogram):
        return []
    width = (MOS_MAX - MOS_MIN) / _BINS
    most = max(histogram)
    out = []
    for place, count in enumerate(histogram):
        low = MOS_MIN + place * width
        bar = "#" * -(-count * _BAR_CELLS // most)
        out.append(f"MOS {low:.1f} to {low + width:.1f} {count:>9,} {bar}".rstrip())
    return out
