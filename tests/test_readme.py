"""Every command and every line of Python in the README runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")

BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [
    line[2:]
    for kind, text in BLOCKS
    if kind == "console"
    for line in text.splitlines()
    if line.startswith("$ mllm-iqa")
]
NEEDS_DATA = ("data build", "data heldout", "eval heldout", "eval speed", "train")


def test_readme_has_commands_and_python() -> None:
    assert len(COMMANDS) >= 5
    assert any(kind == "python" for kind, _ in BLOCKS)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_runs(command: str) -> None:
    arguments = shlex.split(command)[1:]
    if " ".join(arguments).startswith(NEEDS_DATA):
        # Hours of work on data that is not part of the project: its options must exist and parse.
        given = {a for a in arguments if a.startswith("--")}
        depth = 1 if arguments[0] == "train" else 2
        run = subprocess.run(
            [sys.executable, "-m", "mllm_iqa", *arguments[:depth], "--help"], cwd=ROOT, capture_output=True, text=True
        )
        assert run.returncode == 0
        assert all(option in run.stdout for option in given)
        return
    run = subprocess.run(
        [sys.executable, "-m", "mllm_iqa", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        input="What is wrong with this image?\n",
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()


@pytest.mark.parametrize("code", [text for kind, text in BLOCKS if kind == "python"])
def test_python_runs(code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()
