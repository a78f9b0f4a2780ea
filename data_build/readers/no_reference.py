"""Parsers of the sets of photographs and generated pictures without references: one function per set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

from mllm_iqa.errors import DataError

from .archive import Archive
from .entries import Entry, split_named
from .records import Split
from .score_files import csv_table, lines, mat_numbers, mat_texts, number, sheet_table

_AGIQA_FOLDERS = ("", "images/", "image/", "AGIQA-3K/")
_BURST = 50
_CID_SETS = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6}


def live_challenge(archive: Archive) -> Iterator[Entry]:
    """LIVE In the Wild Challenge: names, MOS and the raters' deviations in three .mat files in `Data/`.

    The first seven names, t1.bmp to t7.bmp, trained the raters and belong to no published result; they are left out.
    """
    names = mat_texts(archive.need("Data/AllImages_release.mat"), "AllImages_release")
    path = archive.need("Data/AllMOS_release.mat")
    scores = mat_numbers(path, "AllMOS_release")
    deviations = mat_numbers(archive.need("Data/AllStdDev_release.mat"), "AllStdDev_release")
    if not len(names) == len(scores) == len(deviations):
        raise DataError(f"{path}: {len(scores)} scores and {len(deviations)} deviations for {len(names)} pictures")
    for name, score, std in zip(names, scores, deviations, strict=True):
        if not re.fullmatch(r"t\d+\.bmp", name, re.IGNORECASE):
            yield Entry(image=f"Images/{name}", score=score, std=std)


def koniq10k(archive: Archive) -> Iterator[Entry]:
    """KonIQ-10k: votes c1..c5, MOS and SD per picture in `koniq10k_scores_and_distributions.csv`.

    The official split is the column `set` of `koniq10k_distributions_sets.csv`. Where only that file is there, the
    score is the mean of its votes: its own column MOS is on another scale (0..100, z-scored).
    """
    votes = ("c1", "c2", "c3", "c4", "c5")
    sets = archive.find("koniq10k_distributions_sets.csv", "metadata/koniq10k_distributions_sets.csv")
    scores = archive.find("koniq10k_scores_and_distributions.csv")
    splits = (
        {} if sets is None else {r["image_name"]: split_named(r["set"]) for r in csv_table(sets, ("image_name", "set"))}
    )
    path = scores or sets or archive.need("koniq10k_scores_and_distributions.csv")
    folder = archive.place("1024x768", "512x384")
    for row in csv_table(path, ("image_name", *votes, "MOS", "SD")):
        shares = _votes(row[vote] for vote in votes)
        if shares is None:
            archive.report("unreadable score", path, f"the votes of {row['image_name']} are not numbers")
            continue
        yield Entry(
            image=f"{folder}/{row['image_name']}" if row["image_name"] else "",
            score=_mean_vote(shares) if scores is None else row["MOS"],
            std=row["SD"],
            votes=shares,
            split=splits.get(row["image_name"]),
        )


def spaq(archive: Archive) -> Iterator[Entry]:
    """SPAQ: `Annotations/MOS and Image attribute scores.xlsx` (first sheet); pictures in `TestImage/`."""
    path = archive.need("Annotations/MOS and Image attribute scores.xlsx", "MOS and Image attribute scores.xlsx")
    folder = archive.place("TestImage", "Dataset/TestImage")
    for row in sheet_table(path, None, ("Image name", "MOS")):
        yield Entry(image=f"{folder}/{row['Image name']}", score=row["MOS"])


def flive(archive: Archive) -> Iterator[Entry]:
    """FLIVE, whole pictures: `labels_image.csv`; names include the folder below `database/`.

    The official split: pictures in `labels640.csv` are test, those marked `is_valid` in `labels=640_padded.csv` are
    val, the others train. Without the second file nobody can tell val from train, so that only test is named.
    """
    splits, rest = _flive_splits(archive)
    base = "database/" if archive.find("database/labels_image.csv") else ""
    for row in csv_table(archive.need(f"{base}labels_image.csv"), ("name", "mos")):
        yield Entry(
            image=f"{base}{row['name']}" if row["name"] else "",
            score=row["mos"],
            split=splits.get(_key(row["name"]), rest),
            group=_key(row["name"]),
        )


def flive_patches(archive: Archive) -> Iterator[Entry]:
    """FLIVE, the patches cut from its pictures: `labels_patch.csv`; a patch shares split and group with its picture."""
    splits, rest = _flive_splits(archive)
    base = "database/" if archive.find("database/labels_patch.csv") else ""
    for row in csv_table(archive.need(f"{base}labels_patch.csv"), ("name", "mos")):
        picture = _key(row["name"]).split("_patch_")[0]
        yield Entry(
            image=f"{base}{row['name']}" if row["name"] else "",
            score=row["mos"],
            split=splits.get(picture, rest),
            group=picture,
        )


def ava(archive: Archive) -> Iterator[Entry]:
    """AVA: `AVA.txt`, lines "index id votes-for-1 .. votes-for-10 tag tag challenge"; the score is the mean vote.

    Test is `aesthetics_image_lists/generic_test.jpgl`, a list of ids; every other picture is train. Copies in use lack
    some of the listed pictures: `skip_bad` leaves those out and counts them.
    """
    path = archive.need("AVA.txt")
    test_list = archive.find("aesthetics_image_lists/generic_test.jpgl")
    test = None if test_list is None else {line.split()[0] for line in lines(test_list)}
    folder = archive.place("images", "image", "ava_images")
    for line in lines(path):
        words = line.split()
        votes = _votes(words[2:12])
        if votes is None or len(votes) != 10:
            archive.report("unreadable score", path, f"expected an index, an id and ten counts of votes, got {line!r}")
            continue
        mean, std = _mean_vote(votes), _std_vote(votes)
        split: Split | None = None if test is None else "test" if words[1] in test else "train"
        yield Entry(image=f"{folder}/{words[1]}.jpg", score=mean, std=std, votes=votes, split=split)


def piq23(archive: Archive, attribute: str) -> Iterator[Entry]:
    r"""PIQ23, one attribute ("Overall", "Details" or "Exposure"): `Scores/Scores_<attribute>.csv`.

    Paths in it use backslashes (`Overall\0_Indoor_Scene_0.jpg`). The split is the official scene split, because the
    device split puts one scene on both sides. "JOD STD" is the deviation of the estimate, not of the raters.
    """
    columns = ("IMAGE PATH", "JOD", "JOD STD", "SCENE")
    path = archive.need(f"Scores/Scores_{attribute}.csv", f"Scores_{attribute}.csv")
    split_path = archive.find("Test split/Scene Split.csv", "Scene Split.csv")
    splits = (
        {}
        if split_path is None
        else {r["SCENE"]: split_named(r["SPLIT"]) for r in csv_table(split_path, ("SCENE", "SPLIT"))}
    )
    for row in csv_table(path, columns):
        yield Entry(
            image=row["IMAGE PATH"].replace("\\", "/"),
            score=row["JOD"],
            std=row["JOD STD"],
            split=splits.get(row["SCENE"]),
            group=row["SCENE"],
        )


def uhd_iqa(archive: Archive) -> Iterator[Entry]:
    """UHD-IQA: `uhd-iqa-metadata.csv` with the column `set`; pictures in `training/`, `validation/`, `test/`.

    The earlier challenge release had one `uhd-iqa-<set>-metadata.csv` per set and the folders below `challenge/`; its
    files without scores are passed over. Not certain: that no other release spells the columns differently.
    """
    whole = archive.find("uhd-iqa-metadata.csv")
    base = "challenge/" if archive.find("challenge/training") else ""
    if whole is not None:
        for row in csv_table(whole, ("image_name", "quality_mos", "set")):
            yield _uhd_entry(base, row["set"], row["image_name"], row["quality_mos"])
        return
    parts = [(name, archive.find(f"uhd-iqa-{name}-metadata.csv")) for name in ("training", "validation", "test")]
    found = [(name, path) for name, path in parts if path is not None]
    if not found:
        archive.need("uhd-iqa-metadata.csv", "uhd-iqa-training-metadata.csv")
    for name, path in found:
        for row in csv_table(path, ("image_name",)):
            if "quality_mos" in row:
                yield _uhd_entry(base, name, row["image_name"], row["quality_mos"])


def biq2021(archive: Archive) -> Iterator[Entry]:
    """BIQ2021: `Train (Images and MOS).csv` and `Test (Images and MOS).csv`; pictures in `Images/`.

    The official split is random, so bursts of one object (consecutive numbers of a subset) stand on both sides of it;
    the group is the subset and the block of 50 numbers, as `sources.read_biq2021` forms it before joining duplicates.
    Not certain: that every release has its scores on 0..1; others would be reported as outside the scale.
    """
    splits: tuple[tuple[str, Split], ...] = (("Train", "train"), ("Test", "test"))
    for name, split in splits:
        for row in csv_table(archive.need(f"{name} (Images and MOS).csv"), ("Image Name", "MOS")):
            image = row["Image Name"]
            match = re.fullmatch(r"(ss\d+) \((\d+)\)\.\w+", image)
            yield Entry(
                image=f"Images/{image}" if image else "",
                score=row["MOS"],
                split=split,
                group=f"{match[1]}-{int(match[2]) // _BURST}" if match else None,
            )


def agiqa_3k(archive: Archive) -> Iterator[Entry]:
    """AGIQA-3K: `data.csv`; the quality score is read, the one for text alignment is not; the group is the prompt.

    Not certain: the folder of the pictures. They are looked for beside the file and in `_AGIQA_FOLDERS`.
    """
    for row in csv_table(archive.need("data.csv"), ("name", "prompt", "mos_quality", "std_quality")):
        name = row["name"]
        yield Entry(
            image=archive.place(*(f"{folder}{name}" for folder in _AGIQA_FOLDERS)) if name else "",
            score=row["mos_quality"],
            std=row["std_quality"],
            group=row["prompt"],
        )


def cid2013(archive: Archive) -> Iterator[Entry]:
    """CID2013: sheet "CID2013 MOS" of its workbook; `IS_II_C03_D11` is the picture `IS2/co3/IS_II_C03_D11.jpg`.

    The column "Realigned MOS" puts the six image sets on one scale. Not certain: the date in the workbook's name, so
    any `CID2013 data*.xlsx` is taken. The group is the scene, which several image sets share.
    """
    books = archive.glob("CID2013 data*.xlsx")
    if not books:
        raise DataError(f"{archive.root / 'CID2013 data*.xlsx'}: not found")
    for row in sheet_table(books[0], "CID2013 MOS", ("Source_ID", "Realigned MOS")):
        name = str(row["Source_ID"]).strip()
        match = re.fullmatch(r"IS_([IV]+)_C0?(\d+)_D\d+", name)
        if match is None or match[1] not in _CID_SETS:
            archive.report("unreadable score", books[0], f"expected a Source_ID like IS_I_C01_D01, got {name!r}")
            continue
        scene = f"co{match[2]}"
        yield Entry(image=f"IS{_CID_SETS[match[1]]}/{scene}/{name}.jpg", score=row["Realigned MOS"], group=scene)


def _flive_splits(archive: Archive) -> tuple[dict[str, Split], Split | None]:
    """Split of pictures by their bare names, and the split of all other pictures."""
    test = archive.find("database/labels640.csv", "labels640.csv")
    valid = archive.find("database/labels=640_padded.csv", "labels=640_padded.csv")
    splits: dict[str, Split] = {}
    if valid is not None:
        for row in csv_table(valid, ("name_image", "is_valid")):
            if row["is_valid"].lower() in ("true", "1", "1.0"):
                splits[_key(row["name_image"])] = "val"
    if test is not None:
        splits |= {_key(row["name_image"]): "test" for row in csv_table(test, ("name_image",))}
    return splits, None if test is None or valid is None else "train"


def _uhd_entry(base: str, name: str, image: str, score: str) -> Entry:
    return Entry(image=f"{base}{name}/{image}" if image else "", score=score, split=split_named(name))


def _votes(cells: Iterable[str]) -> tuple[float, ...] | None:
    """The counts or shares of votes; None when one of them is not a number."""
    parsed = [number(cell) for cell in cells]
    votes = tuple(vote for vote in parsed if vote is not None)
    return votes if len(votes) == len(parsed) else None


def _mean_vote(votes: tuple[float, ...]) -> float | None:
    """Mean of the values 1, 2, ... weighted by their votes; None without votes."""
    total = sum(votes)
    return sum(value * vote for value, vote in enumerate(votes, 1)) / total if total > 0 else None


def _std_vote(votes: tuple[float, ...]) -> float | None:
    """Standard deviation of the votes around their mean, over the voters; None without votes."""
    mean = _mean_vote(votes)
    if mean is None:
        return None
    return float((sum(vote * (value - mean) ** 2 for value, vote in enumerate(votes, 1)) / sum(votes)) ** 0.5)


def _key(name: str) -> str:
    """The bare file name by which FLIVE's score files refer to one picture."""
    return PurePosixPath(name).name
