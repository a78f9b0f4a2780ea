"""The report on this machine survives whatever it meets, and says what follows."""

import os
from pathlib import Path

import pytest

from mllm_iqa import doctor
from mllm_iqa.checkpoints import Card, write_card
from mllm_iqa.doctor import Check, Package, check_code, check_model_files, check_package, guarded, nano_works

PURPOSE = "try this"


def test_a_package_that_imports_is_ok() -> None:
    assert check_package(Package("json", PURPOSE, "print(json.__name__)")) == Check("json", "ok", "json", PURPOSE)


def test_a_package_that_is_not_there_is_absent_and_says_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_package(Package("no_such_package", PURPOSE)).detail == "not installed"
    monkeypatch.setitem(doctor.EXTRA_OF, "no_such_package", "train")
    check = check_package(Package("no_such_package", PURPOSE))
    assert (check.status, check.detail) == ("absent", "not installed; pip install 'mllm-iqa[train]'")
    assert check.consequence == "cannot try this"


@pytest.mark.parametrize(
    ("code", "status", "detail"),
    [
        ("print('noise'); print('1.2.3')", "ok", "1.2.3"),
        ("raise RuntimeError('operator nms does not exist')", "broken", "RuntimeError: operator nms does not exist"),
        ("import os; os.abort()", "broken", "exit status -6"),
        ("import os; os._exit(3)", "broken", "exit status 3"),
        ("import sys; sys.stdout.buffer.write(b'\\xff')", "ok", "\ufffd"),
        ("input()", "broken", "EOFError: EOF when reading a line"),
    ],
)
def test_a_child_process_takes_the_blows(code: str, status: str, detail: str) -> None:
    check = check_code("x", code, purpose=PURPOSE)
    assert (check.status, check.detail) == (status, detail)


def test_a_child_process_that_hangs_is_given_up() -> None:
    check = check_code("x", "import time; time.sleep(60)", purpose=PURPOSE, timeout_s=0.5)
    assert (check.status, check.consequence) == ("broken", "cannot try this")
    assert check.detail.startswith("gave up after")


def test_a_module_in_the_current_folder_is_not_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    assert check_package(Package("numpy", PURPOSE)).status == "ok"


def test_a_check_that_raises_becomes_a_row() -> None:
    def probe() -> Check:
        raise OSError("disk on fire")

    assert guarded("disk", probe) == Check("disk", "broken", "OSError: disk on fire", "be examined")


# sha256("abc"), FIPS 180-2 appendix B.1
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_model_files_are_held_to_their_card(blank_card: Card, tmp_path: Path) -> None:
    assert check_model_files(tmp_path).status == "absent"
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"abc")
    write_card(tmp_path, blank_card.model_copy(update={"sha256": {weights.name: ABC}}))
    assert check_model_files(tmp_path).status == "ok"
    weights.write_bytes(b"abd")
    check = check_model_files(tmp_path)
    assert (check.status, "differs from the card" in check.detail) == ("broken", True)
    weights.unlink()
    check = check_model_files(tmp_path)
    assert (check.status, check.detail.startswith(f"{weights}: missing")) == ("broken", True)


def test_weights_that_the_card_does_not_list_are_broken(blank_card: Card, tmp_path: Path) -> None:
    write_card(tmp_path, blank_card)
    assert check_model_files(tmp_path).status == "broken"  # no weights at all
    (tmp_path / "model.safetensors").write_bytes(b"abc")
    check = check_model_files(tmp_path)
    assert (check.status, check.detail) == ("broken", f"{tmp_path / 'card.json'} gives no sha256 for the weights")


@pytest.mark.parametrize("card", ["{", "{}", "[]", '{"sha256": null}', "\xff"])
def test_an_unreadable_card_is_broken(tmp_path: Path, card: str) -> None:
    (tmp_path / "card.json").write_text(card, encoding="latin-1")
    check = guarded("nano files", lambda: check_model_files(tmp_path))
    assert (check.status, "\n" in check.detail) == ("broken", False)


@pytest.mark.parametrize(
    ("files", "scores", "works"),
    [("ok", "ok", True), ("ok", "broken", False), ("broken", "ok", False), ("absent", "broken", False)],
)
def test_nano_works_when_it_is_intact_and_scores(files: doctor.Status, scores: doctor.Status, works: bool) -> None:
    rows = [Check("gradio", "absent", "", ""), Check("nano files", files, "", ""), Check("nano scores", scores, "", "")]
    assert nano_works(rows) is works


def test_a_password_in_a_mirror_address_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://me:secret@mirror.example/hf")
    check = next(row for row in doctor.examine(packages=()) if row.name == "offline variables")
    assert "HF_ENDPOINT=https://***@mirror.example/hf" in check.detail
    assert "secret" not in check.detail


def test_the_report_lists_everything_even_where_nothing_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> object:
        raise PermissionError("no processes here")

    monkeypatch.setattr(doctor.subprocess, "run", refuse)
    monkeypatch.setenv("PATH", os.defpath)
    checks = doctor.examine()
    assert [row.name for row in checks] == [
        "python",
        *(package.module for package in doctor.PACKAGES),
        "chromium",
        "cache folder",
        "offline variables",
        "nano files",
        "nano scores",
    ]
    assert next(row for row in checks if row.name == "torch").status == "broken"
    assert not nano_works(checks)
