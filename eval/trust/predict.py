"""What a model says of photographs and of pictures no rater would be asked about, once, into a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.features import features_of
from mllm_iqa.errors import DataError
from mllm_iqa.images import load_image
from mllm_iqa.prompt_files import load_prompt
from mllm_iqa.rating import level_logprobs, mos_by_question

from .pictures import KINDS, doubtful

PHOTO = "photo"
PROMPT = "rate.v1"


@dataclass(frozen=True, slots=True)
class Job:
    """One picture to be judged: its set (`PHOTO` or a key of `KINDS`), its path or seed, and its human MOS if any."""

    set: str
    source: str
    mos: float | None
    subset: str = ""

    def picture(self) -> np.ndarray | str:
        """What `load_image` takes."""
        if self.set == PHOTO:
            return self.source
        return doubtful(self.set, np.random.default_rng([int(s) for s in self.source.split("-")]))


def jobs_of(photos: Path, *, each: int, seed: int) -> list[Job]:
    """The validation photographs of a bank with their human scores, and `each` pictures of every doubtful kind."""
    if not photos.is_file():
        raise DataError(f"{photos}: not found; `mllm-iqa data bank` writes it")
    rows = [row for row in pq.read_table(photos).to_pylist() if row["split"] == "val" and row["mos"] is not None]
    found = [Job(PHOTO, row["path"], row["mos"], row["subset"]) for row in rows]
    # Kinds take turns, so that a part of the file has all of them.
    return found + [Job(kind, f"{seed}-{k}-{i}", None) for i in range(each) for k, kind in enumerate(KINDS)]


def predict(assistant: Assistant, jobs: list[Job], out: Path) -> Iterator[int]:
    """Judge the pictures into a JSON-lines file, going on after the rows that are there; yields rows done.

    A row holds the log-probabilities of the levels, the MOS by wording of the question, and the vision features.

    Raises:
        DataError: the rows that are there are of another model or of other pictures.
    """
    made_with = {"model": assistant.backend.name, "weights": assistant.weights}
    known = read_rows(out) if out.exists() else []
    for row, job in zip(known, jobs, strict=False):
        if row["made_with"] != made_with or (row["set"], row["source"]) != (job.set, job.source):
            raise DataError(f"{out}: made with another model or other pictures; name another folder")
    prompt = load_prompt(PROMPT)
    with out.open("a", encoding="utf-8") as file:
        for done, job in enumerate(jobs[len(known) :], start=len(known) + 1):
            picture = load_image(job.picture(), max_pixels=assistant.max_pixels)
            logprobs = level_logprobs(assistant.backend, prompt, [[picture]], prompt.question)
            by_question = mos_by_question(assistant.backend, [picture], prompt, logprobs)
            features = features_of(assistant.backend, [picture])
            row = {
                "set": job.set,
                "source": job.source,
                "subset": job.subset,
                "human": job.mos,
                "logprobs": logprobs[0].tolist(),
                "mos_by_question": None if by_question is None else by_question[0].tolist(),
                "features": None if features is None else features[0].astype(float).round(5).tolist(),
                "made_with": made_with,
            }
            file.write(json.dumps(row) + "\n")
            file.flush()
            yield done


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a predictions file; one that was cut off in the middle of writing is removed."""
    written = path.read_bytes()
    whole = written[: written.rfind(b"\n") + 1]
    if len(whole) < len(written):
        path.write_bytes(whole)
    return [json.loads(line) for line in whole.splitlines()]
