"""Everything that can be wrong with an archive is named at once, or left out and counted."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from mllm_iqa.data_build.readers import READERS, Scale, describe, read
from mllm_iqa.data_build.readers.records import Problem

from mllm_iqa.errors import ConfigError, DataError

HEADER = "dist_img,ref_img,dmos,var\n"
GOOD = "I01_01_01.png,I01.png,4.57,0.496\n"


def kadid(to: Any, lines: str, *missing: str) -> None:
    """A KADID-10k whose pictures I01_01_01 to I01_01_05 and I01 are there but for the missing ones."""
    names = {f"I01_01_0{level}.png" for level in range(1, 6)} | {"I01.png"}
    to.picture(*(f"images/{name}" for name in names - set(missing)))
    to.text("dmos.csv", HEADER + lines)


def problems(to: Any, expected: int) -> list[str]:
    """What `read` raises and what it skips, which must be the same."""
    with pytest.raises(DataError) as caught:
        read("kadid10k", to.root, expected=expected)
    skipped = read("kadid10k", to.root, expected=expected, skip_bad=True).problems
    assert str(caught.value) == describe("kadid10k", to.root, skipped)
    return [str(p).removeprefix(f"{to.root}").lstrip("/") for p in skipped]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("I01_01_09.png,I01.png,4,0.5", "images/I01_01_09.png: image not found"),
        ("I01_01_02.png,I09.png,4,0.5", "images/I09.png: reference not found"),
        ("I01_01_01.png,I01.png,4.57,0.496", "images/I01_01_01.png: named more than once"),
        ("I01_01_02.png,I01.png,5.2,0.5", "images/I01_01_02.png: the score 5.2 is outside 1 to 5, higher = better"),
        ("I01_01_02.png,I01.png,0.99,0.5", "images/I01_01_02.png: the score 0.99 is outside 1 to 5, higher = better"),
        ("I01_01_02.png,I01.png,good,0.5", "images/I01_01_02.png: the score 'good' is not a number"),
        ("I01_01_02.png,I01.png,nan,0.5", "images/I01_01_02.png: the score 'nan' is not a number"),
        ("I01_01_02.png,I01.png,,0.5", "images/I01_01_02.png: the score '' is not a number"),
        (",I01.png,4,0.5", "an entry names no image"),
    ],
)
def test_one_bad_line_is_named_with_its_path_and_the_good_one_is_kept(line: str, problem: str, unpacked: Any) -> None:
    kadid(unpacked, f"{GOOD}{line}\n")
    (found,) = problems(unpacked, 2)
    assert found in (problem, f": {problem}")
    kept = read("kadid10k", unpacked.root, expected=2, skip_bad=True)
    assert [r.image.name for r in kept.rated] == ["I01_01_01.png"]


def test_all_problems_are_listed_together_and_counted(unpacked: Any) -> None:
    kadid(
        unpacked,
        f"{GOOD}{GOOD}I01_01_02.png,I01.png,9,0.5\nI01_01_03.png,I01.png,x,0.5\nI01_01_04.png,I01.png,4,0.5\n",
        "I01_01_04.png",
    )
    with pytest.raises(DataError) as caught:
        read("kadid10k", unpacked.root, expected=10)
    message = str(caught.value)
    assert message.startswith(f"{unpacked.root}: 5 problems reading kadid10k: ")
    for part in ("I01_01_01.png: named more", "the score 9 is", "'x' is not", "I01_01_04.png: image", "5 entries, exp"):
        assert part in message
    assert read("kadid10k", unpacked.root, expected=10, skip_bad=True).skipped == {
        "duplicate": 1,
        "score outside the scale": 1,
        "unreadable score": 1,
        "missing image": 1,
        "wrong count": 1,
    }


def test_one_line_can_have_several_problems(unpacked: Any) -> None:
    kadid(unpacked, f"{GOOD}I01_01_09.png,I09.png,7,0.5\n")
    assert len(problems(unpacked, 2)) == 3


def test_the_count_of_the_whole_archive_is_expected_unless_told_otherwise(unpacked: Any) -> None:
    kadid(unpacked, GOOD)
    with pytest.raises(DataError, match="1 entries, expected 10,125"):
        read("kadid10k", unpacked.root)
    assert len(read("kadid10k", unpacked.root, expected=1).rated) == 1


def test_a_reading_without_problems_says_so(unpacked: Any) -> None:
    kadid(unpacked, GOOD)
    reading = read("kadid10k", unpacked.root, expected=1, skip_bad=True)
    assert (reading.problems, reading.skipped) == ((), {})


@pytest.mark.parametrize("skip_bad", [False, True])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "dmos.csv: not found"),
        (b"", "dmos.csv: no column dist_img, ref_img, dmos, var; it has none"),
        (b"dist_img,ref_img,mos\n", "dmos.csv: no column dmos, var; it has dist_img, ref_img, mos"),
        (b"\xff\xfe\x00\x80\x81", "dmos.csv: cannot be read"),
        (HEADER.encode(), "no entries"),
    ],
)
def test_a_score_file_that_cannot_be_read_is_an_error_even_when_skipping(
    content: bytes | None, message: str, skip_bad: bool, unpacked: Any
) -> None:
    unpacked.picture("images/I01.png")
    if content is not None:
        (unpacked.root / "dmos.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read("kadid10k", unpacked.root, expected=0 if message == "no entries" else None, skip_bad=skip_bad)
    assert message in str(caught.value)
    assert "1 problem reading" in str(caught.value)


def test_a_damaged_workbook_is_named(unpacked: Any) -> None:
    unpacked.text("csiq.DMOS.xlsx", "no workbook")
    with pytest.raises(DataError, match=r"csiq\.DMOS\.xlsx: cannot be read"):
        read("csiq", unpacked.root)


def test_a_workbook_without_the_sheet_or_the_columns_is_named(unpacked: Any) -> None:
    unpacked.sheet("csiq.DMOS.xlsx", "other", [("image",)])
    with pytest.raises(DataError, match=r"csiq\.DMOS\.xlsx: cannot be read: .*all_by_image"):
        read("csiq", unpacked.root)
    unpacked.sheet("csiq.DMOS.xlsx", "all_by_image", [("image", "dmos")])
    with pytest.raises(DataError, match="no row with the column names image, dst_type, dst_lev, dmos_std, dmos"):
        read("csiq", unpacked.root)


def test_a_damaged_matlab_file_is_named(unpacked: Any) -> None:
    unpacked.text("dmos_realigned.mat", "no matlab file")
    with pytest.raises(DataError, match=r"dmos_realigned\.mat: cannot be read"):
        read("live", unpacked.root)


def test_a_matlab_file_without_the_variable_is_named(unpacked: Any) -> None:
    unpacked.mat("dmos_realigned.mat", dmos=np.array([1.0]))
    with pytest.raises(DataError, match=r"dmos_realigned\.mat: no variable dmos_new; it has dmos"):
        read("live", unpacked.root)


def test_matlab_files_of_different_lengths_are_refused(unpacked: Any) -> None:
    unpacked.mat("Data/AllImages_release.mat", AllImages_release=["101.bmp", "102.bmp"])
    unpacked.mat("Data/AllMOS_release.mat", AllMOS_release=np.array([1.0]))
    unpacked.mat("Data/AllStdDev_release.mat", AllStdDev_release=np.array([1.0]))
    with pytest.raises(DataError, match="1 scores and 1 deviations for 2 pictures"):
        read("live-challenge", unpacked.root)


def test_one_unreadable_score_file_of_many_is_skipped(unpacked: Any) -> None:
    unpacked.picture("Train_Dist/A0001_00_00.bmp", "Train_Ref/A0001.bmp")
    unpacked.text("Train_Label/A0001.txt", "A0001_00_00.bmp,1520.0648\n")
    (unpacked.root / "Train_Label/A0002.txt").write_bytes(b"\xff\xfe\x80")
    reading = read("pipal", unpacked.root, expected=1, skip_bad=True)
    assert len(reading.rated) == 1
    assert reading.skipped == {"unreadable score file": 1}
    assert reading.problems[0].path.name == "A0002.txt"


def test_votes_that_are_no_numbers_are_named_and_never_counted_as_none(unpacked: Any) -> None:
    header = "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,MOS_zscore\n"
    lines = "1.jpg,0,x,50,50,0,100,3.5,0.5,60\n2.jpg,0,0,0,0,0,0,3.5,0.5,60\n3.jpg,-1,0,2,0,0,1,3.5,0.5,60\n"
    unpacked.picture(*(f"1024x768/{n}.jpg" for n in (1, 2, 3)))
    unpacked.text("koniq10k_scores_and_distributions.csv", header + lines)
    unpacked.text("AVA.txt", "1 953619 0 1 5 17 38 36 15 6 5 x 1 22 1396\n2 953958 10 7 15\n")
    with pytest.raises(DataError) as caught:
        read("koniq10k", unpacked.root, expected=2)
    message = str(caught.value)
    for part in ("3 problems", "the votes of 1.jpg are not numbers", "2.jpg: the votes", "3.jpg: the votes"):
        assert part in message
    with pytest.raises(DataError, match="2 problems"):
        read("ava", unpacked.root)


def test_pictures_are_decoded_only_when_asked(unpacked: Any) -> None:
    kadid(unpacked, f"{GOOD}I01_01_02.png,I01.png,4,0.5\n")  # empty files
    for name in ("I01_01_01.png", "I01.png"):
        PIL.Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(unpacked.root / "images" / name)
    assert len(read("kadid10k", unpacked.root, expected=2).rated) == 2
    reading = read("kadid10k", unpacked.root, expected=2, skip_bad=True, check_images=True)
    assert [r.image.name for r in reading.rated] == ["I01_01_01.png"]
    assert [(p.kind, p.path.name) for p in reading.problems] == [("unreadable image", "I01_01_02.png")]
    with pytest.raises(DataError, match=r"I01_01_02\.png: "):
        read("kadid10k", unpacked.root, expected=2, check_images=True)


def test_an_unknown_set_is_refused_with_a_guess(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown data set 'KonIQ10k'; did you mean koniq10k\?"):
        read("KonIQ10k", tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_a_folder_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent: not a folder"):
        read(name, tmp_path / "absent")


@pytest.mark.parametrize("name", READERS)
def test_an_empty_folder_is_an_error_that_names_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read(name, tmp_path, skip_bad=True)
    assert str(caught.value).startswith(f"{tmp_path}: 1 problem reading {name}: {tmp_path}")


def test_a_long_list_can_be_cut_and_says_by_how_much() -> None:
    many = tuple(Problem("missing image", Path(f"{n}.png"), "image not found") for n in range(1_203))
    assert describe("x", Path("root"), many, limit=2) == (
        "root: 1,203 problems reading x: 0.png: image not found; 1.png: image not found; and 1,201 more"
    )


# Scales


def test_the_ends_of_a_scale_become_the_ends_of_the_mos() -> None:
    for scale in (Scale(-7.3, 0.1), Scale(0.1, 0.7), Scale(900, 1850)):
        turned = Scale(scale.low, scale.high, higher_is_better=False)
        assert [scale.mos(scale.low), scale.mos(scale.high)] == [1, 5]
        assert [turned.mos(turned.low), turned.mos(turned.high)] == [5, 1]


def test_a_deviation_is_scaled_without_a_sign() -> None:
    # 4 * 10 / 50 whatever the direction
    assert Scale(0, 50).std(10) == Scale(50, 100, higher_is_better=False).std(10) == 0.8


def test_a_scale_without_width_is_refused() -> None:
    with pytest.raises(ValueError, match="low end of a scale must lie below"):
        Scale(1, 1)


def test_every_set_says_what_it_is() -> None:
    for name, reader in READERS.items():
        assert reader.images and reader.scores and reader.citation and reader.family, name
        assert reader.std in ("raters", "mean", ""), name
