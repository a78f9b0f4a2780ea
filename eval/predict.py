"""Predict: ask a model every question of a test set, into a predictions file that can go on after an interruption."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mllm_iqa import __version__
from mllm_iqa.errors import ImageError
from mllm_iqa.images import Picture, load_image

from .items import Item, digest
from .predictions import row_line, rows_to_keep
from .task import Loaded, Models, Task
from .thumbnails import small_jpeg

_THUMBNAIL_SIDE = 112
_THUMBNAIL_QUALITY = 72


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: items done, items there are, items that failed so far."""

    done: int
    total: int
    failed: int


def predict(
    task: Task, models: Models, items: Sequence[Item], out: Path, *, batch_size: int = 8, thumbnails: bool = True
) -> Iterator[Progress]:
    """Answer every item, in order, into a predictions file; what is already there is kept.

    Args:
        task: says how the model is asked.
        models: whom is asked.
        items: the test set.
        out: the file to write or go on with.
        batch_size: items per pass and per write.
        thumbnails: whether rows carry small pictures, so that a report needs nothing else.

    Yields:
        After every batch, how far it is. A picture that cannot be read gives a row with "error".

    Raises:
        DataError: the file belongs to another run; see `predictions.rows_to_keep`.
    """
    header = header_of(task, models, items, batch_size=batch_size, thumbnails=thumbnails)
    done = rows_to_keep(out, header, [item.id for item in items], batch_size)
    failed = sum(b'"error":' in line for line in out.read_bytes().splitlines()[1:])
    yield Progress(done, len(items), failed)
    with out.open("a", encoding="utf-8") as file:
        for start in range(done, len(items), batch_size):
            rows = _answered(task, models, items[start : start + batch_size], thumbnails=thumbnails)
            file.write("".join(map(row_line, rows)))
            file.flush()
            failed += sum("error" in row for row in rows)
            yield Progress(start + len(rows), len(items), failed)


def header_of(
    task: Task, models: Models, items: Sequence[Item], *, batch_size: int, thumbnails: bool
) -> dict[str, Any]:
    """What a predictions file was made with: everything that its rows depend on."""
    card, judge = models.assistant.card, models.judge
    return {
        "task": task.spec.name,
        "spec": task.spec.model_dump(mode="json"),
        "model": models.assistant.backend.name,
        "weights": {} if card is None else card.sha256,
        "training_data": [] if card is None else list(card.training_data),
        "max_pixels": models.assistant.max_pixels,
        "judge": None if judge is None else judge.backend.name,
        "items": len(items),
        "items_sha256": digest(items),
        "batch_size": batch_size,
        "thumbnails": thumbnails,
        "package": __version__,
    }


def _answered(task: Task, models: Models, items: Sequence[Item], *, thumbnails: bool) -> list[dict[str, Any]]:
    loaded: dict[str, Loaded] = {}
    errors: dict[str, str] = {}
    for item in items:
        try:
            pictures = tuple(load_image(source, max_pixels=models.assistant.max_pixels) for source in item.pictures)
        except ImageError as error:
            errors[item.id] = str(error)
        else:
            loaded[item.id] = Loaded(item, pictures)
    answers = dict(zip(loaded, task.answer(models, list(loaded.values())) if loaded else [], strict=True))
    rows = []
    for item in items:
        row = item.written()
        if item.id in errors:
            row["error"] = errors[item.id]
        else:
            pictures = loaded[item.id].pictures
            row["answer"] = answers[item.id]
            row["pictures"] = [_described(picture, thumbnails) for picture in pictures]
        rows.append(row)
    return rows


def _described(picture: Picture, thumbnail: bool) -> dict[str, Any]:
    info = picture.info
    described: dict[str, Any] = {
        "name": info.name,
        "width": info.width,
        "height": info.height,
        "judged": [info.judged_width, info.judged_height],
        "pixels_sha256": hashlib.sha256(picture.pixels.tobytes()).hexdigest(),
    }
    if thumbnail:
        side = _THUMBNAIL_SIDE
        described["thumbnail"] = small_jpeg(picture.pixels, side, side, quality=_THUMBNAIL_QUALITY)
    return described
