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
NEEDS_DATA = ("data bank", "data build", "data leak", "data export", "data heldout", "eval heldout", "eval speed")
NEEDS_DATA += ("train", "eval run", "eval compare")
RUNS_ON = ("serve",)  # tests/serve starts it
MINUTES = (["eval"],)  # tests/eval/test_whole_command.py runs a small one


def test_readme_has_commands_and_python() -> None:
    assert len(COMMANDS) >= 5
    assert any(kind == "python" for kind, _ in BLOCKS)
    assert len(_sessions()) >= 4


@pytest.mark.parametrize("command", COMMANDS)
def test_command_runs(command: str) -> None:
    arguments = shlex.split(command)[1:]
    if arguments in MINUTES or " ".join(arguments).startswith(NEEDS_DATA + RUNS_ON):
        # Hours of work on data that is not part of the project: its options must exist and parse.
        given = {a for a in arguments if a.startswith("--")}
        depth = 1 if arguments[0] in ("train", "serve") else min(2, len(arguments))
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


def _sessions() -> list[tuple[str, list[str]]]:
    """Commands of the README whose output is pasted below them, with those lines."""
    sessions: list[tuple[str, list[str]]] = []
    for text in (text for kind, text in BLOCKS if kind == "console"):
        for line in text.splitlines():
            if line.startswith("$ "):
                sessions.append((line[2:], []))
            elif sessions:
                sessions[-1][1].append(line)
    return [(command, lines) for command, lines in sessions if any(lines)]


def _told(line: str) -> tuple[str, list[float]]:
    """A line without its bars and numbers, and the numbers: other processors round them differently."""
    line = re.sub(r"[█▏▎▍▌▋▊▉]+", "", line).rstrip()
    return re.sub(r"\d+(\.\d+)?", "#", line), [float(n) for n in re.findall(r"\d+(?:\.\d+)?", line)]


@pytest.mark.parametrize(("command", "pasted"), _sessions())
def test_pasted_output_is_what_the_command_prints(command: str, pasted: list[str]) -> None:
    question = "What is wrong with this image?"
    pasted = [line for line in pasted if line != question]
    run = subprocess.run(
        [sys.executable, "-m", "mllm_iqa", *shlex.split(command)[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        input=f"{question}\n",
    )
    printed = run.stdout.splitlines()
    assert len(printed) == len(pasted)
    for mine, theirs in zip(pasted, printed, strict=True):
        if mine.endswith("..."):
            mine = mine.removesuffix("...").rpartition(",")[0]
            theirs = ",".join(theirs.split(",")[: mine.count(",") + 1])
        (words, numbers), (real_words, real_numbers) = _told(mine), _told(theirs)
        assert words == real_words
        assert numbers == pytest.approx(real_numbers, abs=0.02)


@pytest.mark.parametrize("code", [text for kind, text in BLOCKS if kind == "python"])
def test_python_runs(code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.strip()
