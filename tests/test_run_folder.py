"""The folder of a large run: claimed by one run of one kind, parts whole or absent."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest

from mllm_iqa.errors import ConfigError
from mllm_iqa.run_folder import PartFormat, claimed, part_path, part_row, read_part, write_part
from mllm_iqa.score_stream import Judged
from mllm_iqa.tables import COLUMNS
from mllm_iqa.types import Failure, Finding, ImageInfo, Interval, Score

SCORE = Score(
    mos=2.3,
    std=0.6403124237432849,
    interval=Interval(1.25, 3.5, 0.9, "level distribution (uncalibrated)"),
    levels={"excellent": 0.0, "good": 0.1, "fair": 0.1, "poor": 0.8, "bad": 0.0},
    outside_mass=0.001,
    distortions=(Finding("JPEG compression", "compression", 4, 0.75, (0.0, 0.0, 1.0, 0.5)),),
    explanation='Blocks, "ringing",\nand 中文.',
    confidence=0.5,
    image=ImageInfo("图 1.jpg", 640, 480, 320, 240, ("resized",)),
    model="FAKE",
    prompt="rate.v1",
)
FORMATS: list[PartFormat] = ["parquet", "jsonl"]


@pytest.mark.parametrize("format", FORMATS)
def test_a_part_reads_back_to_its_rows(tmp_path: Path, format: PartFormat) -> None:
    judged = [
        Judged("图 1.jpg", "ab" * 32, SCORE),
        Judged("no.jpg", None, Failure("no.jpg", "cannot be opened")),
        Judged("quiet.png", "cd" * 32, replace(SCORE, distortions=None, explanation=None, confidence=None)),
    ]
    rows = [part_row(one, format) for one in judged]
    write_part(tmp_path, 3, rows, format)
    assert os.listdir(tmp_path) == [f"part-00003.{format}"]
    assert read_part(tmp_path, 3, format) == rows
    assert [row["sha256"] for row in rows] == ["ab" * 32, None, "cd" * 32]
    assert read_part(tmp_path, 4, format) == []


@pytest.mark.parametrize("format", FORMATS)
def test_a_known_row_is_the_row_itself_under_the_new_name(format: PartFormat) -> None:
    row = part_row(Judged("old.jpg", "ab" * 32, replace(SCORE, image=replace(SCORE.image, name="old.jpg"))), format)
    kept = json.loads(json.dumps(row))
    again = part_row(Judged("new.jpg", "ab" * 32, None, kept), format)
    expected = part_row(
        Judged("new.jpg", "ab" * 32, replace(SCORE, image=replace(SCORE.image, name="new.jpg"))), format
    )
    assert again == expected
    assert again != row


def test_a_folder_of_parts_is_one_table_to_its_readers(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with claimed(folder, {"model": "x"}, "parquet") as run:
        for index in range(3):
            write_part(folder, index, [part_row(Judged(f"{index}.jpg", "ab" * 32, SCORE), "parquet")], "parquet")
        run.finish(3, {"scored": 3})
        run.joined_into(tmp_path / "one.parquet")
    for path in (folder, tmp_path / "one.parquet"):
        read = pyarrow.parquet.read_table(path)
        assert read.column_names == [*COLUMNS, "sha256"]
        assert read.num_rows == 3


def test_a_run_of_other_settings_is_refused_by_name(tmp_path: Path) -> None:
    with claimed(tmp_path / "run", {"model": "a", "explain": True}, "parquet"):
        pass
    with claimed(tmp_path / "run", {"model": "a", "explain": True}, "parquet"):
        pass
    with (
        pytest.raises(ConfigError, match=r"holds a run whose model was a, not b; name another folder"),
        claimed(tmp_path / "run", {"model": "b", "explain": True}, "parquet"),
    ):
        pass
    with (
        pytest.raises(ConfigError, match=r"whose format was parquet, not jsonl"),
        claimed(tmp_path / "run", {"model": "a", "explain": True}, "jsonl"),
    ):
        pass


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="holds other files and no run"), claimed(tmp_path, {}, "parquet"):
        pass
    assert os.listdir(tmp_path) == ["holiday.jpg"]
    with pytest.raises(ConfigError, match="is a file"), claimed(tmp_path / "holiday.jpg", {}, "parquet"):
        pass


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        claimed(tmp_path / "run", {}, "parquet"),
        pytest.raises(ConfigError, match="another process is writing there"),
        claimed(tmp_path / "run", {}, "parquet"),
    ):
        pass


def test_the_end_removes_what_an_earlier_run_had_more_and_what_a_kill_left(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with claimed(folder, {}, "jsonl") as run:
        for index in range(4):
            write_part(folder, index, [{"error": None, "n": index}], "jsonl")
        run.finish(4, {})
    (folder / ".part-00001.jsonl.77.partial").write_text("half")
    with claimed(folder, {}, "jsonl") as run:
        assert not (folder / "_summary.json").exists()  # absent while the run is not complete
        assert [row["n"] for row in run.known_rows()] == [0, 1, 2, 3]
        run.finish(2, {"scored": 2})
    assert sorted(os.listdir(folder)) == ["_lock", "_run.json", "_summary.json", "part-00000.jsonl", "part-00001.jsonl"]
    assert json.loads((folder / "_summary.json").read_text()) == {"scored": 2, "parts": 2}
    assert not part_path(folder, 2, "jsonl").exists()
