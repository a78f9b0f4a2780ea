"""Names of models: what stands behind one, and that a mistyped one is told from a hub id."""

from pathlib import Path

import pytest

import mllm_iqa
from mllm_iqa.answers import Rating, parse_rating
from mllm_iqa.errors import CheckpointError
from mllm_iqa.levels import LEVELS
from mllm_iqa.prompt_files import load_prompt
from mllm_iqa.registry import ALL, MODELS, NANO, ModelEntry, entry_of, resolve


def test_entries_stand_under_their_names_and_say_what_they_are() -> None:
    assert {"nano", "fake"} <= set(MODELS)
    for name, entry in MODELS.items():
        assert name == entry.name
        assert entry.licence and entry.parameters and entry.note.endswith(".")
        assert set(entry.can) <= {*ALL, "video"}


@pytest.mark.parametrize("entry", MODELS.values(), ids=list(MODELS))
def test_an_entry_can_be_asked_and_read(entry: ModelEntry) -> None:
    prompt = load_prompt(entry.prompt)
    assert "score" in entry.can and prompt.images == 1
    if entry.answer == "number":
        assert entry.answer_tokens >= 1024 and "compare" not in entry.can
        assert isinstance(parse_rating(prompt.phrase("example"), prompt), Rating)
    else:
        assert entry.answer_tokens == 0
        words = [prompt.phrase(f"level/{w}") if f"level/{w}" in prompt.phrases else f" {w}" for w in LEVELS]
        assert [word.strip().lower() for word in words] == list(LEVELS)


@pytest.mark.parametrize("entry", [e for e in MODELS.values() if e.revision is not None], ids=lambda e: e.name)
def test_what_comes_from_the_hub_says_which_revision(entry: ModelEntry) -> None:
    assert entry.source.count("/") == 1
    assert entry.revision == "main" or (len(entry.revision or "") == 40 and "pinned" in entry.note)
    # The hub id means the same as the name, whatever its revision.
    assert entry_of(entry.source) is entry_of(f"{entry.source}@v1") is entry_of(entry.name) is entry


def test_what_has_no_entry_is_asked_as_usual(tmp_path: Path) -> None:
    assert entry_of("some/model") is entry_of(str(tmp_path)) is entry_of(str(NANO)) is None


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
