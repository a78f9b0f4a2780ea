"""What the REST API takes and gives. One model per request; a form field and a JSON key have the same name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, field_validator, model_validator
from pydantic_core import from_json

from mllm_iqa.errors import PromptError
from mllm_iqa.rubric import MAX_RUBRICS, Rubric, rubric_of, shipped_rubrics
from mllm_iqa.types import Comparison, Failure, Ranking, RubricScore, Score

_EXAMPLE = "data:image/png;base64,iVBORw0KGgo..."


class SentImage(BaseModel):
    """A picture: `data` (a data URI or plain base64), or `url` where the server fetches pictures."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"data": _EXAMPLE, "name": "cup.png"}]})

    data: str | None = Field(default=None, description="A data URI, or the file in base64.")
    url: str | None = Field(default=None, description="An http(s) address; only where the server was told to fetch.")
    name: str | None = Field(default=None, description="What the result calls the picture.")
    _raw: bytes | None = PrivateAttr(default=None)

    @classmethod
    def uploaded(cls, raw: bytes, name: str | None) -> SentImage:
        """A file that came as a part of a form."""
        image = cls.model_construct(data=None, url=None, name=name)
        image._raw = raw
        return image

    @property
    def raw(self) -> bytes | None:
        """The file of an upload; None for other pictures."""
        return self._raw

    @model_validator(mode="after")
    def _one_source(self) -> SentImage:
        if self._raw is None and (self.data is None) == (self.url is None):
            raise ValueError("give either data or url")
        return self


def _from_words(value: Any) -> Any:
    """A bare string is a URL or data."""
    if isinstance(value, str):
        return {"url": value} if value.lower().startswith(("http://", "https://")) else {"data": value}
    return value


Image = Annotated[SentImage, BeforeValidator(_from_words, json_schema_input_type=str | SentImage)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(default=None, description="One of the models served; the first one if left out.")
    language: str = Field(default="en", description="Language of the words; the model must know it.")


class _Scored(_Request):
    calibration: str | None = Field(
        default=None, description="One of the calibrations the server was started with: also score on that scale."
    )
    thorough: bool = Field(
        default=False, description="Ask in several wordings; where they disagree, distrust the score."
    )


class ScoreRequest(_Scored):
    """Pictures to be scored, each on its own."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"images": [_EXAMPLE], "explain": True}]})

    images: list[Image] = Field(min_length=1)
    reference: Image | None = Field(default=None, description="What the only picture is compared with.")
    explain: bool = Field(
        default=False, description="Also find distortions and write an explanation: about thrice the work."
    )


class ExplainRequest(_Scored):
    """One picture to be scored and explained."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image": _EXAMPLE}]})

    image: Image
    reference: Image | None = Field(default=None, description="What it is compared with.")


class CompareRequest(_Request):
    """Two pictures, the better one of which is wanted."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"a": _EXAMPLE, "b": _EXAMPLE, "explain": True}]})

    a: Image
    b: Image
    reference: Image | None = Field(default=None, description="What both are compared with.")
    explain: bool = Field(default=True, description="Also find the distortions of both and say them.")


class RankRequest(_Request):
    """Pictures to be put in order."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"images": [_EXAMPLE, _EXAMPLE, _EXAMPLE]}]})

    images: list[Image] = Field(min_length=2, max_length=32)
    comparisons: int | None = Field(
        default=None, ge=1, description="Pairs to compare at most, those that tell most; every pair if left out."
    )


class RubricRequest(BaseModel):
    """Pictures to be judged by rubrics: questions and levels of the user's own."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "images": [_EXAMPLE],
                    "rubrics": [
                        "sharpness",
                        {
                            "task": "print",
                            "questions": ["Is this image ready for print?"],
                            "answer_prefix": "The image is",
                            "order": "best first",
                            "levels": ["ready", "usable", "unusable"],
                        },
                    ],
                }
            ]
        },
    )

    model: str | None = Field(default=None, description="One of the models served; the first one if left out.")
    images: list[Image] = Field(min_length=1)
    rubrics: list[Annotated[str, Field(max_length=60)] | dict[str, Any]] = Field(
        min_length=1,
        max_length=MAX_RUBRICS,
        description="Names of shipped rubrics, or rubrics in full as in their files; see docs/rubrics.md.",
    )

    @field_validator("rubrics", mode="before")
    @classmethod
    def _from_form(cls, value: Any) -> Any:
        """A form's field: JSON, or one name."""
        if isinstance(value, str):
            return from_json(value) if value.lstrip().startswith("[") else [value]
        return value

    def parsed(self) -> list[Rubric]:
        """The rubrics themselves. A name is that of a shipped one and never a path.

        Raises:
            PromptError: no such rubric, or one that breaks the form.
        """
        shipped = shipped_rubrics()
        shipped |= {rubric.task: rubric for name, rubric in shipped.items() if rubric.language == "en"}
        out = []
        for number, given in enumerate(self.rubrics, start=1):
            if isinstance(given, dict):
                out.append(rubric_of(given, where=f"rubric {number}"))
            elif given in shipped:
                out.append(shipped[given])
            else:
                raise PromptError(f"rubric {number}: there is none of that name; shipped: {', '.join(shipped)}")
        return out


class WhereRequest(_Request):
    """One picture, the damaged parts of which are wanted."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"image": _EXAMPLE, "format": "json"}]})

    image: Image
    format: Literal["json", "png"] = Field(default="json", description="Boxes and a coarse map, or a drawing.")
    boxes: bool = Field(default=True, description="Draw the boxes of distortions.")
    grid: int = Field(default=32, ge=1, le=256, description="Cells of the map along the longer side, in JSON.")


class VideoRequest(_Request):
    """A video to be scored by frames."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"video": "data:video/mp4;base64,AAAAIGZ0eXA...", "every": 1.0}]}
    )

    video: Image = Field(description="The file of a video.")
    every: float | None = Field(default=None, gt=0, description="Seconds from one frame to the next; 1 if left out.")
    count: int | None = Field(default=None, ge=1, le=3600, description="Instead: this many frames, evenly spread.")
    scenes: bool = Field(default=True, description="Also look at a frame after every cut.")
    pooling: Literal["mean", "harmonic", "worst10"] = Field(default="mean", description="How scores become one.")
    worst: int = Field(default=5, ge=0, le=20, description="How many worst moments to keep.")
    explain: bool = Field(default=True, description="Say what is wrong in those.")
    format: Literal["json", "svg"] = Field(default="json", description="Everything, or the plot.")
    stream: bool = Field(default=False, description="Server-sent events `point` for each frame, then `done`.")


class Message(BaseModel):
    """One turn of a chat."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["user", "assistant"]
    content: str


class ChatRequest(BaseModel):
    """A question about pictures, after what was said before it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"images": [_EXAMPLE], "messages": [{"role": "user", "content": "What is wrong?"}]}]
        },
    )

    model: str | None = Field(default=None, description="One of the models served; the first one if left out.")
    images: list[Image] = Field(min_length=1, description="Shown at the start of the first message.")
    messages: list[Message] = Field(min_length=1, description="The last one is the user's.")
    stream: bool = Field(default=True, description="Server-sent events; else one JSON object.")

    @model_validator(mode="after")
    def _the_user_asks(self) -> ChatRequest:
        if self.messages[0].role != "user" or self.messages[-1].role != "user":
            raise ValueError("a chat begins and ends with a message of the user")
        return self


class ScoreAnswer(BaseModel):
    """A row for each picture, in order; one without a result says why in `error`."""

    results: list[Score | Failure]
    n_scored: int
    n_total: int


class RubricRow(BaseModel):
    """One picture by all rubrics of the request, in their order."""

    name: str
    scores: list[RubricScore]


class RubricAnswer(BaseModel):
    """A row for each picture, in order; one without a result says why in `error`."""

    results: list[RubricRow | Failure]
    n_scored: int
    n_total: int


class ChatAnswer(BaseModel):
    """What the model said."""

    answer: str
    model: str


class ErrorBody(BaseModel):
    """A code for programs, which never changes its meaning, and a sentence for people."""

    code: str
    message: str


class ErrorAnswer(BaseModel):
    """Every answer that is not a result."""

    error: ErrorBody


__all__ = [
    "ChatAnswer",
    "ChatRequest",
    "CompareRequest",
    "Comparison",
    "ErrorAnswer",
    "ExplainRequest",
    "RankRequest",
    "Ranking",
    "RubricAnswer",
    "RubricRequest",
    "Score",
    "ScoreAnswer",
    "ScoreRequest",
    "SentImage",
    "VideoRequest",
    "WhereRequest",
]
