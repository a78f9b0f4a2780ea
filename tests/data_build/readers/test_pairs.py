"""Preferences between two pictures, and the unrated set."""

from typing import Any

import numpy as np
import pytest
from mllm_iqa.data_build.readers import RatedPair, Unrated, read

from mllm_iqa.errors import DataError


def bapps(to: Any, judgements: dict[str, float]) -> None:
    """2AFC triples by their place `train/cnn/000000`; the judgement is the share that chose p1."""
    for place, share in judgements.items():
        folder, number = place.rsplit("/", 1)
        base = f"dataset/2afc/{folder}"
        to.picture(*(f"{base}/{part}/{number}.png" for part in ("ref", "p0", "p1", "judge")))
        (to.root / f"{base}/judge/{number}.png").unlink()
        np.save(to.root / f"{base}/judge/{number}.npy", np.array([share], dtype=np.float32))


def test_a_bapps_judgement_for_the_second_patch_is_turned_round(unpacked: Any) -> None:
    bapps(unpacked, {"train/cnn/000000": 1.0, "val/superres/000007": 0.25})
    reading = read("bapps", unpacked.root)
    base = unpacked.root / "dataset/2afc"
    assert reading.rated == ()
    assert reading.pairs == (
        RatedPair(
            first=base / "train/cnn/p0/000000.png",
            second=base / "train/cnn/p1/000000.png",
            reference=base / "train/cnn/ref/000000.png",
            prefers_first=0.0,
            dataset="bapps",
            split="train",
            group="bapps/train/cnn/000000",
        ),
        RatedPair(
            first=base / "val/superres/p0/000007.png",
            second=base / "val/superres/p1/000007.png",
            reference=base / "val/superres/ref/000007.png",
            prefers_first=0.75,
            dataset="bapps",
            split="val",
            group="bapps/val/superres/000007",
        ),
    )


def test_a_damaged_judgement_is_named_and_the_others_are_kept(unpacked: Any) -> None:
    bapps(unpacked, {"train/mix/000000": 0.5, "train/mix/000001": 0.5})
    damaged = unpacked.text("dataset/2afc/train/mix/judge/000001.npy", "no array")
    with pytest.raises(DataError, match=r"judge/000001\.npy: cannot be read"):
        read("bapps", unpacked.root)
    reading = read("bapps", unpacked.root, skip_bad=True)
    assert [pair.first.name for pair in reading.pairs] == ["000000.png"]
    assert [(p.kind, p.path) for p in reading.problems] == [("unreadable score file", damaged)]


PIEAPP_HEADER = "ref. image, distorted image A, distorted image B, raw preference for A, processed preference for A\n"


def pieapp(to: Any, split: str, number: int, lines: str, names: list[str]) -> None:
    reference = f"ref_{number}"
    to.picture(f"reference_images/{split}/{reference}.png")
    to.picture(*(f"distorted_images/{split}/{reference}/{name}" for name in names))
    to.text(f"labels/{split}/{reference}_pairwise_labels.csv", PIEAPP_HEADER + lines)


def test_pieapp_takes_the_raters_preference_and_else_the_estimated_one(unpacked: Any) -> None:
    a, b = "distort_7_awgn_inter_1.png", "distort_7_blur_inter_2.png"
    pieapp(unpacked, "train", 7, f"ref_7.png,{a},{b},0.8,0.71\nref_7.png,{b},{a},,0.29\n", [a, b])
    pairs = read("pieapp", unpacked.root).pairs
    assert [(p.first.name, p.second.name, p.prefers_first) for p in pairs] == [(a, b, 0.8), (b, a, 0.29)]
    assert {(p.split, p.group, p.reference.name) for p in pairs} == {("train", "pieapp/ref_7", "ref_7.png")}


def test_in_the_test_part_of_pieapp_the_reference_itself_is_compared(unpacked: Any) -> None:
    name = "distort_9_jpeg_intra_3.png"
    pieapp(unpacked, "test", 9, f"ref_9.png,ref_9.png,{name},0.95\n", [name])
    (pair,) = read("pieapp", unpacked.root).pairs
    assert pair.first == pair.reference == unpacked.root / "reference_images/test/ref_9.png"
    assert (pair.second.name, pair.prefers_first, pair.split) == (name, 0.95, "test")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("ref_7.png,a.png,b.png,1.2,", "the score 1.2 is outside 0 to 1"),
        ("ref_7.png,a.png,b.png,,", "the score '' is not a number"),
        ("ref_7.png,a.png", "expected a reference, A, B and a preference"),
        ("ref_8.png,a.png,b.png,0.5,", "ref_8.png: reference not found"),
        ("ref_7.png,a.png,c.png,0.5,", "c.png: image not found"),
    ],
)
def test_a_bad_pair_is_named(line: str, message: str, unpacked: Any) -> None:
    pieapp(unpacked, "val", 7, f"{line}\n", ["a.png", "b.png"])
    with pytest.raises(DataError) as caught:
        read("pieapp", unpacked.root)
    assert message in str(caught.value)


KADIS = "ref_im,dist_type_1,dist_type_2\na-fleshy-plant-1464418.png,7,12\n"


def test_kadis_has_references_without_scores(unpacked: Any) -> None:
    unpacked.text("kadis700k_ref_imgs.csv", KADIS)
    unpacked.picture("ref_imgs/a-fleshy-plant-1464418.png")
    assert read("kadis700k-references", unpacked.root, expected=1).unrated == (
        Unrated(
            image=unpacked.root / "ref_imgs/a-fleshy-plant-1464418.png",
            reference=None,
            distortion=None,
            level=None,
            dataset="kadis700k-references",
            group="kadis700k/a-fleshy-plant-1464418.png",
        ),
    )


@pytest.mark.parametrize("extension", ["bmp", "png", "jpg"])
def test_kadis_has_five_levels_of_one_distortion(extension: str, unpacked: Any) -> None:
    unpacked.text("kadis700k_ref_imgs.csv", KADIS)
    names = [f"dist_imgs/a-fleshy-plant-1464418_07_{level:02d}.{extension}" for level in range(1, 6)]
    unpacked.picture("ref_imgs/a-fleshy-plant-1464418.png", *names)
    records = read("kadis700k", unpacked.root, expected=5).unrated
    assert [(r.image, r.distortion, r.level) for r in records] == [
        (unpacked.root / name, "color saturation HSV", level) for level, name in enumerate(names, 1)
    ]
    assert {r.reference for r in records} == {unpacked.root / "ref_imgs/a-fleshy-plant-1464418.png"}
    assert {r.group for r in records} == {"kadis700k/a-fleshy-plant-1464418.png"}


def test_an_unknown_distortion_number_of_kadis_is_named(unpacked: Any) -> None:
    unpacked.text("kadis700k_ref_imgs.csv", "ref_im,dist_type_1\na.png,26\n")
    with pytest.raises(DataError, match=r"unknown distortion number '26' of a\.png"):
        read("kadis700k", unpacked.root)
