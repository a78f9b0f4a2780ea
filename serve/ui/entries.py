"""What a session's feed holds: one entry for each thing the user asked for, filled in step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from mllm_iqa.types import Comparison, Failure, RubricScore, Score
from mllm_iqa.video_types import VideoScore

from .held import Held
from .strings import ENGLISH, Strings

if TYPE_CHECKING:
    from mllm_iqa.types import Ranking


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of pictures; `results` grows to their number. `focus` is what the user pressed: "score" or "wrong"."""

    focus: str
    pictures: tuple[Held, ...]
    results: tuple[Score | Failure, ...] = ()
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": self.focus, "results": [result.to_dict() for result in self.results]}


@dataclass(frozen=True, slots=True)
class Compared:
    """Two pictures side by side, their scores, and which is better; each None until it is known.

    `views` are data URIs of both, large enough to compare by eye.
    """

    a: Held
    b: Held
    views: tuple[str, str]
    scores: tuple[Score, Score] | None = None
    result: Comparison | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "kind": "compare",
            "result": None if self.result is None else self.result.to_dict(),
            "scores": None if self.scores is None else [score.to_dict() for score in self.scores],
        }


@dataclass(frozen=True, slots=True)
class Ranked:
    """Pictures in order of quality."""

    pictures: tuple[Held, ...]
    result: Ranking | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": "rank", "result": None if self.result is None else self.result.to_dict()}


@dataclass(frozen=True, slots=True)
class Answered:
    """A question in the user's words and what the model has said so far."""

    question: str
    pictures: tuple[Held, ...]
    text: str = ""
    model: str = ""
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        names = [held.name for held in self.pictures]
        return {"kind": "chat", "pictures": names, "question": self.question, "answer": self.text, "model": self.model}


@dataclass(frozen=True, slots=True)
class Judged:
    """Pictures by one rubric; `results` grows to their number."""

    question: str
    pictures: tuple[Held, ...]
    results: tuple[RubricScore | Failure, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": "rubric", "question": self.question, "results": [result.to_dict() for result in self.results]}


@dataclass(frozen=True, slots=True)
class Map:
    """Where one picture is damaged: as plain values, and drawn (a data URI) for the page."""

    values: dict[str, Any]
    drawn: str


@dataclass(frozen=True, slots=True)
class Located:
    """Where pictures are damaged; `maps` grows to their number, `photos` are data URIs of the pictures alone."""

    pictures: tuple[Held, ...]
    photos: tuple[str, ...] = ()
    maps: tuple[Map, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": "where", "results": [found.values for found in self.maps]}


@dataclass(frozen=True, slots=True)
class Filmed:
    """A video's quality over time."""

    name: str
    result: VideoScore

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": "video", "result": self.result.to_dict()}


@dataclass(frozen=True, slots=True)
class Refused:
    """Why something could not be done.

    Attributes:
        heading: the name of the page's string that stands above it.
        message: the name of the page's string that says it, filled in with `values`; empty where `detail` says it all.
        values: what to fill in, by name.
        detail: words of the library, in English.
    """

    heading: str
    message: str = ""
    values: tuple[tuple[str, str], ...] = ()
    detail: str = ""

    def text(self, strings: Strings) -> str:
        """The message in one language."""
        said = str(getattr(strings, self.message)).format(**dict(self.values)) if self.message else ""
        return f"{said} {self.detail}".strip()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"kind": "error", "error": self.text(ENGLISH)}


Entry: TypeAlias = Scored | Compared | Ranked | Answered | Judged | Located | Filmed | Refused
