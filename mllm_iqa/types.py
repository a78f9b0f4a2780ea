"""What crosses a boundary: frozen results, each with `to_dict()` (plain JSON values) and a readable `str()`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from .cycles import Cycles
from .levels import LEVELS, SEVERITIES, level_of_mos

Winner = Literal["a", "b", "tie"]


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval on the MOS scale [1, 5] that holds the human score with probability `coverage`.

    `source` says what stands behind the claim: the name of a calibration, or "level distribution (uncalibrated)"
    where the interval is only the model's own spread.
    """

    low: float
    high: float
    coverage: float
    source: str


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What the file of a picture says about itself.

    Attributes:
        format: as Pillow calls it: "JPEG", "PNG", "WEBP" ...
        bytes: size of the file.
        jpeg_quality: of a JPEG, the quality 1..100 of its last save, about, on libjpeg's scale; None where its tables
            tell none, and for other formats.
        bits: of one channel in the file.
        palette: whether its colors are a list of at most 256.
    """

    format: str
    bytes: int
    jpeg_quality: int | None = None
    bits: int = 8
    palette: bool = False


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What was judged: the picture's name and size, and everything intake did to it before the model saw it.

    Attributes:
        name: file name, or what the caller called it.
        width, height: of the picture after EXIF orientation, in pixels.
        judged_width, judged_height: of what the model saw, before padding to whole patches.
        notes: one short sentence per change (orientation applied, alpha composited, resized ...). Not among them: an
            engine may extend the right and bottom edges by less than one patch, mirrored, which changes no pixel.
        file: what its file says about itself; None where it came as pixels.
    """

    name: str
    width: int
    height: int
    judged_width: int
    judged_height: int
    notes: tuple[str, ...] = ()
    file: FileFacts | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One distortion found in a picture.

    Attributes:
        kind: a leaf of the taxonomy (`taxonomy.KINDS`).
        family: its parent (`taxonomy.FAMILIES`).
        severity: 1 (slight) to 5 (catastrophic).
        probability: in [0, 1], the model's probability of this kind at the position where it names it.
        region: where, as (left, top, right, bottom) in fractions of the picture; None = not located.
    """

    kind: str
    family: str
    severity: int
    probability: float
    region: tuple[float, float, float, float] | None = None

    @property
    def severity_word(self) -> str:
        """The severity as one of `levels.SEVERITIES`."""
        return SEVERITIES[self.severity - 1]

    def __str__(self) -> str:
        return f"{self.kind} ({self.severity_word}, p={self.probability:.2f})"


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about one finding or several.

    Attributes:
        kinds: of the findings it is about, in their order.
        text: one to three sentences.
        rule: which rule says so: name and version of its file, and its own name, e.g. "advice.v1/blur-slight".
    """

    kinds: tuple[str, ...]
    text: str
    rule: str

    def __str__(self) -> str:
        return f"{self.text} [{', '.join(self.kinds)}]"


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A picture's quality on the user's own scale; see `Assistant.calibrated`.

    Attributes:
        value: on that scale.
        low, high: the interval that holds the score the user would give with probability `coverage`; None = unbounded,
            where there were too few labels.
        coverage: aimed at; the calibration's file says what of it is proven.
        higher_is_better: False where small values mean good pictures (DMOS).
        extrapolated: whether the MOS lies outside that of the labeled pictures.
        calibration: its name.
        labels: how many it was fitted on.
    """

    value: float
    low: float | None
    high: float | None
    coverage: float
    higher_is_better: bool
    extrapolated: bool
    calibration: str
    labels: int

    @property
    def interval_text(self) -> str:
        """The interval in words: "0.31 to 0.74", "from 0.31", or that there is none."""
        if self.low is None and self.high is None:
            return f"no {self.coverage:.0%} interval from {self.labels} labels"
        if self.low is None or self.high is None:
            end = f"to {self.high:.4g}" if self.low is None else f"from {self.low:.4g}"
            return f"{self.coverage:.0%} interval {end}"
        return f"{self.coverage:.0%} interval {self.low:.4g} to {self.high:.4g}"

    def __str__(self) -> str:
        better = "higher" if self.higher_is_better else "lower"
        beyond = ", outside the labeled range" if self.extrapolated else ""
        head = f"on the scale {self.calibration!r}: {self.value:.4g} ({better} is better)"
        return f"{head}, {self.interval_text}{beyond} [{self.labels} labels]"


@dataclass(frozen=True, slots=True)
class Doubt:
    """One reason to distrust a score.

    Attributes:
        signal: what was measured, a key of `trust.SIGNALS`.
        value: measured; `threshold`: from which on it is unusual.
        text: the reason in words.
    """

    signal: str
    value: float
    threshold: float
    text: str

    def __str__(self) -> str:
        return f"{self.text} ({self.value:.3g}, usual below {self.threshold:.3g})"


@dataclass(frozen=True, slots=True)
class Trust:
    """Whether a score is to be trusted: whether the picture is like those on which the model was tested.

    Attributes:
        trusted: no signal reached its threshold.
        reasons: those that did, the most unusual first.
        checked: the signals that were measured; an engine that gives no features lacks "feature distance".
    """

    trusted: bool
    reasons: tuple[Doubt, ...]
    checked: tuple[str, ...]

    def __str__(self) -> str:
        return "trusted" if self.trusted else f"distrust this score: {'; '.join(map(str, self.reasons))}"


@dataclass(frozen=True, slots=True)
class Score:
    """A picture's quality.

    Attributes:
        mos: mean opinion score, 1 (bad) to 5 (excellent).
        std: standard deviation of the level distribution, in MOS units.
        interval: where the human score lies, see `Interval`.
        levels: probability of each of the five level words; sums to 1.
        outside_mass: probability, in [0, 1], that the model put on anything but a level word; large = distrust.
            These four are None where the model writes a number instead of choosing a level: it says nothing of them.
        distortions: findings, most harmful first as the model reads them, empty when clean; None when not asked for,
            or when the model cannot tell.
        explanation: text generated after and conditioned on the level and the findings; of a model that writes a
            number, the reasoning that led it there; None when not asked for, or when the model cannot explain.
        confidence: of the text, in [0, 1]: geometric mean probability of its key words (level, kinds, severities);
            None without a text, and of a model that writes a number.
        image: what was judged.
        model, prompt: names and versions of what judged it.
        reference: what it was judged against; None = on its own.
        advice: what to do about the findings, largest expected gain first, from rules and never from the model; empty
            when nothing was found; None when findings were not asked for.
        calibrated: the score on the user's scale; None without a calibration.
        trust: whether the score is to be trusted; None where the model has no fitted thresholds.
    """

    mos: float
    std: float | None
    interval: Interval | None
    levels: dict[str, float] | None
    outside_mass: float | None
    distortions: tuple[Finding, ...] | None
    explanation: str | None
    confidence: float | None
    image: ImageInfo
    model: str
    prompt: str
    reference: ImageInfo | None = None
    advice: tuple[Advice, ...] | None = None
    calibrated: Calibrated | None = None
    trust: Trust | None = None

    @property
    def level(self) -> str:
        """The most probable level word; where the model wrote a number, the level nearest to it."""
        levels = self.levels
        return level_of_mos(self.mos) if levels is None else max(LEVELS, key=lambda word: levels[word])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the property `level` included."""
        return {"level": self.level, **asdict(self)}

    def __str__(self) -> str:
        lines = [f"{self.image.name}: MOS {self.mos:.2f} ({self.level})"]
        if self.interval is not None:
            between = f"{self.interval.low:.2f}-{self.interval.high:.2f}"
            lines[0] += f", {self.interval.coverage:.0%} interval {between}"
        if self.calibrated is not None:
            lines.append(str(self.calibrated))
        if self.trust is not None and not self.trust.trusted:
            lines.append(str(self.trust))
        if self.distortions is not None:
            lines.append("distortions: " + ("; ".join(map(str, self.distortions)) or "none found"))
        if self.explanation is not None:
            sure = "" if self.confidence is None else f" (confidence {self.confidence:.2f})"
            lines.append(f"{self.explanation}{sure}")
        lines += [f"advice: {advice}" for advice in self.advice or ()]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Which of two pictures looks better.

    Attributes:
        winner: "a", "b" or "tie".
        probability: of the winner, in [0, 1], averaged over both orders of presentation.
        probabilities: of "a", "b" and "tie", averaged likewise; sums to 1.
        order_flip: whether the two orders disagreed on the winner.
        explanation: text that names the winner and what was found in each picture; None when not asked for.
        confidence: of the text, in [0, 1]; None without a text.
        a, b: what was compared; `reference`: what they were compared against, if anything.
        distortions_a, distortions_b: findings in each picture; None when not asked for.
        model, prompt: names and versions of what judged them.
        advice: what the loser needs, as in `Score`; empty where nothing was found in it or there is none; None when
            findings were not asked for.
    """

    winner: Winner
    probability: float
    probabilities: dict[str, float]
    order_flip: bool
    explanation: str | None
    confidence: float | None
    a: ImageInfo
    b: ImageInfo
    reference: ImageInfo | None
    distortions_a: tuple[Finding, ...] | None
    distortions_b: tuple[Finding, ...] | None
    model: str
    prompt: str
    advice: tuple[Advice, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        names = {"a": self.a.name, "b": self.b.name}
        head = "about equal" if self.winner == "tie" else f"{names[self.winner]} is better"
        lines = [f"{head} (probability {self.probability:.2f}; order {'flips' if self.order_flip else 'agrees'})"]
        if self.explanation is not None:
            lines.append(f"{self.explanation} (confidence {self.confidence:.2f})")
        lines += [f"advice: {advice}" for advice in self.advice or ()]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class RankedImage:
    """One picture's place in a ranking.

    Attributes:
        image: what was judged.
        index: its position among the pictures given, from 0.
        rank: 1 = best; equal strengths share a rank, and the next is counted past them (1, 2, 2, 4).
        strength: natural-log strength; the mean over the ranking is 0. Of two pictures, the odds that the first is
            called better rather than the second are e^(difference).
        error: standard error of the strength, with every pair counted as one comparison.
    """

    image: ImageInfo
    index: int
    rank: int
    strength: float
    error: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """Pictures from best to worst, from comparisons of every pair or of those that tell most.

    Attributes:
        images: best first.
        comparisons: pairs compared, each in both orders.
        order_flips: pairs whose two orders named different winners; many of them = distrust.
        model, prompt: names and versions of what compared them.
        possible: how many pairs there are; equal pictures count as one.
        cycles: triples of pictures that run in a circle.
        failures: pictures that could not be read, and have no place.
    """

    images: tuple[RankedImage, ...]
    comparisons: int
    order_flips: int
    model: str
    prompt: str
    possible: int | None = None
    cycles: Cycles | None = None
    failures: tuple[Failure, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{r.rank}. {r.image.name} (strength {r.strength:+.2f} +- {r.error:.2f})" for r in self.images]
        return "\n".join([*lines, f"{self.comparisons} pairs compared, {self.order_flips} with orders that disagree"])


@dataclass(frozen=True, slots=True)
class RubricScore:
    """A picture by a rubric: on the rubric's own scale, which is no MOS.

    Attributes:
        rubric: its name and version.
        level: the most probable level word.
        value: expectation of the levels' values.
        std: standard deviation of the values, in the rubric's units.
        probabilities: of each level word given that the answer is one of them, in the rubric's order; sums to 1.
        entropy: of them, in [0, 1]: 0 = sure of one level, 1 = all alike.
        outside_mass: probability, in [0, 1], that the model put on anything but a level; large = it would have said
            something else, and what is left says little.
        scale: smallest and largest value of the rubric.
        image: what was judged.
        model: name and version of what judged it.
    """

    rubric: str
    level: str
    value: float
    std: float
    probabilities: dict[str, float]
    entropy: float
    outside_mass: float
    scale: tuple[float, float]
    image: ImageInfo
    model: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        low, high = self.scale
        shares = ", ".join(f"{word} {p:.2f}" for word, p in self.probabilities.items())
        text = f"{self.image.name}: {self.rubric} {self.level} ({self.value:.2f} on {low:g} to {high:g}; {shares})"
        return text if self.outside_mass < 0.5 else f"{text}; {self.outside_mass:.2f} of the answer is no level"


@dataclass(frozen=True, slots=True)
class Failure:
    """A picture that could not be judged: a row of its own in every table, never dropped or replaced."""

    name: str
    error: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.name}: error: {self.error}"
