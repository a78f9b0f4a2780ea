"""Building records: killed anywhere and run again, with any number of workers, the bytes are the same."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from mllm_iqa.data_build.records import build as build_module
from mllm_iqa.data_build.records.balance import balance
from mllm_iqa.data_build.records.build import Pictures, RecordsPlan, build_records, shards
from mllm_iqa.data_build.records.files import read_records
from mllm_iqa.data_build.records.leak import leaks
from mllm_iqa.data_build.records.material import Gathered, Material, gather

from mllm_iqa.cli import main
from mllm_iqa.errors import DataError

COUNT = 500
# 500 // 20 = 25 of val, if there is material, and of test; 240 in a shard: 240 and 235 (or 210) of train.
SHARDS = {"train-00000.parquet", "train-00001.parquet", "test-00000.parquet"}


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def gathered(photo_folders: dict[str, Path]) -> Gathered:
    return gather(photo_folders["biq2021"], photo_folders["bsds500"], [])


@pytest.fixture(scope="module")
def built(photo_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build that nothing interrupted, by the command."""
    out = tmp_path_factory.mktemp("records") / "new"
    folders = [part for name, folder in photo_folders.items() for part in (f"--{name}", str(folder))]
    assert main(["data", "build", str(out), *folders, "--records", str(COUNT), "--workers", "1"]) == 0
    return out


def test_a_build_holds_what_was_asked_for(built: Path) -> None:
    assert set(digests(built)) == SHARDS | {"plan.json", "balance.json"}
    records = list(read_records(built))
    assert len(records) == len({record.id for record in records}) == COUNT
    counts = json.loads((built / "balance.json").read_text("utf8"))
    assert counts == balance(built)
    assert counts["split"] == {"test": 25, "train": 475}
    assert sum(counts["task"].values()) == COUNT
    assert abs(counts["language"]["en"] - counts["language"]["zh"]) < 0.1 * COUNT


def test_the_splits_do_not_leak(built: Path, tmp_path: Path) -> None:
    train = tmp_path / "train"
    train.mkdir()
    for path in built.glob("train-*.parquet"):
        (train / path.name).symlink_to(path)
    found = leaks(train, built / "test-00000.parquet")
    assert [one for one in found if one.rule in ("group", "source")] == []


BUILD = """
import os, signal, sys
from pathlib import Path
from mllm_iqa.data_build.records import build, files
from mllm_iqa.data_build.records.build import RecordsPlan, build_records
from mllm_iqa.data_build.records.material import gather

if __name__ == "__main__":
    biq2021, bsds500, out, when = sys.argv[1:]
    gathered = gather(Path(biq2021), Path(bsds500), [])
    for n, path in enumerate(build_records(gathered, Path(out), plan=RecordsPlan(500), workers=1)):
        if path.name == when:
            os.killpg(0, signal.SIGKILL)  # the worker too
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="kills a process group, which this system does not have")
@pytest.mark.parametrize("when", ["train-00000.parquet", "test-00000.parquet", "half a file"])
def test_a_killed_build_goes_on_to_the_same_bytes(
    when: str, built: Path, gathered: Gathered, photo_folders: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "records"
    if when == "half a file":
        # What a kill while a shard is written leaves: its beginning, under another name.
        out.mkdir()
        (out / "plan.json").write_bytes((built / "plan.json").read_bytes())
        half = (built / "train-00001.parquet").read_bytes()[:5000]
        (out / ".train-00001.parquet.12345.partial").write_bytes(half)
    else:
        (tmp_path / "build.py").write_text(BUILD, "utf8")
        command = [sys.executable, str(tmp_path / "build.py"), *map(str, photo_folders.values()), str(out), when]
        ended = subprocess.run(command, capture_output=True, start_new_session=True, timeout=300)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        left = {name: digest for name, digest in digests(out).items() if not name.endswith(".partial")}
        assert {"plan.json", when} <= set(left) < set(digests(built))
        assert left.items() <= digests(built).items(), "a file stood under its name before it was complete"
    list(build_records(gathered, out, plan=RecordsPlan(COUNT), workers=2))
    assert digests(out) == digests(built)


def test_a_complete_build_is_left_alone(built: Path, gathered: Gathered, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in built.glob("*-*.parquet")}
    list(build_records(gathered, built, plan=RecordsPlan(COUNT), workers=1))
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_records_of_another_plan_or_other_sources_are_not_added_to(
    built: Path, gathered: Gathered, tmp_path: Path
) -> None:
    fewer = Gathered(gathered.splits | {"train": replace(gathered.splits["train"], clean=())}, 0)
    for others, plan in ((gathered, RecordsPlan(COUNT, seed=1)), (fewer, RecordsPlan(COUNT))):
        with pytest.raises(DataError, match="holds records of another plan, of other sources or of other prompts"):
            next(build_records(others, built, plan=plan))


def test_pictures_as_paths_are_the_same_pictures(
    built: Path, gathered: Gathered, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "_material", dict(gathered.splits))
    shard = shards(gathered, RecordsPlan(COUNT, pictures=Pictures.paths))[-1]
    name = build_module._write_shard(tmp_path, shard)
    assert not list(tmp_path.rglob("*.partial"))
    pairs = zip(read_records(tmp_path / name), read_records(built / name), strict=True)
    for named, held in pairs:
        for image, same in zip(named.images, held.images, strict=True):
            assert image.bytes is None and Path(image.path or "").read_bytes() == same.bytes
    originals = [i.path for r in read_records(tmp_path / name) for i in r.images if "photographs" in (i.path or "")]
    assert originals, "a photograph that needs no change is named where it lies"


def test_shards_add_up(gathered: Gathered) -> None:
    whole = Material(gathered.splits["train"].clean)
    everywhere = Gathered({"train": whole, "val": whole, "test": whole}, 0)
    counts: dict[str, list[int]] = {}
    for shard in shards(everywhere, RecordsPlan(10_000)):
        counts.setdefault(shard.split, []).append(shard.count)
    # 10,000 // 20 = 500 for val and test each; 9,000 = 37 x 240 + 120.
    assert counts == {"train": [240] * 37 + [120], "val": [240, 240, 20], "test": [240, 240, 20]}
    with pytest.raises(DataError, match="no clean or scored photograph is left for training records"):
        shards(Gathered({"train": Material(), "val": whole, "test": whole}, 0), RecordsPlan(10))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--records", "5"], "nothing to make records of; name --biq2021, --bsds500 or --reading"),
        (["--languages", "en,fr"], "--languages must be some of en,zh, got 'en,fr'"),
        (["--languages", "en,en"], "--languages must be some of en,zh, got 'en,en'"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(
    arguments: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "build", str(tmp_path / "out"), *arguments]) == 2
    assert capsys.readouterr().err == f"mllm-iqa: error: {reason}\n"
    assert not (tmp_path / "out").exists()


def test_export_and_import_commands(
    built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], textured: Callable[..., object]
) -> None:
    images, out, back = tmp_path / "images", tmp_path / "out.json", tmp_path / "back.parquet"
    source = str(built / "test-00000.parquet")
    assert main(["data", "export", "q-instruct", source, str(out), "--images", str(images)]) == 0
    said = capsys.readouterr().out.splitlines()
    single = sum(len(record.images) == 1 for record in read_records(Path(source)))
    assert said == [f"{single} records written; {25 - single} left out, which q-instruct cannot hold", str(out)]
    assert main(["data", "import", "q-instruct", str(out), str(back), "--images", str(images), "--split", "val"]) == 0
    assert capsys.readouterr().out == f"{single} records\n{back}\n"
    assert {record.split for record in read_records(back)} == {"val"}
