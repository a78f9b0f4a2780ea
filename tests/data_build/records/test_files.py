"""Files of records: `datasets` streams them, a shared picture is stored once, and what is no record is refused."""

import io
from pathlib import Path

import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset
from mllm_iqa.data_build.records.files import read_records, read_rows, write_records
from mllm_iqa.data_build.records.schema import Record, from_row, to_row

from mllm_iqa.errors import DataError


def test_a_record_survives_its_row(records: list[Record], tmp_path: Path) -> None:
    assert write_records(records, tmp_path / "a.parquet") == 240
    assert list(read_records(tmp_path / "a.parquet")) == records
    assert all(from_row(to_row(record)) == record for record in records[:20])
    write_records(records, tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_datasets_streams_them_with_pictures_decoded(records: list[Record], tmp_path: Path) -> None:
    write_records(records[:9], tmp_path / "train-0.parquet")
    stream = load_dataset("parquet", data_files=str(tmp_path / "*.parquet"), split="train", streaming=True)
    for row, record in zip(stream, records[:9], strict=True):
        assert (row["id"], row["task"], row["read_at"]) == (record.id, record.task, record.read_at)
        assert row["messages"][-1]["content"][0]["text"] == record.messages[-1].text
        assert [image.size for image in row["images"]] == [(64, 64)] * len(record.images)
        with PIL.Image.open(io.BytesIO(record.images[0].bytes or b"")) as first:
            assert row["images"][0].tobytes() == first.convert("RGB").tobytes()


def test_a_picture_that_many_records_show_is_stored_once(records: list[Record], tmp_path: Path) -> None:
    one = records[0]
    write_records([one] * 60, tmp_path / "same.parquet")
    picture = max(len(image.bytes or b"") for image in one.images) * len(one.images)
    assert (tmp_path / "same.parquet").stat().st_size < 2 * picture + 30_000


def test_a_folder_is_read_in_the_order_of_its_names(records: list[Record], tmp_path: Path) -> None:
    write_records(records[4:8], tmp_path / "b.parquet")
    write_records(records[:4], tmp_path / "a.parquet")
    assert [row["id"] for row in read_rows(tmp_path, ("id",))] == [record.id for record in records[:8]]


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no records here; expected a Parquet file, or a folder of them"):
        list(read_rows(tmp_path))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"broken\.parquet: cannot be read"):
        list(read_rows(tmp_path / "broken.parquet"))
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"other\.parquet: holds no instruction records: no column task, prompts"):
        list(read_rows(tmp_path / "other.parquet"))
