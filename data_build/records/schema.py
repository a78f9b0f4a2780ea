"""What a record is: one conversation about one to five pictures, and its answer in machine-readable form.

A record is a row of Parquet with these columns; `datasets.load_dataset("parquet", data_files=..., streaming=True)`
reads them with the pictures decoded.

| column | what it holds |
|---|---|
| id | unique: split, shard and place in the shard, such as "train-00012-0034" |
| task | name of the prompt file the question comes from: rate, distortion, compare ... |
| prompts | the prompt versions whose words are used, the task's first |
| language | "en" or "zh" |
| length | "short" (a word, a phrase or a letter) or "long" (sentences) |
| images | the pictures in the order they are shown: encoded bytes, or the path of a file |
| messages | the conversation in the Hugging Face chat format: role, content parts of type "image" or "text" |
| read_at | offset in the last message's text of the word that carries a soft label; -1 = none |
| candidates | the words that could stand there, as they would follow the text before |
| probs | soft label over the candidates, summing to 1 |
| answer | the fields of `Answer` |
| groups | for every picture what must never be split apart: its source, burst or reference |
| sources | for every picture the photograph it was made from: dataset/name |
| split | "train", "val" or "test" |
| seed | of the whole build; with the id it says how everything was drawn |
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Features

RecordSplit: TypeAlias = Literal["train", "val", "test"]
RECORD_SPLITS: tuple[RecordSplit, ...] = ("train", "val", "test")

Length: TypeAlias = Literal["short", "long"]
LENGTHS: tuple[Length, ...] = ("short", "long")

Winner: TypeAlias = Literal["a", "b", "tie"]
Policy: TypeAlias = Literal["raters", "assumed std", "two levels", "pseudo", "preference", "drawn", ""]
"""Where a soft label comes from.

raters: mean and spread of human raters. assumed std: their mean, and `ASSUMED_STD` as nobody published the spread.
two levels: their mean between the two neighboring levels. pseudo: what the distortions are worth to people, with
`ASSUMED_STD`. preference: the share of people who preferred one of two. drawn: the severity that was drawn, between its
two neighboring words. "": no soft label, or a single right answer.
"""


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: its encoded bytes (PNG or JPEG), or the path of its file; the other is None."""

    bytes: bytes | None
    path: str | None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message: an image (its text is None) or a text."""

    type: Literal["image", "text"]
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """What one side says."""

    role: Literal["system", "user", "assistant"]
    content: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text parts, joined as they stand."""
        return "".join(part.text or "" for part in self.content)


@dataclass(frozen=True, slots=True)
class Finding:
    """A distortion of picture `image` (0 = the first): taxonomy kind and family, severity 1..5."""

    image: int
    kind: str
    family: str
    severity: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What the last message says, for programs; None or empty where the question is not about it.

    Attributes:
        policy: where the soft label comes from.
        mos: of the judged picture, 1..5; std: spread of its raters, None = unknown.
        mos_each: of every picture of a comparison or ranking, the reference left out.
        findings: distortions of the pictures, most harmful first, an undistorted one having none; None = unknown.
        winner: of a comparison: of the pictures that are not the reference, "a" is shown before "b".
        ranking: places (0 = the first shown) of the pictures from best to worst.
        options: of a multiple choice, as they stand in the question; choice: the letter of the right one.
        yes: the answer to a yes-no question.
        region: where the damage is, a key of the prompt where; box: [left, top, right, bottom] in thousandths of the
            width and height.
        question_type, concern: as in Q-Bench: "yes-no", "how" or "what"; "global distortion", "global others",
            "local distortion" or "local others".
    """

    policy: Policy = ""
    mos: float | None = None
    std: float | None = None
    mos_each: tuple[float, ...] = ()
    findings: tuple[Finding, ...] | None = None
    winner: Winner | None = None
    ranking: tuple[int, ...] = ()
    options: tuple[str, ...] = ()
    choice: str | None = None
    yes: bool | None = None
    region: str | None = None
    box: tuple[int, ...] = ()
    question_type: str | None = None
    concern: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One row; the module's docstring says what each field is."""

    id: str
    task: str
    prompts: tuple[str, ...]
    language: str
    length: Length
    images: tuple[Image, ...]
    messages: tuple[Message, ...]
    answer: Answer
    groups: tuple[str, ...]
    sources: tuple[str, ...]
    split: RecordSplit
    seed: int
    read_at: int = -1
    candidates: tuple[str, ...] = ()
    probs: tuple[float, ...] = ()


def to_row(record: Record) -> dict[str, Any]:
    """The record as a row of plain values."""
    row: dict[str, Any] = asdict(record)
    return row


def from_row(row: dict[str, Any]) -> Record:
    """The record of a row that Parquet gave back, pictures not decoded."""
    answer = {name: _tuple(value) for name, value in row["answer"].items()}
    if answer["findings"] is not None:
        answer["findings"] = tuple(Finding(**finding) for finding in answer["findings"])
    values = {name: _tuple(row[name]) for name in (field.name for field in fields(Record))}
    values["images"] = tuple(Image(**image) for image in row["images"])
    values["messages"] = tuple(
        Message(message["role"], tuple(Part(**part) for part in message["content"])) for message in row["messages"]
    )
    return Record(**values | {"answer": Answer(**answer)})


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def features() -> Features:
    """The columns as `datasets` knows them."""
    from datasets import Features, List, Value
    from datasets import Image as ImageFeature

    text, number, real = Value("string"), Value("int32"), Value("float64")
    finding = {"image": number, "kind": text, "family": text, "severity": number}
    answer = {
        **{"policy": text, "mos": real, "std": real, "mos_each": List(real), "findings": List(finding)},
        **{"winner": text, "ranking": List(number), "options": List(text), "choice": text, "yes": Value("bool")},
        **{"region": text, "box": List(number), "question_type": text, "concern": text},
    }
    return Features(
        {
            **{"id": text, "task": text, "prompts": List(text), "language": text, "length": text},
            "images": List(ImageFeature()),
            "messages": List({"role": text, "content": List({"type": text, "text": text})}),
            **{"read_at": number, "candidates": List(text), "probs": List(real), "answer": answer},
            **{"groups": List(text), "sources": List(text), "split": text, "seed": Value("int64")},
        }
    )


def arrow_schema() -> pa.Schema:
    """The columns as Parquet stores them, with what `datasets` needs to know about them."""
    schema: pa.Schema = features().arrow_schema
    return schema
