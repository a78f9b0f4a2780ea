"""How a score of an archive becomes a MOS: a straight line between the ends of its scale, nothing clipped."""

from __future__ import annotations

from dataclasses import dataclass

from mllm_iqa.levels import MOS_MAX, MOS_MIN


@dataclass(frozen=True, slots=True)
class Scale:
    """The ends of a score scale and its direction: the better end becomes 5, the worse one 1."""

    low: float
    high: float
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"the low end of a scale must lie below its high end, got {self.low} and {self.high}")

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}, higher = {'better' if self.higher_is_better else 'worse'}"

    def holds(self, score: float) -> bool:
        """Whether a score lies on the scale, ends included."""
        return self.low <= score <= self.high

    def mos(self, score: float) -> float:
        """The MOS, in [1, 5], of a score on the scale."""
        share = (score - self.low) / (self.high - self.low)
        # Rounding must not leave [1, 5].
        return min(MOS_MAX, max(MOS_MIN, MOS_MIN + 4 * (share if self.higher_is_better else 1 - share)))

    def std(self, std: float) -> float:
        """A standard deviation on the scale in MOS units, whatever the direction."""
        return 4 * std / (self.high - self.low)
