"""Names of models: what stands behind one, and that a mistyped one is told from a hub id."""

from pathlib import Path

import pytest

import mllm_iqa
from mllm_iqa.errors import CheckpointError
from mllm_iqa.registry import ALL, MODELS, NANO, resolve


def test_entries_stand_under_their_names_and_say_what_they_are() -> None:
    assert {"nano", "fake"} <= set(MODELS)
    for name, entry in MODELS.items():
        assert name == entry.name
        assert entry.licence and entry.parameters and entry.note.endswith(".")
        assert set(entry.can) <= set(ALL)


def test_nano_lies_in_the_package() -> None:
    assert resolve("nano") == str(NANO)
    assert Path(mllm_iqa.__file__).parent in NANO.parents


def test_a_directory_is_itself(tmp_path: Path) -> None:
    assert resolve(str(tmp_path)) == str(tmp_path)


def test_a_name_goes_before_a_directory_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nano").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve("nano") == str(NANO)
    assert resolve("./nano") == "./nano"


def test_a_relative_directory_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "last").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve("runs/last") == "runs/last"


def test_a_hub_id_is_itself() -> None:
    assert resolve("Qwen/Qwen3-VL-2B-Instruct") == "Qwen/Qwen3-VL-2B-Instruct"


@pytest.mark.parametrize("wrong", ["nanno", "/no/such/folder", "./none", "../none/here", "~/models/nano", ""])
def test_what_is_neither_is_an_error_that_lists_the_names(wrong: str) -> None:
    with pytest.raises(CheckpointError, match=f"no model named {wrong!r}: .*nano.*fake"):
        resolve(wrong)
