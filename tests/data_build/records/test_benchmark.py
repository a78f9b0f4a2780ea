"""The benchmark: from any photographs, the same bytes every time, only what is measured, and read by every part."""

from pathlib import Path

import pytest
from mllm_iqa.data_build.records.benchmark import MEASURED, SHIPPED, material_of, write_benchmark
from mllm_iqa.data_build.records.files import read_records
from mllm_iqa.data_build.records.material import Material
from mllm_iqa.eval.parts import load_tasks

from mllm_iqa.cli import main
from mllm_iqa.errors import DataError


@pytest.fixture(scope="module")
def benchmark(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmark") / "set.parquet"
    write_benchmark(material, path, count=160)
    return path


def test_it_holds_what_is_measured_in_english(benchmark: Path) -> None:
    records = list(read_records(benchmark))
    assert {record.task for record in records} == MEASURED
    assert {record.language for record in records} == {"en"}
    assert {record.split for record in records} == {"test"}


def test_the_same_photographs_give_the_same_bytes(benchmark: Path, material: Material, tmp_path: Path) -> None:
    write_benchmark(material, tmp_path / "again.parquet", count=160)
    assert (tmp_path / "again.parquet").read_bytes() == benchmark.read_bytes()


@pytest.mark.parametrize("task", [task.spec.task for task in load_tasks("synthetic")])
def test_every_part_of_the_suite_reads_it(task: str, benchmark: Path) -> None:
    items = load_tasks(task)[0].items(benchmark)
    assert items and len({item.id for item in items}) == len(items)
    assert all(item.pictures and item.truth for item in items)


def test_without_photographs_it_is_made_from_the_shipped_ones(tmp_path: Path) -> None:
    assert [clean.path.name for clean in material_of(()).clean] == list(SHIPPED)


def test_folders_without_pictures_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="no such picture"):
        material_of([tmp_path / "missing"])
    assert main(["data", "benchmark", str(tmp_path / "x.parquet"), "--photos", str(tmp_path)]) == 2
    assert "holds no pictures" in capsys.readouterr().err
