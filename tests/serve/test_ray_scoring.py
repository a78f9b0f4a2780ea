"""Scoring on a real local Ray with two workers: the same rows as the local engine, part by part, through kills."""

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from mllm_iqa.cli import main

pytestmark = [
    # Not imported here: the command sets what Ray reads when it is first imported.
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the cluster extra"),
    pytest.mark.slow,
    # Ray's own use of what it deprecates, and the pipes and logs of its processes when they are let go
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

FLAGS = ("--model", "fake", "--device", "cpu")
EXAMPLES = Path(__file__).parents[2] / "mllm_iqa" / "examples"


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray as the command starts it, for all tests here: it takes seconds to start."""
    from mllm_iqa.serve.ray_scoring import Cluster, connected

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  else the workers wait for everything else on a busy machine
    with connected(Cluster(stage="transformers", workers=2, gpus_per_worker=0, address=None)):
        yield
    del os.environ["RAY_worker_niceness"]  # noqa: SIM112


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with 11 pictures and a broken file in photos/."""
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for n in range(11):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(tmp_path / "photos" / f"{n:02}.png")
    (tmp_path / "photos" / "05-broken.png").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def on_ray(*arguments: str) -> int:
    return main(["score", *arguments, "--engine", "ray", "--rows-per-part", "4", *FLAGS])


def locally(*arguments: str) -> int:
    return main(["score", *arguments, "--rows-per-part", "4", *FLAGS])


def parts(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(Path(folder).glob("part-*"))}


def rows(folder: str) -> list[dict[str, Any]]:
    return pq.read_table(folder).to_pylist()


def test_the_parts_are_those_of_the_local_engine(
    cluster: None, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert on_ray("photos", "--run", "ray") == 1
    err = capsys.readouterr().err.splitlines()
    assert err[-3:] == ["1 failed: is not a complete picture in a known format", "3 parts in ray", "11/12 scored"]
    assert locally("photos", "--run", "local") == 1
    assert parts("ray") == parts("local")
    assert len(parts("ray")) == 3
    settings = [json.loads(Path(run, "_run.json").read_text()) for run in ("ray", "local")]
    assert settings[0] == settings[1]  # so either engine goes on with what the other began


def test_what_is_there_and_unchanged_is_taken_over(
    cluster: None, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert on_ray("photos", "--run", "ray", "--allow-failures") == 0
    (photos / "ray" / "part-00001.parquet").unlink()  # rows 4 to 7, one of them the broken picture
    Image.fromarray(np.full((40, 48, 3), 7, dtype=np.uint8)).save(photos / "photos" / "10.png")  # changed, in part 2
    kept = (photos / "ray" / "part-00000.parquet").stat().st_mtime_ns
    capsys.readouterr()
    assert on_ray("photos", "--run", "ray", "--allow-failures") == 0
    # 4 of part 0 and 3 of part 2 had been scored before; 3 of part 1, the changed and the broken one had not
    assert re.search(r"^5 in .*; 7 of the same content scored before$", capsys.readouterr().err, re.MULTILINE)
    assert (photos / "ray" / "part-00000.parquet").stat().st_mtime_ns == kept
    assert locally("photos", "--run", "fresh", "--allow-failures") == 0
    assert parts("ray") == parts("fresh")


def test_archives_and_tables_are_read_by_the_workers(cluster: None, photos: Path) -> None:
    names = [f"{n:02}.png" for n in range(3)]
    with tarfile.open("shard.tar", "w") as archive:
        for name in names:
            archive.add(photos / "photos" / name, name)
    data = [(photos / "photos" / name).read_bytes() for name in names]
    pq.write_table(pa.table({"bytes": data}), "bytes.parquet")
    pq.write_table(pa.table({"path": [f"photos/{name}" for name in names]}), "paths.parquet")
    arguments = ["shard.tar", "bytes.parquet", "paths.parquet"]
    assert on_ray(*arguments, "--run", "ray", "--format", "jsonl") == 0
    assert locally(*arguments, "--run", "local", "--format", "jsonl") == 0
    assert parts("ray") == parts("local")
    found = [json.loads(line) for part in parts("ray").values() for line in part.splitlines()]
    assert [row["name"] for row in found] == [
        *(f"shard.tar/{name}" for name in names),
        *(f"bytes.parquet#{n}" for n in range(3)),
        *(f"photos/{name}" for name in names),
    ]
    assert [row["mos"] for row in found[:3]] == [row["mos"] for row in found[3:6]] == [row["mos"] for row in found[6:]]


def test_a_real_model_scores_as_it_does_here(cluster: None, tmp_path: Path) -> None:
    flags = ["--device", "cpu", "--rows-per-part", "2", "--allow-failures"]
    run = str(tmp_path / "ray")
    assert main(["score", str(EXAMPLES), "--run", run, "--engine", "ray", *flags]) == 0
    assert main(["score", str(EXAMPLES), "--run", str(tmp_path / "local"), *flags]) == 0
    for one, other in zip(rows(run), rows(str(tmp_path / "local")), strict=True):
        assert one["mos"] == pytest.approx(other["mos"], abs=1e-4)  # other batches, other sums of float32
        for key in ("name", "sha256", "level", "explanation", "model", "error"):
            assert one[key] == other[key]


def test_ray_tells_nobody_and_serves_nothing(cluster: None) -> None:
    import ray
    from ray._common.usage import usage_lib

    assert not usage_lib.usage_stats_enabled()
    assert ray._private.worker.get_dashboard_url() in (None, "")
    assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["photos"], "--engine ray needs --run"),
        (["photos", "--run", "r", "--format", "csv"], "--run writes parquet or jsonl, not csv"),
        (["missing.png", "--run", "r"], "missing.png: there is no such file or folder"),
        (["photos/00.png", "--run", "r", "--reference", "photos/01.png"], "--reference goes with a single picture"),
        (["photos", "--run", "r", "--language", "tlh"], "FAKE does not answer in 'tlh'"),
    ],
)
def test_wrong_input_is_one_line(
    cluster: None, photos: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], reason: str
) -> None:
    assert on_ray(*arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"mllm-iqa: error: {reason}") and err.count("\n") == 1


def test_a_run_killed_with_its_ray_goes_on(cluster: None, photos: Path) -> None:
    # A Ray of its own, in a process of its own, killed once it has written something.
    for n in range(200):
        Image.fromarray(np.random.default_rng(n).integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(
            photos / "photos" / f"more-{n:04}.ppm"
        )
    command = ["score", "photos", "--run", "ray", "--engine", "ray", "--rows-per-part", "4", *FLAGS]
    process = subprocess.Popen([sys.executable, "-m", "mllm_iqa", *command], start_new_session=True)
    deadline = time.monotonic() + 300
    while not list(Path("ray").glob("part-*")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    assert not Path("ray", "_summary.json").exists()
    assert on_ray("photos", "--run", "ray", "--allow-failures") == 0
    assert locally("photos", "--run", "fresh", "--allow-failures") == 0
    assert parts("ray") == parts("fresh")
