"""Large runs: interrupted anywhere and run again they equal a fresh run, and their memory does not grow."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mllm_iqa.assistant import Assistant
from mllm_iqa.cli import main
from mllm_iqa.errors import BackendError
from mllm_iqa.run_settings import model_identity, run_settings

FLAGS = ("--model", "fake", "--device", "cpu", "--no-explain")


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with 23 different pictures, one broken file and one copy in photos/."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for n in range(23):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(tmp_path / "photos" / f"{n:02}.png")
    (tmp_path / "photos" / "11-broken.png").write_text("no picture")
    (tmp_path / "photos" / "99-copy.png").write_bytes((tmp_path / "photos" / "03.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder: str, *arguments: str, expected: int = 1) -> None:
    assert main(["score", "photos", "--run", folder, "--rows-per-part", "10", *FLAGS, *arguments]) == expected


def parts(folder: Path | str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("part-*"))}


def rows(folder: Path | str) -> list[dict[str, Any]]:
    return pq.read_table(folder).to_pylist()


def test_parts_hold_the_rows_of_an_ordinary_run(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("run")
    err = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"24 in [\d.]+ s, [\d,.]+ pictures/s; 1 of the same content scored before", err[-4])
    assert err[-3:] == [
        "1 failed: is not a complete picture in a known format",
        "3 parts in run",
        "24/25 scored",
    ]
    assert sorted(parts("run")) == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert main(["score", "photos", "--output", "plain.parquet", *FLAGS]) == 1
    found = rows("run")
    digests = [row.pop("sha256") for row in found]
    assert found == rows("plain.parquet")
    assert digests[3] == digests[-1] and len({*digests}) == 24
    summary = json.loads((photos / "run" / "_summary.json").read_text())
    assert (summary["scored"], summary["failed"], summary["parts"]) == (24, 1, 3)
    run("run", "--allow-failures", expected=0)


def test_json_lines_in_parts_hold_nested_rows(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("run", "--format", "jsonl", "--output", "all.jsonl")
    capsys.readouterr()
    assert main(["score", "photos", "--format", "jsonl", *FLAGS]) == 1
    expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = [json.loads(line) for line in (photos / "all.jsonl").read_text("utf-8").splitlines()]
    assert [{k: v for k, v in row.items() if k != "sha256"} for row in found] == expected
    assert b"".join(parts("run").values()) == (photos / "all.jsonl").read_bytes()


def test_a_single_table_at_the_end(photos: Path) -> None:
    run("run", "--output", "all.parquet")
    assert rows("all.parquet") == rows("run")


class Counted:
    """How many pictures an engine really judged."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, stop_after: int | None = None) -> None:
        self.pictures = 0
        whole = Assistant.score_many

        def counting(assistant, images, **options):  # type: ignore[no-untyped-def]
            for result in whole(assistant, images, **options):
                if stop_after is not None and self.pictures == stop_after:
                    raise BackendError("out of memory")
                self.pictures += 1
                yield result

        monkeypatch.setattr(Assistant, "score_many", counting)


@pytest.mark.parametrize("stop_after", [0, 1, 9, 10, 17, 23])
def test_a_run_that_broke_down_goes_on_and_equals_a_fresh_one(
    photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stop_after: int
) -> None:
    run("fresh")
    with monkeypatch.context() as broken:
        Counted(broken, stop_after=stop_after)
        # 0: nothing was scored, which is wrong input; the 23 pictures and the copy, met before, end the run
        run("run", expected=2 if stop_after == 0 else 1)
    err = capsys.readouterr().err
    assert ("out of memory" in err) == (stop_after < 23)
    with monkeypatch.context() as again:
        counted = Counted(again)
        run("run")
    assert counted.pictures <= 24 - stop_after
    assert parts("run") == parts("fresh")
    assert sorted(os.listdir("run")) == sorted(os.listdir("fresh"))


def test_only_what_changed_is_scored_anew(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("run")
    folder = photos / "photos"
    before = {row["name"]: row for row in rows("run")}
    counted = Counted(monkeypatch)
    run("run")
    assert counted.pictures == 0
    Image.fromarray(np.full((40, 48, 3), 7, dtype=np.uint8)).save(folder / "05.png")  # changed
    (folder / "06.png").rename(folder / "00-first.png")  # under another name
    (folder / "07.png").unlink()  # gone
    Image.fromarray(np.full((40, 48, 3), 9, dtype=np.uint8)).save(folder / "11-broken.png")  # mended
    os.utime(folder / "08.png", (1, 1))  # touched, not changed
    run("run", expected=0)
    assert counted.pictures == 2
    found = {row["name"]: row for row in rows("run")}
    assert found["photos/05.png"]["sha256"] != before["photos/05.png"]["sha256"]
    assert found["photos/00-first.png"] == {**before["photos/06.png"], "name": "photos/00-first.png"}
    assert found["photos/08.png"] == before["photos/08.png"]
    monkeypatch.undo()
    monkeypatch.chdir(photos)
    run("fresh", expected=0)
    assert parts("run") == parts("fresh")


def test_fewer_pictures_leave_no_old_part(photos: Path) -> None:
    run("run")
    for path in sorted((photos / "photos").iterdir())[:12]:
        path.unlink()
    run("run", expected=0)  # the broken one went, too
    assert sorted(parts("run")) == ["part-00000.parquet", "part-00001.parquet"]
    assert len(rows("run")) == 13


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--explain"], "whose explain was False, not True"),
        (["--format", "jsonl"], "whose format was parquet, not jsonl"),
        (["--rows-per-part", "11"], "whose rows_per_part was 10, not 11"),
        (["--format", "csv"], "--run writes parquet or jsonl, not csv"),
        (["--output", "x.csv"], "--run writes parquet or jsonl, not csv"),
        (["photos/00.png"], "whose inputs was ['photos'], not ['photos', 'photos/00.png']"),
    ],
)
def test_another_run_is_not_mixed_in(
    photos: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    run("run")
    before = parts("run")
    capsys.readouterr()
    run("run", *arguments, expected=2)
    err = capsys.readouterr().err
    assert reason in err and err.count("\n") == 1
    assert parts("run") == before


def test_archives_and_tables_give_the_scores_of_their_files(photos: Path) -> None:
    import tarfile

    names = [f"{n:02}.png" for n in range(5)]
    with tarfile.open("shard.tar", "w") as archive:
        for name in names:
            archive.add(photos / "photos" / name, name)
    data = [(photos / "photos" / name).read_bytes() for name in names]
    pq.write_table(pa.table({"bytes": data, "name": names}), "table.parquet")
    assert main(["score", "shard.tar", "table.parquet", "--run", "run", *FLAGS]) == 0
    assert main(["score", *(f"photos/{name}" for name in names), "--run", "files", *FLAGS]) == 0
    mos = [row["mos"] for row in rows("files")]
    assert len({*mos}) == 5
    assert [row["mos"] for row in rows("run")] == mos * 2
    assert [row["name"] for row in rows("run")] == [*(f"shard.tar/{name}" for name in names), *names]


# --- real kills ----------------------------------------------------------------------------------------------------


def pixmaps(folder: Path, count: int) -> None:
    """Different small pictures, quickly."""
    folder.mkdir()
    pixels = np.random.default_rng(1).integers(0, 256, (count, 32 * 32 * 3), dtype=np.uint8)
    for n in range(count):
        (folder / f"{n:05}.ppm").write_bytes(b"P6 32 32 255\n" + pixels[n].tobytes())


def started(folder: Path, name: str) -> subprocess.Popen[str]:
    arguments = ["score", "photos", "--run", name, "--rows-per-part", "100", *FLAGS]
    return subprocess.Popen(
        [sys.executable, "-m", "mllm_iqa", *arguments], cwd=folder, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_kills_at_several_points_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixmaps(tmp_path / "photos", 8000)  # many: a busy machine may be seconds late with its signal
    monkeypatch.chdir(tmp_path)
    for signal_sent, after in ((signal.SIGKILL, 1), (signal.SIGINT, 6), (signal.SIGKILL, 12)):
        process = started(tmp_path, "run")
        deadline = time.monotonic() + 240
        last = tmp_path / "run" / f"part-{after:05}.parquet"
        while not last.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signal_sent)
        _, err = process.communicate(timeout=240)
        if signal_sent == signal.SIGINT:
            assert process.returncode == 130
            assert err.startswith("interrupted after ") and "the same command goes on from here" in err
        else:
            assert process.returncode == -signal.SIGKILL
        there = sorted((tmp_path / "run").glob("part-*"))
        assert after < len(there) < 80
        # a prefix that can be read
        assert [row["name"] for row in rows(tmp_path / "run")] == [
            f"photos/{n:05}.ppm" for n in range(100 * len(there))
        ]
    counted = Counted(monkeypatch)
    assert main(["score", "photos", "--run", "run", "--rows-per-part", "100", *FLAGS]) == 0
    assert 0 < counted.pictures < 6800  # 1,300 were in parts
    assert main(["score", "photos", "--run", "fresh", "--rows-per-part", "100", *FLAGS]) == 0
    assert parts("run") == parts("fresh")
    assert sorted(os.listdir("run")) == sorted(os.listdir("fresh"))


@pytest.mark.slow
@pytest.mark.parametrize("known", [False, True], ids=["scored", "taken over"])
def test_memory_does_not_grow_with_the_number_of_names(tmp_path: Path, known: bool) -> None:
    # 20,000 names of one picture, in a process of its own; `known` leaves out the store of rows, and so scores each.
    (tmp_path / "tree").mkdir()
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / "one.png")
    for n in range(20_000):
        os.link(tmp_path / "one.png", tmp_path / "tree" / f"{n:05}.png")
    code = """
import sys
from pathlib import Path
from mllm_iqa import external_sort, inputs, large_run
from mllm_iqa.assistant import Assistant
from mllm_iqa.score_options import ScoreOptions
tree, run, known = sys.argv[1:]
def memory():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20
options = ScoreOptions(format="parquet", output=None, explain=False, model="fake", device="cpu", batch_size=8,
                       language="en", reference=None, allow_failures=False, run=Path(run), rows_per_part=500)
if known == "False":
    large_run.RowStore.get = lambda self, digest: None
external_sort.externally_sorted.__kwdefaults__["held"] = 1000
at, done = {}, 0
def advance():
    global done
    done += 1
    if done % 5000 == 0:
        at[done] = memory()
found = inputs.find([tree])
assert found.total == 20_000
assert large_run.score_in_parts(found, options, lambda: Assistant.load("fake"), advance) == 0
print(at[5000], at[20_000])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "tree"), str(tmp_path / "run"), str(known)],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    early, late = map(float, done.stdout.split())
    assert late - early < 8  # MiB; 15,000 names and rows held would be more than 20
    assert pq.read_table(tmp_path / "run").num_rows == 20_000


def test_settings_tell_models_apart(tiny_checkpoint: Path) -> None:
    assert model_identity("fake") == "fake"
    assert model_identity("nano") != model_identity(str(tiny_checkpoint))
    assert model_identity("nano") == model_identity("nano")
    assert model_identity("https://host/v1#m") == "https://host/v1#m"
    assert model_identity("owner/not-here") == "owner/not-here"


def test_no_credentials_are_written_down() -> None:
    settings = run_settings(model="https://me:secret@host:1/v1?key=secret#m", engine="openai", device="auto")
    assert "secret" not in json.dumps(settings)
    assert (settings["model"], settings["device"]) == ("https://host:1/v1#m", "server")
