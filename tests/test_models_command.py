"""`mllm-iqa models`: everything known by name, and whether it is here."""

import json
from pathlib import Path

import pytest

from mllm_iqa.cli import main
from mllm_iqa.models_command import described
from mllm_iqa.registry import MODELS, ModelEntry


def test_every_model_is_shown_with_what_a_user_must_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "can", "size", "licence", "where", "source", "note"]
    for line, entry in zip(lines, MODELS.values(), strict=True):
        assert line.startswith(entry.name) and entry.licence in line and entry.note in line
        assert ", ".join(entry.can) in line and entry.parameters in line
    assert "in the package" in lines[0]


def test_programs_get_all_of_an_entry(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--format", "json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["nano"]["bytes"] > 10_000_000 and rows["nano"]["where"] == "in the package"
    one = rows["q-insight"]
    assert (one["answer"], one["prompt"], one["subfolder"]) == ("number", "rate_qinsight.v1", "score_degradation")


def test_a_model_is_here_only_when_all_its_weights_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(tmp_path))
    entry = ModelEntry("x", "some/one", "main", "MIT", "1 B", ("score",), "Nothing.")
    assert described(entry)["where"] == "to be downloaded"
    snapshot = tmp_path / "models--some--one" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    refs = tmp_path / "models--some--one" / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    (snapshot / "config.json").write_text("{}")
    assert described(entry)["where"] == "to be downloaded"
    (snapshot / "model.safetensors").write_bytes(bytes(3_000_000))
    found = described(entry)
    assert (found["where"], found["size"], found["bytes"]) == ("here", "1 B (3 MB)", 3_000_002)


@pytest.mark.parametrize(
    ("model", "reason"),
    [("nanno", "no model named 'nanno'"), ("fake", "fake has no weights, so there is nothing to fetch")],
)
def test_what_cannot_be_fetched_is_one_line(model: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "pull", model]) == 2
    assert capsys.readouterr().err.startswith(f"mllm-iqa: error: {reason}")


def test_what_ships_in_the_package_need_not_be_fetched(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "pull", "nano"]) == 0
    assert Path(capsys.readouterr().out.strip()).name == "nano"


@pytest.mark.parametrize("command", ["score", "compare", "chat"])
def test_the_options_of_loading_are_offered(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert all(option in text for option in ("--dtype", "--quantize", "--adapter", "--device"))
