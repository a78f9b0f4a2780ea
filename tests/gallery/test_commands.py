"""report, watch and dedupe-best from the command line, on the FAKE model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mllm_iqa.best_of_bursts import put
from mllm_iqa.cli import main
from mllm_iqa.errors import ConfigError

from .conftest import save_scene


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """photos/ with a burst of three, one single and one broken file, the current folder above it."""
    folder = tmp_path / "photos"
    save_scene(folder / "IMG_0001.png", 1, side=96)
    first = np.asarray(Image.open(folder / "IMG_0001.png"))
    for n in (2, 3):
        noise = np.random.default_rng(n).normal(0, 3 * n, first.shape)
        Image.fromarray(np.clip(first + noise, 0, 255).astype(np.uint8)).save(folder / f"IMG_000{n}.png")
    save_scene(folder / "sub" / "other.png", 7)
    (folder / "broken.jpg").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_report_is_made_and_brought_up_to_date(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "photos", "--model", "fake"]) == 1  # one picture failed
    out, err = capsys.readouterr()
    assert out.strip() == "photos-report/index.html"
    assert err.splitlines()[-1] == "4 scored, 0 unchanged, 0 moved or copied, 0 gone, 1 of 5 failed"
    page = Path("photos-report/index.html").read_text()
    assert "FAKE" in page and "Near-duplicates: 1 group" in page and "../photos/" in page
    assert sorted(p.name for p in Path("photos-report").iterdir()) == [
        "_lock",
        "index.html",
        "scores.csv",
        "scores.parquet",
        "thumbnails",
    ]
    (photos / "broken.jpg").unlink()
    assert main(["report", "photos", "--model", "fake"]) == 0
    assert capsys.readouterr().err.splitlines()[-1] == "0 scored, 4 unchanged, 0 moved or copied, 1 gone, 0 of 4 failed"


def test_a_report_shows_where_the_worst_pictures_are_damaged(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, maps = Path("photos-report/index.html"), Path("photos-report/maps")
    main(["report", "photos", "--model", "fake"])
    assert "<summary>Where</summary>" not in page.read_text()
    main(["report", "photos", "--model", "fake", "--maps"])  # scored already; the maps alone are drawn
    assert capsys.readouterr().err.splitlines()[-1].startswith("0 scored, 5 unchanged")
    assert page.read_text().count("<summary>Where</summary>") == 4
    drawn = {path.name: path.stat().st_mtime_ns for path in maps.iterdir()}
    assert len(drawn) == 4
    for path in maps.iterdir():
        with Image.open(path) as image:
            assert max(image.size) <= 480
    (photos / "sub" / "other.png").unlink()
    main(["report", "photos", "--model", "fake", "--maps"])
    left = {path.name: path.stat().st_mtime_ns for path in maps.iterdir()}
    assert len(left) == 3 and left.items() <= drawn.items()  # kept, not drawn again; that of the gone picture went


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report", "none"], "none: there is no such folder"),
        (["report", "photos", "--output", "photos"], "is the folder of the pictures"),
        (["report", "photos", "--output", "."], "holds other files and no report"),
        (["dedupe-best", "photos", "--to", "photos/best"], "lies in the folder of the pictures"),
        (["dedupe-best", "photos", "--singles"], "--singles goes with --to"),
        (["watch", "none"], "none: there is no such folder"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    photos: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main([*arguments, "--model", "fake"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_best_of_a_burst_is_named_and_copied(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {p: p.read_bytes() for p in photos.rglob("*.*")}
    status = main(["dedupe-best", "photos", "--to", "best", "--singles", "--format", "json", "--model", "fake"])
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert status == 1 and "failed: broken.jpg" in err
    (group,) = result["groups"]
    names = [one["name"] for one in group["pictures"]]
    assert sorted(names) == ["IMG_0001.png", "IMG_0002.png", "IMG_0003.png"]
    mos = [one["mos"] for one in group["pictures"]]
    assert mos == sorted(mos, reverse=True) and group["margin"] == pytest.approx(mos[0] - mos[1])
    assert group["verdict"] in ("clear", "uncertain")
    assert result["singles"] == ["sub/other.png"]
    assert sorted(str(p.relative_to("best")) for p in Path("best").rglob("*.*")) == sorted([names[0], "sub/other.png"])
    assert {p: p.read_bytes() for p in photos.rglob("*.*")} == before


def test_nothing_is_ever_overwritten(photos: Path, tmp_path: Path) -> None:
    to = tmp_path / "best"
    assert put(photos, ["IMG_0001.png"], to, how="hardlink") == (1, [])
    assert os.stat(to / "IMG_0001.png").st_ino == os.stat(photos / "IMG_0001.png").st_ino
    assert put(photos, ["IMG_0001.png"], to, how="copy") == (1, [])  # there already
    (to / "IMG_0002.png").write_bytes(b"mine")
    there, faults = put(photos, ["IMG_0002.png"], to, how="copy")
    assert there == 0 and "was left alone" in faults[0]
    assert (to / "IMG_0002.png").read_bytes() == b"mine"
    assert put(photos, ["sub/other.png"], to, how="symlink")[0] == 1
    assert (to / "sub" / "other.png").readlink() == photos / "sub" / "other.png"
    with pytest.raises(ConfigError, match="lies in the folder"):
        put(photos, [], photos / "x", how="copy")


def wait_for(what: object, *, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not what():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def test_a_watched_folder_stays_scored_until_ctrl_c(photos: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mllm_iqa", "watch", "photos", "--interval", "1", "--model", "fake"]
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, cwd=tmp_path)
    try:

        def names() -> list[str]:
            return [json.loads(line)["name"] for line in (tmp_path / "out").read_text().splitlines()]

        def table() -> str:
            path = tmp_path / "photos-report" / "scores.csv"
            return path.read_text() if path.exists() else ""

        wait_for(lambda: table().count("\n") >= 6)
        assert sorted(names())[:3] == ["IMG_0001.png", "IMG_0002.png", "IMG_0003.png"]
        save_scene(tmp_path / "whole.png", 11, side=96)
        whole = (tmp_path / "whole.png").read_bytes()
        with (photos / "slow.png").open("wb") as slow:  # a file that takes its time
            for k in range(0, len(whole), max(1, len(whole) // 20)):
                slow.write(whole[k : k + max(1, len(whole) // 20)])
                slow.flush()
                time.sleep(0.05)
        (photos / "broken.jpg").unlink()
        (photos / "IMG_0001.png").rename(photos / "renamed.png")
        wait_for(lambda: "slow.png" in table() and "renamed.png" in table() and "broken.jpg" not in table())
        rows = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
        assert [row["error"] for row in rows if row["name"] == "slow.png"] == [None]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
        assert (tmp_path / "err").read_text().splitlines()[-1] == "stopped; 5 scored, 5 pictures in the report"
    finally:
        process.kill()
        process.wait()
