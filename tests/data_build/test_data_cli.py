"""`mllm-iqa data`: a small bank with its scenes and a held-out set, and what is refused in one line."""

from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from mllm_iqa.data_build import cli as data_cli
from mllm_iqa.data_build.bank import BankPlan

from mllm_iqa.cli import main
from mllm_iqa.taxonomy import FAMILIES


@pytest.fixture
def given(photo_folders: dict[str, Path]) -> list[str]:
    return [part for name, folder in photo_folders.items() for part in (f"--{name}", str(folder))]


def test_bank_writes_the_bank_and_its_scenes_and_a_second_time_keeps_them(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # 500 groups take too long for a test.
    monkeypatch.setattr(data_cli, "BankPlan", partial(BankPlan, groups_per_shard=2, whole_groups_per_shard=3))
    out = tmp_path / "bank"
    command = ["data", "bank", str(out), *given, "--shards", "32:2,48:1,64x32:1", "--workers", "1", "--seed", "5"]
    assert main(command) == 0
    assert capsys.readouterr() == (f"{out}\n", "")
    shards = {
        *("train-32px-0000.parquet", "train-32px-0001.parquet", "val-32px-0000.parquet"),
        *("train-48px-0000.parquet", "val-48px-0000.parquet"),
        *("train-64x32px-0000.parquet", "val-64x32px-0000.parquet"),
    }
    rest = {"photos.parquet", "instruct-train-photos.parquet", "instruct-val-photos.parquet", "plan.json"}
    assert {p.name for p in out.iterdir()} == shards | {f"instruct-{s}" for s in shards} | rest
    whole = pq.read_table(out / "train-64x32px-0000.parquet").to_pylist()
    assert [(row["height"], row["width"]) for row in whole] == [(64, 32)] * 12
    written = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.iterdir() if p.name != "photos.parquet"}

    assert main(command) == 0
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in out.iterdir() if p.name in written} == written

    assert main([*command[:-1], "6"]) == 2
    assert capsys.readouterr().err == (
        f"mllm-iqa: error: {out}: holds a bank of another plan or of other photographs (see its plan.json); "
        "name another folder\n"
    )
    # Conversations name photographs by their row, so a bank of others must not be added to either.
    labels = Path(given[1]) / "labels.csv"
    kept = labels.read_text("utf8")
    header, first, second, *rest = kept.splitlines(keepends=True)
    try:
        for others in ([header, first, *rest], [header, second, first, *rest]):
            labels.write_text("".join(others), "utf8")
            assert main(command) == 2
            assert "of other photographs" in capsys.readouterr().err
    finally:
        labels.write_text(kept, "utf8")
    (out / "plan.json").unlink()
    assert main(command) == 2, "shards of an unknown plan were taken over"


def test_heldout_writes_one_file(given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "heldout.parquet"
    assert main(["data", "heldout", str(out), *given, "--per-family", "1"]) == 0
    assert capsys.readouterr() == (f"{out}\n", "")
    severities = pq.read_table(out)["severity"].to_pylist()
    assert [severities.count(s) for s in range(6)] == [3, *[len(FAMILIES)] * 5]


@pytest.mark.parametrize("shards", ["96", "96:", "96:x", "0:1", "96:0", "96:1,", "96:1;128:1", "", "96x:1", "x96:1"])
def test_shards_that_are_no_pairs_are_refused(
    shards: str, given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "bank", str(tmp_path / "bank"), *given, "--shards", shards]) == 2
    err = capsys.readouterr().err
    assert err == f"mllm-iqa: error: --shards must be size:shards pairs such as 96:80,352x512:8, got {shards!r}\n"
    assert not (tmp_path / "bank").exists()


def test_sides_a_model_would_have_to_pad_are_refused(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "bank", str(tmp_path / "bank"), *given, "--shards", "64:1,320x481:2"]) == 2
    assert "must be multiples of 32, got 320x481" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["bank", "heldout"])
def test_a_missing_folder_is_named_in_one_line(
    command: str, photo_folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = ["--biq2021", str(tmp_path / "absent"), "--bsds500", str(photo_folders["bsds500"])]
    assert main(["data", command, str(tmp_path / "out"), *folders]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"mllm-iqa: error: {tmp_path / 'absent' / 'labels.csv'}: not found")


@pytest.mark.parametrize(
    "arguments", [["bank", "out"], ["heldout", "out", "--per-family", "0"], ["biuld"], ["bank", "out", "--sede", "1"]]
)
def test_wrong_usage_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert err


def test_help_tells_what_the_commands_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "--help"]) == 0
    out = capsys.readouterr().out
    assert "bank" in out
    assert "build" in out
    assert "heldout" in out
    assert "preview" in out
