"""Checkpoints: a directory transformers can load plus `card.json`, which says what the weights are and can do."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import CheckpointError
from .trust import TrustLimits, read_limits


class IntervalCard(BaseModel):
    """How to make an interval from the level distribution: MOS plus and minus `multiplier` times `std`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    coverage: float
    multiplier: float
    calibrated_on: str


class Card(BaseModel):
    """`card.json` of a checkpoint.

    Attributes:
        name, version, licence, base_model: what it is, under what terms, and made from what.
        languages: it answers in; max_pixels: default pixel budget of one picture.
        prompts: names of the prompt versions it was trained with.
        training_data: sources and terms; recipe: how it was trained.
        results: measured figures by name; each value says command, data, number and interval in words or numbers.
        interval: calibration of the interval, if there is one.
        sha256: of each weight file.
        base_sha256: of an adapter: the weight files of its base, where the base's card gives them.
        trust: from which values on its signals are unusual; kept in a file beside the card, see `trust.read_limits`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    version: str
    licence: str
    base_model: str | None
    languages: tuple[str, ...]
    max_pixels: int
    prompts: tuple[str, ...]
    training_data: tuple[str, ...]
    recipe: str
    results: dict[str, object]
    interval: IntervalCard | None = None
    sha256: dict[str, str]
    base_sha256: dict[str, str] = {}
    trust: TrustLimits | None = Field(default=None, exclude=True)

    @property
    def weights(self) -> str:
        """What tells these weights from others."""
        return " ".join(self.sha256[name] for name in sorted(self.sha256))


def read_card(folder: Path) -> Card | None:
    """The card of a checkpoint directory; None where there is none; a CheckpointError says what is wrong with it."""
    path = folder / "card.json"
    if not path.is_file():
        return None
    try:
        card = Card.model_validate(json.loads(path.read_text(encoding="utf-8")))
        return card.model_copy(update={"trust": read_limits(folder, weights=card.weights)})
    except (json.JSONDecodeError, ValidationError) as error:
        raise CheckpointError(f"{path}: not a valid card: {error}") from error


def write_card(folder: Path, card: Card) -> None:
    """Write the card of a checkpoint directory."""
    (folder / "card.json").write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def verify(folder: Path, card: Card) -> None:
    """Check that the weight files are those the card speaks of; a CheckpointError names the first that is not."""
    for name, expected in card.sha256.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path}: missing; the checkpoint is incomplete, install it again")
        found = sha256_of(path)
        if found != expected:
            raise CheckpointError(f"{path}: sha256 {found[:12]}... differs from the card's {expected[:12]}...")
