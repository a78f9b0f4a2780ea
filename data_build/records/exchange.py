"""Records as the JSON of other projects and back: LLaVA, Q-Instruct, Q-Align and DeQA-Score training data.

What each can hold, and therefore keeps on the way there and back:

| format | records | kept |
|---|---|---|
| llava | any | id, pictures (as files), conversation with the places of the pictures |
| q-instruct | about one picture | the same |
| q-align | ratings of one picture | the same, and the MOS |
| deqa | ratings of one picture | the same, MOS, std, and the soft label |

Pictures stand as `<image>` (Q-Align and DeQA: `<|image|>`, after the text) in the text of the human side; a record
whose own words hold that mark cannot be written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Literal

from mllm_iqa.errors import DataError
from mllm_iqa.levels import LEVELS, MOS_MAX, MOS_MIN, two_level_label
from mllm_iqa.prompt_files import WRITTEN_LANGUAGES, load_prompt

from .asked import level_label
from .schema import Answer, Image, Message, Part, Policy, Record, RecordSplit
from .words import level_candidates


class Format(StrEnum):
    """The JSON of another project."""

    llava = "llava"
    q_instruct = "q-instruct"
    q_align = "q-align"
    deqa = "deqa"


_RATINGS = (Format.q_align, Format.deqa)
_SIDES: dict[str, Literal["system", "user", "assistant"]] = {"system": "system", "human": "user", "gpt": "assistant"}
_SIDE_OF = {role: side for side, role in _SIDES.items()}


def fits(record: Record, format: Format) -> bool:
    """Whether a format can hold a record."""
    if format is Format.llava:
        return True
    single = len(record.images) == 1
    return single and (format is Format.q_instruct or (record.task == "rate" and record.answer.mos is not None))


def to_item(record: Record, files: Sequence[str], format: Format) -> dict[str, Any]:
    """The JSON object of a record.

    Args:
        record: one that the format can hold.
        files: the pictures' paths as the JSON shall name them.
        format: the project.

    Raises:
        DataError: a record that does not fit, or whose words hold the mark of a picture.
    """
    if not fits(record, format):
        raise DataError(f"{record.id}: {format} cannot hold a record of task {record.task} about {len(files)} pictures")
    image: str | list[str] = files[0] if len(files) == 1 else list(files)
    turns = [{"from": _SIDE_OF[message.role], "value": _marked(record, message, format)} for message in record.messages]
    item: dict[str, Any] = {"id": record.id, "image": image, "conversations": turns}
    answer = record.answer
    if format is Format.q_align:
        item["gt_score"] = answer.mos
    if format is Format.deqa:
        item |= {"gt_score": answer.mos, "gt_score_norm": answer.mos, "std": answer.std, "std_norm": answer.std}
        item["level_probs"] = list(record.probs)
    return item


def from_item(item: Mapping[str, Any], format: Format, *, dataset: str, number: int, split: RecordSplit) -> Record:
    """The record of a JSON object; what the object does not say is empty.

    A DeQA soft label that does not sum to 1 is computed anew from the MOS and std; Q-Align, which has none, gets the
    two levels next to its score. The word it stands for must be found where ratings have it, else there is no label.

    Args:
        item: the object.
        format: the project.
        dataset: name that the sources and groups begin with.
        number: of the object, its id where it has none.
        split: of the record.

    Raises:
        DataError: an object that breaks the format.
    """
    where = f"{dataset}, item {number}"
    images = _images(item, where)
    turns = item.get("conversations")
    if not isinstance(turns, list) or not turns:
        raise DataError(f"{where}: expected a list `conversations`")
    messages = tuple(_message(turn, format, where) for turn in turns)
    marks = sum(part.type == "image" for message in messages for part in message.content)
    if marks != len(images):
        raise DataError(f"{where}: names {len(images)} pictures, and its conversation has marks of {marks}")
    mos = _score(item, format, where)
    std = item.get("std_norm") if format is Format.deqa else None
    probs, policy = _label(item.get("level_probs"), mos, std)
    place, candidates = _level_place(messages[-1].text) if mos is not None else (-1, ())
    sources = tuple(f"{dataset}/{image}" for image in images)
    return Record(
        id=str(item.get("id", f"{dataset}-{number}")),
        task="rate" if format in _RATINGS else "conversation",
        prompts=(),
        language="zh" if re.search("[\u4e00-\u9fff]", messages[-1].text) else "en",
        length="long" if format in _RATINGS or len(messages[-1].text.split()) > 3 else "short",
        images=tuple(Image(None, image) for image in images),
        messages=messages,
        answer=Answer(policy=policy if place >= 0 else "", mos=mos, std=std),
        groups=sources,
        sources=sources,
        split=split,
        seed=0,
        read_at=place,
        candidates=candidates,
        probs=probs if place >= 0 else (),
    )


def _mark(format: Format) -> str:
    return "<|image|>" if format in _RATINGS else "<image>"


def _marked(record: Record, message: Message, format: Format) -> str:
    """The text of a message with a line for every picture."""
    mark = _mark(format)
    if any(part.text is not None and mark in part.text for part in message.content):
        raise DataError(f"{record.id}: its words hold {mark!r}, which {format} reads as a picture")
    parts = message.content
    if format in _RATINGS:
        parts = tuple(sorted(parts, key=lambda part: part.type == "image"))
    return "\n".join(mark if part.text is None else part.text for part in parts)


def _message(turn: Any, format: Format, where: str) -> Message:
    if not isinstance(turn, dict) or turn.get("from") not in _SIDES or not isinstance(turn.get("value"), str):
        raise DataError(f"{where}: a turn must have `from` ({', '.join(_SIDES)}) and a text `value`, got {turn!r}")
    mark, parts = _mark(format), list[Part]()
    texts = turn["value"].split(mark)
    for place, text in enumerate(texts):
        if place > 0:
            parts.append(Part("image"))
            text = text.removeprefix("\n")
        if place < len(texts) - 1:
            text = text.removesuffix("\n")
        if text or len(texts) == 1:
            parts.append(Part("text", text))
    if format in _RATINGS:  # asked after the picture here
        parts.sort(key=lambda part: part.type == "text")
    return Message(_SIDES[turn["from"]], tuple(parts))


def _images(item: Mapping[str, Any], where: str) -> tuple[str, ...]:
    image = item.get("image", [])
    images = tuple(image) if isinstance(image, list) else (image,)
    if not all(isinstance(one, str) and one for one in images):
        raise DataError(f"{where}: `image` must be a path or a list of paths, got {image!r}")
    return images


def _score(item: Mapping[str, Any], format: Format, where: str) -> float | None:
    """The MOS of a rating."""
    if format not in _RATINGS:
        return None
    name = "gt_score_norm" if format is Format.deqa else "gt_score"
    score = item.get(name)
    if not isinstance(score, int | float) or not MOS_MIN <= score <= MOS_MAX:
        raise DataError(
            f"{where}: `{name}` must be a MOS from {MOS_MIN:g} to {MOS_MAX:g}, got {score!r}; scores on another scale "
            "are read by `mllm_iqa.data_build.readers.read_qalign_json` with their scale"
        )
    return float(score)


def _label(probs: Any, mos: float | None, std: float | None) -> tuple[tuple[float, ...], Policy]:
    if mos is None:
        return (), ""
    if isinstance(probs, list) and len(probs) == len(LEVELS) and math.isclose(sum(probs), 1, abs_tol=1e-6):
        return tuple(float(p) for p in probs), "raters" if std is not None else "assumed std"
    if std is not None:
        label = level_label(mos, std)
        return label.probs, label.policy
    return tuple(float(p) for p in two_level_label(mos)), "two levels"


def _level_place(reply: str) -> tuple[int, tuple[str, ...]]:
    """Where the level word stands in a rating, and the words that could; -1 where it is no rating of ours."""
    for language in WRITTEN_LANGUAGES:
        prefix = load_prompt("rate.v2", language).answer_prefix
        candidates = level_candidates("rate.v2", language)
        if reply.startswith(tuple(prefix + candidate for candidate in candidates)):
            return len(prefix), candidates
    return -1, ()
