"""Rows for programs: what is written is read back, a failure is a row, and a file is complete or not there."""

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest

from mllm_iqa.errors import ConfigError
from mllm_iqa.output_file import check_output, replaced_at_end
from mllm_iqa.tables import COLUMNS, WRITERS, Result, flat_row, nested_row, writing
from mllm_iqa.types import Advice, Failure, Finding, ImageInfo, Interval, Score

SCORE = Score(
    mos=2.3,
    std=0.6403124237432849,
    interval=Interval(1.25, 3.5, 0.9, "level distribution (uncalibrated)"),
    levels={"excellent": 0.0, "good": 0.1, "fair": 0.1, "poor": 0.8, "bad": 0.0},
    outside_mass=0.001,
    distortions=(Finding("JPEG compression", "compression", 4, 0.75, (0.0, 0.0, 1.0, 0.5)),),
    explanation='Blocks, "ringing",\nand 中文.',
    confidence=0.5,
    image=ImageInfo("ünï 图, 1.jpg", 640, 480, 320, 240, ("EXIF orientation 6 applied", "resized")),
    model="FAKE",
    prompt="rate.v1",
    advice=(Advice(("JPEG compression",), "Export it again.", "advice.v1/x"),),
)
SILENT = replace(
    SCORE, distortions=None, advice=None, explanation=None, confidence=None, image=ImageInfo("s.png", 9, 8, 9, 8)
)
CLEAN = replace(SCORE, distortions=())
FAILURE = Failure("broken.jpg", "is not a picture")
ROWS: list[Result] = [SCORE, FAILURE, SILENT, CLEAN]

# Written out by hand from SCORE, not computed.
FLAT = {
    "name": "ünï 图, 1.jpg",
    "mos": 2.3,
    "std": 0.6403124237432849,
    "interval_low": 1.25,
    "interval_high": 3.5,
    "interval_coverage": 0.9,
    "interval_source": "level distribution (uncalibrated)",
    "level": "poor",
    "p_excellent": 0.0,
    "p_good": 0.1,
    "p_fair": 0.1,
    "p_poor": 0.8,
    "p_bad": 0.0,
    "outside_mass": 0.001,
    "distortions": '[{"kind": "JPEG compression", "family": "compression", "severity": 4, "probability": 0.75, '
    '"region": [0.0, 0.0, 1.0, 0.5]}]',
    "explanation": 'Blocks, "ringing",\nand 中文.',
    "confidence": 0.5,
    "width": 640,
    "height": 480,
    "judged_width": 320,
    "judged_height": 240,
    "notes": "EXIF orientation 6 applied; resized",
    "model": "FAKE",
    "prompt": "rate.v1",
    "advice": '[{"kinds": ["JPEG compression"], "text": "Export it again.", "rule": "advice.v1/x"}]',
    **dict.fromkeys(["calibrated", "calibrated_low", "calibrated_high", "calibrated_coverage", "calibration"]),
    "trusted": None,
    "distrust": None,
    "error": None,
}


def written(format: str, path: Path, rows: Sequence[Result] = ROWS) -> Path:
    with writing(format, path) as write:
        for row in rows:
            write(row)
    return path


def as_json(value: object) -> object:
    return json.loads(json.dumps(value))


def test_the_flat_row_is_the_documented_one() -> None:
    assert flat_row(SCORE) == FLAT
    assert list(flat_row(SCORE)) == list(flat_row(FAILURE)) == list(COLUMNS)


def test_a_flat_failure_has_a_name_and_an_error_only() -> None:
    assert {k: v for k, v in flat_row(FAILURE).items() if v is not None} == {
        "name": "broken.jpg",
        "error": "is not a picture",
    }


def test_not_asked_for_differs_from_clean() -> None:
    assert (flat_row(SILENT)["distortions"], flat_row(CLEAN)["distortions"]) == (None, "[]")


def test_nested_rows_hold_everything() -> None:
    row = nested_row(SCORE)
    assert (row["name"], row["error"], row["level"], row["mos"]) == ("ünï 图, 1.jpg", None, "poor", 2.3)
    assert {k: v for k, v in row.items() if k not in ("name", "error")} == SCORE.to_dict()
    assert nested_row(FAILURE) == {"name": "broken.jpg", "error": "is not a picture"}


def test_json_reads_back(tmp_path: Path) -> None:
    text = written("json", tmp_path / "r.json").read_text("utf-8")
    assert json.loads(text) == as_json([nested_row(row) for row in ROWS])
    assert "图" in text


def test_json_without_rows_is_an_empty_list(tmp_path: Path) -> None:
    assert json.loads(written("json", tmp_path / "r.json", []).read_text("utf-8")) == []


def test_json_lines_read_back_one_row_a_line(tmp_path: Path) -> None:
    lines = written("jsonl", tmp_path / "r.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == as_json([nested_row(row) for row in ROWS])


def test_csv_reads_back(tmp_path: Path) -> None:
    with written("csv", tmp_path / "r.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{k: "" if v is None else str(v) for k, v in flat_row(row).items()} for row in ROWS]
    assert float(rows[0]["std"]) == SCORE.std  # every digit


def test_parquet_reads_back_with_its_types(tmp_path: Path) -> None:
    table = pyarrow.parquet.read_table(written("parquet", tmp_path / "r.parquet"))
    assert table.to_pylist() == [flat_row(row) for row in ROWS]
    assert {field.name: str(field.type) for field in table.schema} == {k: kind for k, (kind, _) in COLUMNS.items()}


def test_parquet_of_failures_only_keeps_the_types(tmp_path: Path) -> None:
    table = pyarrow.parquet.read_table(written("parquet", tmp_path / "r.parquet", [FAILURE] * 3))
    assert str(table.schema.field("mos").type) == "double"
    assert table.num_rows == 3


def test_parquet_is_written_in_groups(tmp_path: Path) -> None:
    path = written("parquet", tmp_path / "r.parquet", [SCORE, FAILURE] * 1100)
    read = pyarrow.parquet.ParquetFile(path)
    assert [read.metadata.row_group(i).num_rows for i in range(read.num_row_groups)] == [1024, 1024, 152]
    assert read.read().column("name").to_pylist() == [SCORE.image.name, "broken.jpg"] * 1100


def test_parquet_refuses_stdout() -> None:
    with pytest.raises(ConfigError, match="--output"), writing("parquet", None):
        pass


@pytest.mark.parametrize("format", ["json", "jsonl", "csv"])
def test_stdout_gets_the_bytes_of_the_file(format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with writing(format, None) as write:
        for row in ROWS:
            write(row)
    assert capsys.readouterr().out == written(format, tmp_path / "r").read_bytes().decode()


def test_rows_of_json_lines_are_in_the_file_at_once(tmp_path: Path) -> None:
    with writing("jsonl", tmp_path / "r.jsonl") as write:
        write(SCORE)
        assert json.loads((tmp_path / "r.jsonl").read_text("utf-8"))["name"] == SCORE.image.name


@pytest.mark.parametrize("format", sorted({*WRITERS} - {"jsonl"}))
def test_a_file_is_replaced_when_complete_and_untouched_when_not(format: str, tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), writing(format, path) as write:
        write(SCORE)
        raise KeyboardInterrupt
    assert path.read_text() == "before"
    with writing(format, path) as write:
        write(SCORE)
        assert path.read_text() == "before"
    assert path.read_bytes()[:6] != b"before"
    assert os.listdir(tmp_path) == ["r"]


def test_json_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        written("json", tmp_path / "r.json", [replace(SCORE, mos=float("nan"))])
    assert os.listdir(tmp_path) == []


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("before")
    (tmp_path / "link").symlink_to("target")
    with replaced_at_end(tmp_path / "link") as file:
        file.write(b"after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "after"


def test_an_unusable_output_is_refused_before_any_work(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe")
    for path, reason in [
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "is not a regular file"),
        (tmp_path / "no" / "r.csv", "there is no folder"),
        (tmp_path / "." / "a.png", "one of the pictures"),
    ]:
        with pytest.raises(ConfigError, match=reason):
            check_output(path, inputs=[picture])
    check_output(tmp_path / "new.csv", inputs=[picture])
    check_output(picture)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_without_permission_is_refused(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(ConfigError, match="no permission"):
        check_output(tmp_path / "locked" / "r.csv")
