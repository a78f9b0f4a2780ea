"""Calibrating severities: an affine map from the mean severity word to the severity that was applied."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.base import Conversation
from mllm_iqa.checkpoints import Card, SeverityCard, read_card, write_card
from mllm_iqa.errors import DataError
from mllm_iqa.images import load_image
from mllm_iqa.levels import SEVERITIES
from mllm_iqa.prompt_files import load_prompt
from mllm_iqa.scoring import main_kind, normalised
from mllm_iqa.taxonomy import FAMILY_OF, KINDS

from .heldout import synthetic_items


def mean_severities(assistant: Assistant, pictures: Path) -> Iterator[tuple[int, float]]:
    """(severity applied, mean of the five severity words' probabilities) of each picture whose family is found.

    Args:
        assistant: the model.
        pictures: a set written by `mllm-iqa data heldout`; of training sources where the result calibrates a model.
    """
    prompt = load_prompt("distortion.v1")
    kinds = [prompt.phrase("none"), *(prompt.phrase("kind", kind=kind) for kind in KINDS)]
    words = [prompt.phrase("severity", severity=word) for word in SEVERITIES]
    for row in synthetic_items(pictures):
        picture = load_image(row["pixels"], max_pixels=assistant.max_pixels)
        asked = Conversation.ask([picture], prompt.question, prompt.answer_prefix)
        probs = normalised(assistant.backend.continuation_logprobs([asked], kinds))[0]
        kind = main_kind(float(probs[0]), probs[1:])
        if kind is not None and FAMILY_OF[kind] == row["family"]:
            named = asked.continued(prompt.phrase("kind", kind=kind) + prompt.phrase("before_severity"))
            said = normalised(assistant.backend.continuation_logprobs([named], words))[0]
            yield row["severity"], float(said @ np.arange(1, 6))


def fit(pairs: list[tuple[int, float]]) -> SeverityCard:
    """Least squares of the applied severity on the mean word.

    Raises:
        DataError: fewer than two pictures, or all with one mean.
    """
    applied, means = np.array([a for a, _ in pairs]), np.array([m for _, m in pairs])
    if len(pairs) < 2 or np.ptp(means) == 0:
        raise DataError(f"severities cannot be calibrated on {len(pairs)} pictures whose family was found")
    gain, offset = np.polyfit(means, applied, 1)
    source = f"{len(pairs)} distorted pictures of training sources"
    return SeverityCard(offset=round(float(offset), 3), gain=round(float(gain), 3), calibrated_on=source)


def record_severity(folder: Path, severity: SeverityCard) -> Card:
    """Write the calibration into the card of a checkpoint; returns the new card."""
    card = read_card(folder)
    if card is None:
        raise DataError(f"{folder}: no card.json to write the calibration into")
    new = card.model_copy(update={"severity": severity})
    write_card(folder, new)
    return new
