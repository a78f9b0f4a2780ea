"""Every public set in its original layout, from true names and scores of the published archives."""

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from mllm_iqa.data_build.readers import READERS, Rated, read

LIVE_FOLDERS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}


@dataclass(frozen=True, slots=True)
class Label:
    """One line of a published score file: the picture, its score, and its reference or ''."""

    image: str
    score: float
    ref: str = ""

    @property
    def name(self) -> str:
        return PurePosixPath(self.image).name


# What people published: two or three lines of each archive.
LABELS: dict[str, list[Label]] = {
    "kadid10k": [
        Label("images/I01_01_01.png", 4.57, "images/I01.png"),
        Label("images/I04_05_04.png", 1.43, "images/I04.png"),
    ],
    "tid2013": [
        Label("distorted_images/i01_01_1.bmp", 5.5143, "reference_images/i01.bmp"),
        Label("distorted_images/i04_08_4.bmp", 4.375, "reference_images/i04.bmp"),
    ],
    "tid2008": [
        Label("distorted_images/I01_01_1.bmp", 5.9706, "reference_images/I01.BMP"),
        Label("distorted_images/i06_15_3.bmp", 4.0278, "reference_images/I06.BMP"),
    ],
    "csiq": [
        Label("dst_imgs/AWGN/1600.AWGN.1.png", 0.061989, "src_imgs/1600.png"),
        Label("dst_imgs/jpeg2000/roping.jpeg2000.4.png", 0.67098, "src_imgs/roping.png"),
    ],
    "live": [
        Label("jp2k/img2.bmp", 15.512954417537026, "refimgs/studentsculpture.bmp"),
        Label("jp2k/img3.bmp", 24.09025497677203, "refimgs/rapids.bmp"),
        Label("wn/img55.bmp", 36.47563691526853, "refimgs/statue.bmp"),
    ],
    "live-md": [
        Label("To_Release/Part_1/blurjpeg/babygirl_blur1.bmp", 21.5789, "To_Release/Ref_Images/babygirl.bmp"),
        Label("To_Release/Part_1/blurjpeg/babygirl_blur1_jpeg2.bmp", 32.6316, "To_Release/Ref_Images/babygirl.bmp"),
        Label("To_Release/Part_2/blurnoise/babygirl_noise3.bmp", 50.8889, "To_Release/Ref_Images/babygirl.bmp"),
    ],
    "pipal": [
        Label("Distortion_1/A0001_00_00.bmp", 1520.0648, "Train_Ref/A0001.bmp"),
        Label("Distortion_1/A0006_03_12.bmp", 1463.8762, "Train_Ref/A0006.bmp"),
    ],
    "live-challenge": [Label("Images/101.bmp", 66.3595), Label("Images/103.bmp", 39.2346)],
    "koniq10k": [
        Label("1024x768/10004473376.jpg", 3.82857142857143),
        Label("1024x768/10007357496.jpg", 3.47916666666667),
    ],
    "spaq": [Label("Dataset/TestImage/00001.jpg", 48.86), Label("Dataset/TestImage/00399.jpg", 41.59)],
    "piq23": [
        Label("Overall/66_Indoor_Scene_0.jpg", -3.720674450398623),
        Label("Overall/122_Indoor_Scene_1.tiff", -4.117761619686865),
    ],
    "uhd-iqa": [Label("training/1.jpg", 0.76), Label("training/2.jpg", 0.7585)],
    "biq2021": [Label("Images/ss03 (7805).jpg", 0.7321), Label("Images/ss03 (954).jpg", 0.6337)],
    "cid2013": [
        Label("IS1/co1/IS_I_C01_D01.jpg", 3.34364303351907),
        Label("IS4/co5/IS_IV_C05_D07.jpg", 66.3388588752043),
    ],
}

# The rater distributions of the two KonIQ pictures, as `koniq10k_distributions_sets.csv` has them.
KONIQ_SETS = """image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set
10004473376.jpg,0.0,0.0,0.238095238095,0.695238095238,0.0666666666667,105,77.3836206897,0.527277894494,training
10007357496.jpg,0.0,0.03125,0.46875,0.489583333333,0.0104166666667,96,68.7285714286,0.580003024795,test
"""


def rows(*lines: Sequence[Any]) -> str:
    return "".join(",".join(map(str, line)) + "\n" for line in lines)


# One builder per set: its score file for the given labels. The pictures are put down by `unpack`.


def kadid10k(to: Any, labels: list[Label]) -> None:
    lines = [(x.name, PurePosixPath(x.ref).name, x.score, 0.496) for x in labels]
    to.text("dmos.csv", rows(("dist_img", "ref_img", "dmos", "var"), *lines))


def tid(to: Any, labels: list[Label]) -> None:
    to.text("mos_with_names.txt", "".join(f"{x.score} {x.name.upper().replace('.BMP', '.bmp')}\n" for x in labels))
    to.text("mos_std.txt", "0.13013\n" * len(labels))


def csiq(to: Any, labels: list[Label]) -> None:
    in_sheet = {"AWGN": "noise", "BLUR": "blur", "JPEG": "jpeg", "jpeg2000": "jpeg 2000"}
    lines: list[tuple[Any, ...]] = [("image", "dst_idx", "dst_type", "dst_lev", "dmos_std", "dmos")]
    for x in labels:
        image, folder, level, _ = x.name.split(".")
        kind = in_sheet.get(folder, folder)
        lines.append((int(image) if image.isdigit() else image, 1, kind, int(level), 0.05, x.score))
    to.sheet("csiq.DMOS.xlsx", "all_by_image", lines, top=3, left=3)


def live(to: Any, labels: list[Label]) -> None:
    names = [f"{folder}/img{n}.bmp" for folder, count in LIVE_FOLDERS.items() for n in range(1, count + 1)]
    scores, originals, references = np.zeros(len(names)), np.ones(len(names)), ["bikes.bmp"] * len(names)
    for x in labels:
        at = names.index(x.image)
        scores[at], originals[at], references[at] = x.score, 0, PurePosixPath(x.ref).name
    to.mat("dmos_realigned.mat", dmos_new=scores, orgs=originals, dmos_std=np.full(len(names), 7.0))
    to.mat("refnames_all.mat", refnames_all=references)


def live_md(to: Any, labels: list[Label]) -> None:
    for part in ("Part_1", "Part_2"):
        mine = [x for x in labels if f"/{part}/" in x.image]
        to.mat(f"To_Release/{part}/Imagelists.mat", distimgs=[x.name for x in mine])
        to.mat(f"To_Release/{part}/Scores.mat", DMOSscores=np.array([x.score for x in mine]))


def pipal(to: Any, labels: list[Label]) -> None:
    for stem in sorted({x.name.split("_")[0] for x in labels}):
        lines = [(x.name, x.score) for x in labels if x.name.startswith(stem)]
        to.text(f"Train_Label/{stem}.txt", rows(*lines))


def live_challenge(to: Any, labels: list[Label]) -> None:
    # Seven training pictures stand before the others.
    names = [f"t{n}.bmp" for n in range(1, 8)] + [x.name for x in labels]
    cells = np.empty((len(names), 1), dtype=object)
    cells[:, 0] = names
    to.mat("Data/AllImages_release.mat", AllImages_release=cells)
    to.mat("Data/AllMOS_release.mat", AllMOS_release=np.array([50.0] * 7 + [x.score for x in labels]))
    to.mat("Data/AllStdDev_release.mat", AllStdDev_release=np.full(len(names), 20.0))


def koniq10k(to: Any, labels: list[Label]) -> None:
    header = ("image_name", "c1", "c2", "c3", "c4", "c5", "c_total", "MOS", "SD", "MOS_zscore")
    lines = [(x.name, 0, 0, 25, 73, 7, 105, x.score, 0.527277894494, 77.38) for x in labels]
    to.text("koniq10k_scores_and_distributions.csv", rows(header, *lines))


def spaq(to: Any, labels: list[Label]) -> None:
    lines = [(x.name, x.score, 50.0) for x in labels]
    to.sheet("Annotations/MOS and Image attribute scores.xlsx", "first", [("Image name", "MOS", "Brightness"), *lines])


def piq23(to: Any, labels: list[Label]) -> None:
    attribute = PurePosixPath(labels[0].image).parts[0]
    lines = [(x.image.replace("/", "\\"), x.score, 0.4, x.name.split("_", 1)[1].split(".")[0]) for x in labels]
    to.text(f"Scores/Scores_{attribute}.csv", rows(("IMAGE PATH", "JOD", "JOD STD", "SCENE"), *lines))
    to.text("Test split/Scene Split.csv", "SCENE,SPLIT,NB IMAGES\nIndoor_Scene_0,Train,72\nIndoor_Scene_1,Test,124\n")


def uhd_iqa(to: Any, labels: list[Label]) -> None:
    lines = [(x.name, x.score, PurePosixPath(x.image).parts[0]) for x in labels]
    to.text("uhd-iqa-metadata.csv", rows(("image_name", "quality_mos", "set"), *lines))


def biq2021(to: Any, labels: list[Label]) -> None:
    for name, mine in (("Train", labels[:-1]), ("Test", labels[-1:])):
        to.text(f"{name} (Images and MOS).csv", rows(("Image Name", "MOS"), *((x.name, x.score) for x in mine)))


def cid2013(to: Any, labels: list[Label]) -> None:
    lines = [(x.name.removesuffix(".jpg"), 1.0, x.score) for x in labels]
    to.sheet(
        "CID2013 data - version 12112014.xlsx", "CID2013 MOS", [("Source_ID", "Sharpness", "Realigned MOS"), *lines]
    )


BUILDERS: dict[str, Callable[[Any, list[Label]], None]] = {
    "kadid10k": kadid10k,
    "tid2013": tid,
    "tid2008": tid,
    "csiq": csiq,
    "live": live,
    "live-md": live_md,
    "pipal": pipal,
    "live-challenge": live_challenge,
    "koniq10k": koniq10k,
    "spaq": spaq,
    "piq23": piq23,
    "uhd-iqa": uhd_iqa,
    "biq2021": biq2021,
    "cid2013": cid2013,
}


def unpack(to: Any, name: str, labels: list[Label]) -> None:
    to.picture(*(x.image for x in labels), *(x.ref for x in labels if x.ref))
    BUILDERS[name](to, labels)


def read_all(to: Any, name: str, labels: list[Label] | None = None) -> tuple[Rated, ...]:
    labels = LABELS[name] if labels is None else labels
    unpack(to, name, labels)
    reading = read(name, to.root, expected=len(labels))
    assert (reading.pairs, reading.unrated, reading.problems) == ((), (), ())
    assert {record.dataset for record in reading.rated} == {name}
    return reading.rated


def below(root: Path, path: Path | None) -> str:
    return "" if path is None else path.relative_to(root).as_posix()


@pytest.mark.parametrize("name", BUILDERS)
def test_pictures_scores_and_references_are_those_of_the_archive(name: str, unpacked: Any) -> None:
    records = read_all(unpacked, name)
    found = {(below(unpacked.root, r.image), r.original, below(unpacked.root, r.reference)) for r in records}
    assert found == {(x.image, x.score, x.ref) for x in LABELS[name]}


@pytest.mark.parametrize(
    ("name", "mos"),
    [
        ("kadid10k", 4.57),  # already 1..5, and "dmos" is higher = better
        ("tid2013", 3.4508),  # 1 + 4 * 5.5143 / 9
        ("tid2008", 3.6536),  # 1 + 4 * 5.9706 / 9
        ("csiq", 4.752044),  # 5 - 4 * .061989: higher = worse
        ("live", 4.356071),  # 5 - 4 * (15.512954 + 3) / 115: higher = worse, from -3 to 112
        ("live-md", 4.136844),  # 5 - 4 * 21.5789 / 100: higher = worse
        ("pipal", 3.610799),  # 1 + 4 * (1520.0648 - 900) / 950
        ("live-challenge", 3.65438),  # 1 + 4 * 66.3595 / 100
        ("koniq10k", 3.828571),  # already 1..5
        ("spaq", 2.9544),  # 1 + 4 * 48.86 / 100
        ("piq23", 2.007820),  # 3 - 3.720674 * 4 / 15
        ("uhd-iqa", 4.04),  # 1 + 4 * .76
        ("biq2021", 3.9284),  # 1 + 4 * .7321
        ("cid2013", 1.485223),  # 1 + 4 * (3.343643 + 10) / 110
    ],
)
def test_the_first_score_becomes_the_mos_derived_by_hand(name: str, mos: float, unpacked: Any) -> None:
    first = next(r for r in read_all(unpacked, name) if r.image.name == LABELS[name][0].name)
    assert first.mos == pytest.approx(mos, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "original_std", "std"),
    [
        ("kadid10k", math.sqrt(0.496), math.sqrt(0.496)),  # `var` is a variance, 1..5 is as wide as 1..5
        ("csiq", 0.05, 0.2),  # 4 * .05 / 1, positive although the direction is reversed
        ("live-challenge", 20, 0.8),  # 4 * 20 / 100
        ("koniq10k", 0.527277894494, 0.527277894494),
        ("tid2013", 0.13013, None),  # of the mean, not of the raters
        ("live", 7, None),
        ("piq23", 0.4, None),  # of the estimate
        ("spaq", None, None),
    ],
)
def test_only_the_spread_of_the_raters_becomes_a_standard_deviation(
    name: str, original_std: float | None, std: float | None, unpacked: Any
) -> None:
    for record in read_all(unpacked, name):
        assert record.original_std == pytest.approx(original_std)
        assert record.std == pytest.approx(std)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("kadid10k", [("gaussian blur", 1), ("color shift", 4)]),
        ("tid2013", [("additive gaussian noise", 1), ("gaussian blur", 4)]),
        ("tid2008", [("additive gaussian noise", 1), ("local block-wise distortions", 3)]),
        ("csiq", [("white noise", 1), ("JPEG2000", 4)]),
        ("live", [("JPEG2000", None), ("JPEG2000", None), ("white noise", None)]),
        ("live-md", [("blur", None), ("blur and jpeg", None), ("noise", None)]),
        ("pipal", [("family 00", None), ("family 03", None)]),
        ("spaq", [(None, None), (None, None)]),
    ],
)
def test_distortion_and_level_are_named(name: str, kinds: list[tuple[str | None, int | None]], unpacked: Any) -> None:
    assert [(r.distortion, r.level) for r in read_all(unpacked, name)] == kinds


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("kadid10k", ["kadid10k/I01", "kadid10k/I04"]),
        ("tid2008", ["tid/i01", "tid/i06"]),  # TID2008 and TID2013 share their references
        ("tid2013", ["tid/i01", "tid/i04"]),
        ("csiq", ["csiq/1600", "csiq/roping"]),
        ("live-md", ["live-md/babygirl"] * 3),
        ("piq23", ["piq23/Indoor_Scene_0", "piq23/Indoor_Scene_1"]),
        ("biq2021", ["biq2021/ss03-156", "biq2021/ss03-19"]),  # 7805 // 50 and 954 // 50
        ("cid2013", ["cid2013/co1", "cid2013/co5"]),
        ("spaq", ["spaq/Dataset/TestImage/00001.jpg", "spaq/Dataset/TestImage/00399.jpg"]),
    ],
)
def test_what_must_stay_together_is_one_group(name: str, groups: list[str], unpacked: Any) -> None:
    assert [r.group for r in read_all(unpacked, name)] == groups


@pytest.mark.parametrize(
    ("name", "splits"),
    [
        ("piq23", ["train", "test"]),
        ("uhd-iqa", ["train", "train"]),
        ("biq2021", ["train", "test"]),
        ("kadid10k", [None, None]),
        ("koniq10k", [None, None]),  # without the file of sets
    ],
)
def test_the_split_is_the_official_one_or_none(name: str, splits: list[str | None], unpacked: Any) -> None:
    assert [r.split for r in read_all(unpacked, name)] == splits


# Oddities


def test_koniq_takes_its_split_from_the_file_of_sets(unpacked: Any) -> None:
    unpacked.text("koniq10k_distributions_sets.csv", KONIQ_SETS)
    records = read_all(unpacked, "koniq10k")
    assert [r.split for r in records] == ["train", "test"]
    # 25, 73 and 7 of 105 votes for 3, 4 and 5
    assert records[0].distribution == pytest.approx((0, 0, 25 / 105, 73 / 105, 7 / 105))


def test_koniq_with_only_the_file_of_sets_scores_by_the_mean_of_the_votes(unpacked: Any) -> None:
    unpacked.text("koniq10k_distributions_sets.csv", KONIQ_SETS)
    unpacked.picture(*(x.image for x in LABELS["koniq10k"]))
    records = read("koniq10k", unpacked.root, expected=2).rated
    # Its column MOS is on another scale; the mean of the votes is the published MOS on 1..5.
    assert [r.mos for r in records] == pytest.approx([x.score for x in LABELS["koniq10k"]], abs=1e-9)
    assert [r.split for r in records] == ["train", "test"]


def test_files_whose_case_differs_from_the_score_file_are_found(unpacked: Any) -> None:
    unpacked.picture("distorted_images/i01_01_1.bmp", "reference_images/i01.bmp")
    unpacked.text("mos_with_names.txt", "5.5143 I01_01_1.bmp\n")
    (record,) = read("tid2013", unpacked.root, expected=1).rated
    assert (below(unpacked.root, record.image), below(unpacked.root, record.reference)) == (
        "distorted_images/i01_01_1.bmp",
        "reference_images/i01.bmp",
    )


def test_live_md_is_also_read_with_its_references_among_the_distorted_pictures(unpacked: Any) -> None:
    for number, folder, name in ((1, "blurjpeg", "babygirl_blur1.bmp"), (2, "blurnoise", "babygirl_noise3.bmp")):
        unpacked.picture(f"Part {number}/{folder}/{name}", f"Part {number}/{folder}/babygirl.bmp")
        unpacked.mat(f"Part {number}/Imagelists.mat", distimgs=[name])
        unpacked.mat(f"Part {number}/Scores.mat", DMOSscores=np.array([50.0]))
    records = read("live-md", unpacked.root, expected=2).rated
    assert [below(unpacked.root, r.reference) for r in records] == [
        "Part 1/blurjpeg/babygirl.bmp",
        "Part 2/blurnoise/babygirl.bmp",
    ]
    assert [r.mos for r in records] == [3.0, 3.0]


def test_csiq_with_all_distorted_pictures_in_one_folder_is_read(unpacked: Any) -> None:
    label = LABELS["csiq"][0]
    unpacked.picture(f"dst_imgs/{label.name}", label.ref)
    csiq(unpacked, [label])
    (record,) = read("csiq", unpacked.root, expected=1).rated
    assert record.image == unpacked.root / "dst_imgs" / label.name


def test_the_other_attributes_of_piq23_have_readers_of_their_own(unpacked: Any) -> None:
    label = Label("Details/33_Indoor_Scene_0.jpg", -3.702848776333557)
    unpack(unpacked, "piq23", [label])
    (record,) = read("piq23-details", unpacked.root, expected=1).rated
    assert (record.original, record.dataset, record.group) == (label.score, "piq23-details", "piq23/Indoor_Scene_0")


def test_the_challenge_release_of_uhd_iqa_is_read(unpacked: Any) -> None:
    unpacked.picture("challenge/training/1.jpg", "challenge/validation/1001.jpg", "challenge/test/2.jpg")
    unpacked.text("uhd-iqa-training-metadata.csv", "image_name,quality_mos\n1.jpg,0.76\n")
    unpacked.text("uhd-iqa-validation-metadata.csv", "image_name,quality_mos\n1001.jpg,0.5\n")
    unpacked.text("uhd-iqa-test-metadata.csv", "image_name\n2.jpg\n")  # scores were kept back
    records = read("uhd-iqa", unpacked.root, expected=2).rated
    assert [(r.image.name, r.mos, r.split) for r in records] == [("1.jpg", 4.04, "train"), ("1001.jpg", 3.0, "val")]


AGIQA = """name,prompt,adj1,adj2,style,mos_quality,std_quality,mos_align,std_align
AttnGAN_normal_000.jpg,statue of a man,,,,0.965602553,0.223270101,0.40889324,0.615607722
AttnGAN_normal_060.jpg,"artwork with only triangles, anime style",,,anime style,0.919776796,0.719282241,0.85,0.84
"""


@pytest.mark.parametrize("folder", ["", "images/", "AGIQA-3K/"])
def test_agiqa_gives_the_quality_score_and_groups_by_prompt(folder: str, unpacked: Any) -> None:
    unpacked.picture(f"{folder}AttnGAN_normal_000.jpg", f"{folder}AttnGAN_normal_060.jpg")
    unpacked.text("data.csv", AGIQA)
    first, second = read("agiqa-3k", unpacked.root, expected=2).rated
    assert first.mos == pytest.approx(1.772482042)  # 1 + 4 * .965602553 / 5
    assert first.std == pytest.approx(0.1786160808)  # 4 * .223270101 / 5
    assert second.group == "agiqa-3k/artwork with only triangles, anime style"


AVA = "1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396\n2 953958 10 7 15 26 26 21 10 8 1 2 1 21 1396\n"


def test_ava_scores_are_means_of_its_votes(unpacked: Any) -> None:
    unpacked.picture("images/953619.jpg", "images/953958.jpg")
    unpacked.text("AVA.txt", AVA)
    unpacked.text("aesthetics_image_lists/generic_test.jpgl", "953958\n")
    first, second = read("ava", unpacked.root, expected=2).rated
    # 124 votes: (2*1 + 3*5 + 4*17 + 5*38 + 6*36 + 7*15 + 8*6 + 9*5 + 10*1) / 124 = 699 / 124
    assert first.original == pytest.approx(699 / 124)
    assert first.mos == pytest.approx(1 + 4 * (699 / 124 - 1) / 9)
    assert first.distribution == pytest.approx([v / 124 for v in (0, 1, 5, 17, 38, 36, 15, 6, 5, 1)])
    # E[v^2] = (4*1 + 9*5 + 16*17 + 25*38 + 36*36 + 49*15 + 64*6 + 81*5 + 100*1) / 124 = 4191 / 124
    assert first.original_std == pytest.approx(math.sqrt(4191 / 124 - (699 / 124) ** 2))
    assert [first.split, second.split] == ["train", "test"]


FLIVE = """name,mos
blur_dataset/motion0044.jpg,75.44372347614072
voc_emotic_ava/EMOTIC__527h15tedos6bpmzb5.jpg,64.09735698945249
blur_dataset/motion0091.jpg,0.0
"""


def unpack_flive(to: Any) -> None:
    to.picture(*(f"database/{line.split(',')[0]}" for line in FLIVE.splitlines()[1:]))
    to.text("database/labels_image.csv", FLIVE)
    to.text("database/labels640.csv", "mos_image,name_image\n64.09,voc_emotic_ava/EMOTIC__527h15tedos6bpmzb5.jpg\n")
    padded = "name_image,is_valid\nblur_dataset/motion0091.jpg,True\nblur_dataset/motion0044.jpg,False\n"
    to.text("database/labels=640_padded.csv", padded)


def test_flive_takes_its_split_from_three_files(unpacked: Any) -> None:
    unpack_flive(unpacked)
    records = read("flive", unpacked.root, expected=3).rated
    assert [r.split for r in records] == ["train", "test", "val"]
    assert [r.mos for r in records] == pytest.approx([4.017748939, 3.563894280, 1.0])  # 1 + 4 x / 100
    assert records[0].group == "flive/motion0044.jpg"


def test_flive_without_the_file_that_tells_val_names_only_its_test_pictures(unpacked: Any) -> None:
    unpack_flive(unpacked)
    (unpacked.root / "database/labels=640_padded.csv").unlink()
    assert [r.split for r in read("flive", unpacked.root, expected=3).rated] == [None, "test", None]


def test_a_patch_of_flive_shares_split_and_group_with_its_picture(unpacked: Any) -> None:
    unpack_flive(unpacked)
    name = "patches/EMOTIC__527h15tedos6bpmzb5.jpg_patch_1.jpg"
    unpacked.picture(f"database/{name}")
    unpacked.text("database/labels_patch.csv", f"name,mos\n{name},62.5783538\n")
    (record,) = read("flive-patches", unpacked.root, expected=1).rated
    assert (record.split, record.group) == ("test", "flive/EMOTIC__527h15tedos6bpmzb5.jpg")


# The published labels, where they are


PUBLISHED = {
    "kadid10k": "KADID-10k",
    "tid2013": "TID2013",
    "tid2008": "TID2008",
    "csiq": "CSIQ",
    "live": "LIVE",
    "live-md": "LIVE_MD",
    "pipal": "PIPAL",
    "live-challenge": "LIVE_Challenge",
    "koniq10k": "KonIQ-10k",
    "spaq": "SPAQ",
    "piq23": "PIQ2023",
    "uhd-iqa": "UHD-IQA",
    "biq2021": "BIQ2021",
    "cid2013": "CID2013",
}


def published(shared_data: Path, name: str) -> list[Label]:
    with (shared_data / "labels" / f"{PUBLISHED[name]}.csv").open(newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        labels = [Label(row["image"], float(row["mos"]), row["ref"]) for row in table]
    return [x for x in labels if x.image.startswith("Overall/")] if name == "piq23" else labels


@pytest.mark.data
@pytest.mark.parametrize("name", PUBLISHED)
def test_names_all_over_the_published_labels_are_read(name: str, unpacked: Any, shared_data: Path) -> None:
    labels = published(shared_data, name)
    labels = labels[:: len(labels) // 24]
    records = read_all(unpacked, name, labels)
    found = {(below(unpacked.root, r.image), r.original, below(unpacked.root, r.reference)) for r in records}
    assert found == {(x.image, x.score, x.ref) for x in labels}


@pytest.mark.data
@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_score_lies_on_the_scale_and_the_count_is_right(name: str, shared_data: Path) -> None:
    labels = published(shared_data, name)
    scale = READERS[name].scale
    assert scale is not None
    assert [x for x in labels if not scale.holds(x.score)] == []
    # One picture of the Challenge set is missing from the collected labels.
    assert len(labels) == {"live-challenge": 1_161}.get(name, READERS[name].count)
    assert {x for x in LABELS[name] if x not in labels} == set()


@pytest.mark.data
def test_the_distributions_of_koniq_have_the_published_means(unpacked: Any, shared_data: Path) -> None:
    with (shared_data / "labels" / "koniqpp" / "Koniq++_old.csv").open(encoding="utf-8") as file:
        lines = file.read().splitlines()
    unpacked.text("koniq10k_distributions_sets.csv", "\n".join(lines[:40]))
    scores = {x.name: x.score for x in published(shared_data, "koniq10k")}
    unpacked.picture(*(f"1024x768/{line.split(',')[0]}" for line in lines[1:40]))
    records = read("koniq10k", unpacked.root, expected=39).rated
    assert [r.mos for r in records] == pytest.approx([scores[r.image.name] for r in records], abs=1e-6)
