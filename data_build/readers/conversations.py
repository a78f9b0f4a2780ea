"""JSON of other projects: Q-Align and DeQA-Score training data, and LLaVA conversations that end in a score."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mllm_iqa.levels import LEVELS, VALUES

from .archive import Archive
from .entries import Entry
from .options import DEFAULTS, Options, collect_below
from .records import Reading
from .scale import Scale
from .score_files import json_objects, number

MOS_SCALE = Scale(1, 5)


def read_qalign_json(
    path: Path, *, scale: Scale = MOS_SCALE, media_root: Path | None = None, options: Options = DEFAULTS
) -> Reading:
    """Q-Align training data: objects with `image` and `gt_score`; without a score, the level word of the answer."""

    def entries(archive: Archive) -> Iterator[Entry]:
        for item in json_objects(path):
            score = item["gt_score"] if "gt_score" in item else _worded(_answer(item), scale)
            yield Entry(image=_image(item), score=score)

    return collect_below(path, entries, scale, media_root, options)


def read_deqa_json(path: Path, *, media_root: Path | None = None, options: Options = DEFAULTS) -> Reading:
    """DeQA-Score training data: `gt_score_norm` and `std_norm` are already on 1..5; `gt_score` and `std` are kept.

    `level_probs` are labels computed from the scores, no votes, and are not read.
    """

    def entries(archive: Archive) -> Iterator[Entry]:
        for item in json_objects(path):
            yield Entry(
                image=_image(item),
                score=item.get("gt_score_norm"),
                std=item.get("std_norm"),
                original=item.get("gt_score"),
                original_std=item.get("std"),
            )

    return collect_below(path, entries, MOS_SCALE, media_root, options)


def read_llava_json(
    path: Path, *, scale: Scale = MOS_SCALE, media_root: Path | None = None, options: Options = DEFAULTS
) -> Reading:
    """LLaVA conversations, a JSON list or JSON Lines: the score is the last answer.

    The answer is a number on the scale, or a text with exactly one of the five level words, which stands for its place
    on the scale. Anything else ("8/10", two different words) is reported, never guessed.
    """

    def entries(archive: Archive) -> Iterator[Entry]:
        for item in json_objects(path):
            answer = _answer(item)
            yield Entry(image=_image(item), score=answer if number(answer) is not None else _worded(answer, scale))

    return collect_below(path, entries, scale, media_root, options)


def _image(item: Mapping[str, Any]) -> str:
    """The only picture of an item; '' when it names none or several."""
    value = item.get("image")
    if isinstance(value, list):
        value = value[0] if len(value) == 1 else None
    return value if isinstance(value, str) else ""


def _answer(item: Mapping[str, Any]) -> object:
    """What the last turn says if it is the model's; None otherwise."""
    turns = item.get("conversations")
    last = turns[-1] if isinstance(turns, list) and turns else None
    return last.get("value") if isinstance(last, dict) and last.get("from") in ("gpt", "assistant") else None


def _worded(answer: object, scale: Scale) -> object:
    """The score that the only level word of a text stands for; the text itself when there is not exactly one."""
    words = set(re.findall(rf"\b({'|'.join(LEVELS)})\b", str(answer).lower()))
    if len(words) != 1:
        return answer
    share = (float(VALUES[LEVELS.index(words.pop())]) - 1) / 4
    return scale.low + (share if scale.higher_is_better else 1 - share) * (scale.high - scale.low)
