"""Results for people: nothing is cut off, nothing drives the terminal, and bars stay out of the results."""

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from mllm_iqa.terminal import console, printable, show_comparison, show_results, show_score, show_table
from mllm_iqa.types import Comparison, Failure, Finding, ImageInfo, Interval, Score

SCORE = Score(
    mos=2.3,
    std=0.64,
    interval=Interval(1.25, 3.5, 0.9, "level distribution (uncalibrated)"),
    levels={"excellent": 0.0, "good": 0.1, "fair": 0.1, "poor": 0.8, "bad": 0.0},
    outside_mass=0.001,
    distortions=(Finding("JPEG compression", "compression", 4, 0.75, (0.0, 0.0, 1.0, 0.5)),),
    explanation="The picture shows serious JPEG compression.",
    confidence=0.5,
    image=ImageInfo("[bold]a[/bold] 图.jpg", 640, 480, 320, 240, ("EXIF orientation 6 applied",)),
    model="FAKE",
    prompt="rate.v1",
)
FAILURE = Failure("broken.jpg", "is not a picture")
COMPARISON = Comparison(
    winner="b",
    probability=0.7,
    probabilities={"a": 0.2, "b": 0.7, "tie": 0.1},
    order_flip=True,
    explanation=None,
    confidence=None,
    a=SCORE.image,
    b=ImageInfo("b.jpg", 9, 9, 9, 9),
    reference=ImageInfo("r.jpg", 9, 9, 9, 9),
    distortions_a=SCORE.distortions,
    distortions_b=(),
    model="FAKE",
    prompt="compare.v1",
)


def terminal(width: int) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, force_terminal=True, color_system=None, width=width, highlight=False), file


def plain() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return console(file), file


def test_a_single_score_as_plain_text() -> None:
    on, file = plain()
    show_score(SCORE, on=on)
    assert file.getvalue().splitlines() == [
        "[bold]a[/bold] 图.jpg",
        "MOS 2.30 of 5 (poor), 90% interval 1.25 to 3.50 [level distribution (uncalibrated)], std 0.64",
        "excellent 0.000",
        "good      0.100 ███",  # 30 cells stand for probability 1
        "fair      0.100 ███",
        "poor      0.800 ████████████████████████",
        "bad       0.000",
        "no level  0.001",
        "",
        "JPEG compression  serious  p=0.75  at 0.00, 0.00, 1.00, 0.50",
        "",
        "The picture shows serious JPEG compression.",
        "confidence of the text 0.50",
        "",
        "640x480 pixels, judged at 320x240; EXIF orientation 6 applied",
        "model FAKE, prompt rate.v1",
    ]


def test_a_clean_picture_differs_from_one_not_examined() -> None:
    outs = []
    for distortions in ((), None):
        on, file = plain()
        show_score(replace(SCORE, distortions=distortions), on=on)
        outs.append(file.getvalue())
    assert "no distortion found" in outs[0]
    assert "distortion" not in outs[1]


def test_several_results_as_plain_text() -> None:
    on, file = plain()
    show_results([SCORE, FAILURE], on=on)
    assert file.getvalue().splitlines() == [
        "picture                 MOS  interval      level  distortions",
        "[bold]a[/bold] 图.jpg  2.30  1.25 to 3.50  poor   JPEG compression (serious, p=0.75)",  # 图 is two cells wide
        "broken.jpg                -  -             -      error: is not a picture",
        "",
        "[bold]a[/bold] 图.jpg: The picture shows serious JPEG compression. (confidence 0.50)",
        "1/2 scored; model FAKE, prompt rate.v1",
    ]


def test_a_comparison_as_plain_text() -> None:
    on, file = plain()
    show_comparison(COMPARISON, on=on)
    assert file.getvalue().splitlines() == [
        "b.jpg is better (probability 0.70; the two orders disagree on the winner: distrust the verdict)",
        "a better 0.20, b better 0.70, tie 0.10",
        "a = [bold]a[/bold] 图.jpg: JPEG compression (serious, p=0.75)",
        "b = b.jpg: none found",
        "reference = r.jpg",
        "model FAKE, prompt compare.v1",
    ]


@pytest.mark.parametrize("width", [40, 60, 200])
def test_a_narrow_terminal_folds_but_loses_nothing(width: int) -> None:
    on, file = terminal(width)
    name = "folder/" + "ж" * 50 + ".jpg"
    show_results([SCORE, replace(SCORE, image=replace(SCORE.image, name=name)), FAILURE], on=on)
    show_table(["what", "detail"], [["a", "y" * 77]], on=on)
    out = file.getvalue()
    assert "…" not in out
    assert max(len(line) for line in out.splitlines()) <= width
    assert out.count("ж") == 2 * 50  # in the table, and before its explanation
    assert out.count("y") == 77


def test_a_single_score_gets_a_panel_on_a_terminal() -> None:
    on, file = terminal(80)
    show_score(SCORE, on=on)
    lines = file.getvalue().splitlines()
    assert lines[0].startswith("╭─ [bold]a[/bold] 图.jpg ─")
    assert lines[-1].startswith("╰─")
    assert "The picture shows serious JPEG compression." in file.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünï 图 [bold]", "plain ünï 图 [bold]"),
        ("\x1b[2J\r\t\x9b", "\\x1b[2J\\r\\t\\x9b"),
        ("two\nlines", "two\nlines"),
        ("\udcff \u202e", "\\udcff \\u202e"),  # an undecodable byte, and right-to-left override
    ],
)
def test_control_characters_are_made_visible(text: str, shown: str) -> None:
    assert printable(text) == shown


def read_until(master: int, marks: list[bytes], timeout_s: float = 60.0) -> bytes:
    """What a program writes to its terminal until one of `marks` appears or it ends."""
    seen, end = b"", time.monotonic() + timeout_s
    while time.monotonic() < end and not any(mark in seen for mark in marks):
        if select.select([master], [], [], 0.2)[0]:
            try:
                part = os.read(master, 4096)
            except OSError:  # Linux's way to say that the other end is closed
                break
            if not part:
                break
            seen += part
    return seen


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)).save(tmp_path / name)
    return tmp_path


# Started from a background job, a process ignores Ctrl-C unless it says otherwise.
START = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from mllm_iqa.cli import main; "


@contextmanager
def running(*arguments: str, folder: Path, stdout: int | None = None) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The command on the FAKE model, its three streams (or all but stdout) on a terminal whose other end is given."""
    master, slave = pty.openpty()
    code = f"{START}sys.exit(main({[*arguments, '--model', 'fake']!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=folder,
        stdin=slave,
        stdout=slave if stdout is None else stdout,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    try:
        yield process, master
        process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()
        os.close(master)
        if process.stdout is not None:
            process.stdout.close()


def test_a_bar_on_the_terminal_leaves_the_piped_results_alone(photos: Path) -> None:
    with running("score", ".", "--format", "jsonl", folder=photos, stdout=subprocess.PIPE) as (process, master):
        bar = read_until(master, [])
        assert process.stdout is not None
        out = process.stdout.read()
    assert process.returncode == 0
    assert [json.loads(line)["name"] for line in out.splitlines()] == ["a.png", "b.png", "c.png"]
    assert b"scoring" in bar and b"3/3 scored" in bar
    assert b"a.png" not in bar


def test_a_chat_at_a_terminal_prompts_and_ends_with_ctrl_d(photos: Path) -> None:
    with running("chat", "a.png", folder=photos) as (process, master):
        assert b"a.png. Ask, or /score" in read_until(master, [b"> "])
        os.write(master, b"/dance\n")
        assert b"unknown command /dance" in read_until(master, [b"> "])
        os.write(master, b"What is wrong?\n")
        answer = read_until(master, [b"\n> "])
        assert len(answer.replace(b"What is wrong?", b"").strip(b"\r\n> ")) > 10
        os.write(master, b"\x04")
        read_until(master, [])
    assert process.returncode == 0  # mistakes at a prompt are seen and need no exit status


def test_a_chat_at_a_terminal_ends_with_ctrl_c(photos: Path) -> None:
    with running("chat", "a.png", folder=photos) as (process, master):
        read_until(master, [b"> "])
        seen = b""
        while process.poll() is None:  # readline misses a signal that comes just before it starts to wait
            process.send_signal(signal.SIGINT)
            seen += read_until(master, [], timeout_s=3.0)
        assert b"Traceback" not in seen
    assert process.returncode == 0
