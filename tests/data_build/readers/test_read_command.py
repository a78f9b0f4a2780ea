"""`mllm-iqa data read`: a Parquet file and counts, or one line of what is wrong."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from mllm_iqa.data_build.readers import READERS

from mllm_iqa.cli import main

HEADER = "image_name,quality_mos,set\n"


@pytest.fixture
def small_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole archives do not fit into a test: two pictures are all of these sets."""
    for name in ("uhd-iqa", "koniq10k", "kadis700k-references"):
        monkeypatch.setitem(READERS, name, replace(READERS[name], count=2))


def uhd(to: Any, *missing: str) -> None:
    names = {"training/1.jpg", "test/9.jpg"}
    to.picture(*(names - set(missing)))
    to.text("uhd-iqa-metadata.csv", f"{HEADER}1.jpg,0.75,training\n9.jpg,0.25,test\n")


def test_records_are_written_and_counts_printed(
    small_count: None, unpacked: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uhd(unpacked)
    out = tmp_path / "uhd.parquet"
    assert main(["data", "read", "uhd-iqa", str(unpacked.root), "--out", str(out)]) == 0
    # 1 + 4 * .25 and 1 + 4 * .75
    assert capsys.readouterr() == (
        f"rows        2\nsplits      test 1, train 1\nmos         2.00 to 4.00\nreferences  0\ngroups      2\n{out}\n",
        "",
    )
    first = pq.read_table(out).to_pylist()[0]
    assert first == {
        "image": f"{unpacked.root}/training/1.jpg",
        "reference": None,
        "distortion": None,
        "dataset": "uhd-iqa",
        "split": "train",
        "group": "uhd-iqa/training/1.jpg",
        "mos": 4.0,
        "std": None,
        "original": 0.75,
        "original_std": None,
        "level": None,
        "distribution": None,
    }


def test_vote_distributions_are_written(small_count: None, unpacked: Any, tmp_path: Path) -> None:
    unpacked.picture("1024x768/1.jpg", "1024x768/2.jpg")
    header = "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,MOS_zscore\n"
    lines = "1.jpg,0,0,50,50,0,100,3.5,0.5,60\n2.jpg,100,0,0,0,0,100,1,0,1\n"
    unpacked.text("koniq10k_scores_and_distributions.csv", header + lines)
    out = tmp_path / "koniq.parquet"
    assert main(["data", "read", "koniq10k", str(unpacked.root), "--out", str(out)]) == 0
    assert pq.read_table(out)["distribution"].to_pylist() == [[0, 0, 0.5, 0.5, 0], [1, 0, 0, 0, 0]]


def test_pairs_are_written(unpacked: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = "2afc/val/color"
    unpacked.picture(*(f"{base}/{part}/000000.png" for part in ("ref", "p0", "p1")), f"{base}/judge/x")
    np.save(unpacked.root / base / "judge/000000.npy", np.array([0.25]))
    out = tmp_path / "bapps.parquet"
    assert main(["data", "read", "bapps", str(unpacked.root), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"rows        1\nsplits      val 1\nreferences  1\ngroups      1\n{out}\n"
    (row,) = pq.read_table(out).to_pylist()
    assert (row["first"], row["prefers_first"]) == (f"{unpacked.root}/{base}/p0/000000.png", 0.75)


def test_unrated_pictures_are_written(
    small_count: None, unpacked: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unpacked.picture("ref_imgs/a.png", "ref_imgs/b.png")
    unpacked.text("kadis700k_ref_imgs.csv", "ref_im,dist_type_1\na.png,1\nb.png,2\n")
    out = tmp_path / "kadis.parquet"
    assert main(["data", "read", "kadis700k-references", str(unpacked.root), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"rows        2\nreferences  0\ngroups      2\n{out}\n"
    assert pq.read_table(out)["image"].to_pylist() == [f"{unpacked.root}/ref_imgs/{n}.png" for n in "ab"]


def test_what_is_wrong_is_one_line_and_nothing_is_written(
    small_count: None, unpacked: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uhd(unpacked, "test/9.jpg")
    out = tmp_path / "uhd.parquet"
    assert main(["data", "read", "uhd-iqa", str(unpacked.root), "--out", str(out)]) == 2
    assert capsys.readouterr() == (
        "",
        f"mllm-iqa: error: {unpacked.root}: 1 problem reading uhd-iqa: {unpacked.root}/test/9.jpg: image not found\n",
    )
    assert not out.exists()


def test_skip_bad_leaves_out_and_counts(
    small_count: None, unpacked: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uhd(unpacked, "test/9.jpg")
    out = tmp_path / "uhd.parquet"
    assert main(["data", "read", "uhd-iqa", str(unpacked.root), "--out", str(out), "--skip-bad"]) == 0
    assert "rows        1\n" in (printed := capsys.readouterr().out)
    assert "skipped     missing image 1\n" in printed
    assert pq.read_table(out).num_rows == 1


def test_check_images_opens_the_pictures(
    small_count: None, unpacked: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uhd(unpacked)  # empty files
    command = ["data", "read", "uhd-iqa", str(unpacked.root), "--out", str(tmp_path / "o.parquet"), "--check-images"]
    assert main(command) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "2 problems reading uhd-iqa" in err


def test_a_long_list_of_problems_is_cut(unpacked: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    unpacked.text("uhd-iqa-metadata.csv", HEADER + "".join(f"{n}.jpg,0.5,training\n" for n in range(50)))
    assert main(["data", "read", "uhd-iqa", str(unpacked.root), "--out", str(tmp_path / "o.parquet")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "51 problems reading uhd-iqa" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kadid", "{tmp}", "--out", "{tmp}/o.parquet"], "unknown data set 'kadid'; did you mean kadid10k?"),
        (["kadid10k", "{tmp}/absent", "--out", "{tmp}/o.parquet"], "absent: not a folder"),
        (
            ["kadid10k", "{tmp}", "--out", "{tmp}/absent/o.parquet"],
            "must be the name of a file in a folder that exists",
        ),
        (["kadid10k", "{tmp}", "--out", "{tmp}"], "must be the name of a file in a folder that exists"),
        (["kadid10k", "{tmp}", "--out", "{tmp}/o.parquet"], "dmos.csv: not found"),
    ],
)
def test_a_wrong_argument_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "read", *(part.format(tmp=tmp_path) for part in arguments)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert message in err


def test_a_workbook_without_the_package_for_it_says_what_to_install(
    unpacked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    unpacked.text("csiq.DMOS.xlsx", "")
    assert main(["data", "read", "csiq", str(unpacked.root), "--out", str(tmp_path / "o.parquet")]) == 2
    assert "this needs openpyxl; install it with: pip install 'mllm-iqa[data]'" in capsys.readouterr().err


def test_help_names_every_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "read", "--help"]) == 0
    words = capsys.readouterr().out.replace(",", " ").replace(".", " ").split()
    assert [name for name in READERS if name not in words] == []
