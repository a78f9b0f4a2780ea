"""The card of a checkpoint: written and read back, strict about its keys, and true about the weights."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from mllm_iqa.checkpoints import Card, IntervalCard, read_card, sha256_of, verify, write_card
from mllm_iqa.errors import CheckpointError

# SHA-256 of the three bytes "abc": the first example of FIPS 180-2, appendix B.1.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def card() -> Card:
    return Card(
        name="tiny",
        version="1",
        licence="Apache-2.0",
        base_model=None,
        languages=("en",),
        max_pixels=1024,
        prompts=("rate.v1",),
        training_data=("none",),
        recipe="random weights",
        results={"srcc": {"value": 0.5, "interval": [0.4, 0.6], "data": "somewhere"}},
        interval=IntervalCard(coverage=0.9, multiplier=1.5, calibrated_on="some photographs"),
        sha256={"a.safetensors": ABC},
    )


@pytest.fixture
def folder(tmp_path: Path, card: Card) -> Path:
    (tmp_path / "a.safetensors").write_bytes(b"abc")
    write_card(tmp_path, card)
    return tmp_path


def change(folder: Path, **values: object) -> None:
    path = folder / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_card_is_read_back_as_written(folder: Path, card: Card) -> None:
    assert read_card(folder) == card
    assert json.loads((folder / "card.json").read_text(encoding="utf-8"))["licence"] == "Apache-2.0"


def test_a_card_without_calibration_is_read_back_too(tmp_path: Path, card: Card) -> None:
    bare = card.model_copy(update={"interval": None})
    write_card(tmp_path, bare)
    assert read_card(tmp_path) == bare


def test_a_folder_without_a_card_has_none(tmp_path: Path) -> None:
    assert read_card(tmp_path) is None


def test_a_card_cannot_be_changed(card: Card) -> None:
    with pytest.raises(ValidationError):
        card.name = "other"  # type: ignore[misc]


def test_an_unknown_key_is_refused(folder: Path) -> None:
    change(folder, license="MIT")
    with pytest.raises(CheckpointError, match=r"card\.json: not a valid card: (?s:.*)license"):
        read_card(folder)


def test_an_unknown_key_of_the_calibration_is_refused(folder: Path) -> None:
    change(folder, interval={"coverage": 0.9, "multiplier": 1.5, "calibrated_on": "x", "bias": 0.1})
    with pytest.raises(CheckpointError, match=r"(?s)interval\.bias"):
        read_card(folder)


def test_a_missing_key_is_refused(folder: Path) -> None:
    path = folder / "card.json"
    whole = json.loads(path.read_text())
    del whole["max_pixels"]
    path.write_text(json.dumps(whole))
    with pytest.raises(CheckpointError, match="max_pixels"):
        read_card(folder)


def test_a_card_that_is_not_json_is_refused(folder: Path) -> None:
    (folder / "card.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"card\.json: not a valid card"):
        read_card(folder)


def test_the_digest_of_a_file(folder: Path) -> None:
    assert sha256_of(folder / "a.safetensors") == ABC


def test_the_right_weights_pass(folder: Path, card: Card) -> None:
    assert card.sha256
    verify(folder, card)


def test_a_flipped_bit_is_noticed(folder: Path, card: Card) -> None:
    (folder / "a.safetensors").write_bytes(b"abb")
    with pytest.raises(CheckpointError, match=rf"a\.safetensors: sha256 .* differs from the card's {ABC[:12]}"):
        verify(folder, card)


def test_a_missing_file_is_noticed(folder: Path, card: Card) -> None:
    (folder / "a.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"a\.safetensors: missing; the checkpoint is incomplete"):
        verify(folder, card)
