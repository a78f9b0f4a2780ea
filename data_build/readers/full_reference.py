"""Parsers of the sets whose pictures were distorted from references: one function per set, its oddities inside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from mllm_iqa.errors import DataError

from .archive import Archive
from .entries import Entry
from .score_files import csv_table, lines, mat_numbers, mat_texts, root_of, sheet_table

KADID_TYPES: tuple[str, ...] = (
    *("gaussian blur", "lens blur", "motion blur", "color diffusion", "color shift", "color quantization"),
    *("color saturation HSV", "color saturation Lab", "JPEG2000", "JPEG", "white noise", "white noise YCbCr"),
    *("impulse noise", "multiplicative noise", "denoise", "brighten", "darken", "mean shift", "jitter"),
    *("non-eccentricity patch", "pixelate", "quantization", "color block", "high sharpen", "contrast change"),
)
"""Distortions of KADID-10k and KADIS-700k in the order of their numbers, from 1."""

TID_TYPES: tuple[str, ...] = (
    *("additive gaussian noise", "noise in color components", "spatially correlated noise", "masked noise"),
    *("high frequency noise", "impulse noise", "quantization noise", "gaussian blur", "image denoising", "JPEG"),
    *("JPEG2000", "JPEG transmission errors", "JPEG2000 transmission errors", "non-eccentricity pattern noise"),
    *("local block-wise distortions", "mean shift", "contrast change", "change of color saturation"),
    *("multiplicative gaussian noise", "comfort noise", "lossy compression of noisy images"),
    *("color quantization with dither", "chromatic aberrations", "sparse sampling and reconstruction"),
)
"""Distortions of TID2013 in the order of their numbers, from 1; TID2008 has the first seventeen."""

_LIVE_FOLDERS = (("jp2k", 227), ("jpeg", 233), ("wn", 174), ("gblur", 174), ("fastfading", 174))
_LIVE_TYPES = {
    "jp2k": "JPEG2000",
    "jpeg": "JPEG",
    "wn": "white noise",
    "gblur": "gaussian blur",
    "fastfading": "fast fading",
}
_CSIQ_TYPES = {
    "noise": ("AWGN", "white noise"),
    "blur": ("BLUR", "gaussian blur"),
    "contrast": ("contrast", "contrast"),
    "fnoise": ("fnoise", "pink noise"),
    "jpeg": ("JPEG", "JPEG"),
    "jpeg 2000": ("jpeg2000", "JPEG2000"),
}
_PIPAL_FOLDERS = (
    "Train_Dist",
    *(f"Distortion_{n}" for n in (1, 2, 3, 4)),
    *(f"Train_Distort_{n}" for n in (1, 2, 3, 4)),
)


def kadid10k(archive: Archive) -> Iterator[Entry]:
    """KADID-10k: `dmos.csv` beside `images/`; its "dmos" is a mean opinion score, and `var` the raters' variance."""
    for row in csv_table(archive.need("dmos.csv"), ("dist_img", "ref_img", "dmos", "var")):
        kind, level = _type_and_level(row["dist_img"], KADID_TYPES)
        yield Entry(
            image=_in("images", row["dist_img"]),
            score=row["dmos"],
            std=root_of(row["var"]),
            reference=_in("images", row["ref_img"]),
            distortion=kind,
            level=level,
            group=_stem(row["ref_img"]),
        )


def tid(archive: Archive) -> Iterator[Entry]:
    """TID2008 and TID2013: lines "MOS name" in `mos_with_names.txt`, deviations in the same order in `mos_std.txt`.

    The deviations (about 0.1 on 0..9) are those of the mean, not of the raters. Names and files differ in case.
    """
    path = archive.need("mos_with_names.txt")
    rated = [line.split() for line in lines(path)]
    deviations: list[str | None] = [None] * len(rated)
    std_path = archive.find("mos_std.txt")
    if std_path is not None:
        found = lines(std_path)
        if len(found) != len(rated):
            raise DataError(f"{std_path}: {len(found)} deviations for {len(rated)} scores")
        deviations = [*found]
    for words, deviation in zip(rated, deviations, strict=True):
        if len(words) != 2:
            archive.report("unreadable score", path, f"expected a score and a name, got {' '.join(words)!r}")
            continue
        score, name = words
        kind, level = _type_and_level(name, TID_TYPES)
        reference = name.split("_")[0]
        yield Entry(
            image=_in("distorted_images", name),
            score=score,
            std=deviation,
            reference=f"reference_images/{reference.upper()}.BMP",
            distortion=kind,
            level=level,
            group=reference.lower(),
        )


def csiq(archive: Archive) -> Iterator[Entry]:
    """CSIQ: sheet "all_by_image" of `csiq.DMOS.xlsx`; pictures in one folder per distortion below `dst_imgs/`.

    Folders and files spell the distortions differently (AWGN, jpeg2000) from the sheet (noise, jpeg 2000). A copy with
    all pictures directly in `dst_imgs/` is read too.
    """
    path = archive.need("csiq.DMOS.xlsx")
    for row in sheet_table(path, "all_by_image", ("image", "dst_type", "dst_lev", "dmos_std", "dmos")):
        reference, written, level = (str(row[column]).strip() for column in ("image", "dst_type", "dst_lev"))
        if written.lower() not in _CSIQ_TYPES or not re.fullmatch(r"\d+(\.0)?", level):
            archive.report("unreadable score", path, f"unknown distortion {written!r} level {level!r} of {reference}")
            continue
        folder, kind = _CSIQ_TYPES[written.lower()]
        number = int(float(level))
        reference = reference.removesuffix(".0")  # 1600 is a number in the sheet
        name = f"{reference}.{folder}.{number}.png"
        yield Entry(
            image=archive.place(f"dst_imgs/{folder}/{name}", f"dst_imgs/{name}"),
            score=row["dmos"],
            std=row["dmos_std"],
            reference=f"src_imgs/{reference}.png",
            distortion=kind,
            level=number,
            group=reference.lower(),
        )


def live(archive: Archive) -> Iterator[Entry]:
    """LIVE release 2: realigned DMOS of five folders in a row, the references among them left out.

    `dmos_realigned.mat` holds `dmos_new`, `dmos_std` and `orgs` (1 = an undistorted picture) for jp2k, jpeg, wn, gblur
    and fastfading in this order, `refnames_all.mat` the references. Whether `dmos_std` is the spread of the raters or
    of the mean is not certain from the archive alone; it is kept as original and not used as `std`.
    """
    path = archive.need("dmos_realigned.mat")
    scores = mat_numbers(path, "dmos_new")
    originals = mat_numbers(path, "orgs")
    try:
        deviations: list[float | None] = [*mat_numbers(path, "dmos_std")]
    except DataError:  # not in every copy of the release
        deviations = [None] * len(scores)
    references = mat_texts(archive.need("refnames_all.mat"), "refnames_all")
    names = [(folder, f"{folder}/img{n}.bmp") for folder, count in _LIVE_FOLDERS for n in range(1, count + 1)]
    lengths = {len(scores), len(originals), len(deviations), len(references)}
    if len(lengths) != 1 or len(scores) > len(names):
        raise DataError(f"{path}: expected {len(names)} scores, flags and references, got {sorted(lengths)}")
    # A shorter file, a sample, starts like the whole one.
    for (folder, name), score, original, std, reference in zip(
        names, scores, originals, deviations, references, strict=False
    ):
        if original != 1:
            yield Entry(
                image=name,
                score=score,
                std=std,
                reference=f"refimgs/{reference}",
                distortion=_LIVE_TYPES[folder],
                group=_stem(reference),
            )


def live_md(archive: Archive) -> Iterator[Entry]:
    """LIVE-MD: per part `Imagelists.mat` (`distimgs`) and `Scores.mat` (`DMOSscores`) in the same order.

    Not certain: where the references lie. They are looked for among the distorted pictures and in `Ref_Images/`, and
    the parts as `Part 1` and `Part_1`, at the root or in `To_Release/`.
    """
    for number, folder in ((1, "blurjpeg"), (2, "blurnoise")):
        parts = [f"{top}Part{gap}{number}" for top in ("", "To_Release/") for gap in (" ", "_")]
        part = archive.place(*parts)
        names = mat_texts(archive.need(f"{part}/Imagelists.mat"), "distimgs")
        path = archive.need(f"{part}/Scores.mat")
        scores = mat_numbers(path, "DMOSscores")
        if len(names) != len(scores):
            raise DataError(f"{path}: {len(scores)} scores for {len(names)} pictures")
        for name, score in zip(names, scores, strict=True):
            reference, *applied = _stem(name).split("_")
            file = f"{reference}.bmp"
            yield Entry(
                image=f"{part}/{folder}/{name}",
                score=score,
                reference=archive.place(
                    f"{part}/{folder}/{file}", f"Ref_Images/{file}", f"To_Release/Ref_Images/{file}"
                ),
                distortion=" and ".join(word.rstrip("0123456789") for word in applied) or None,
                group=reference,
            )


def pipal(archive: Archive) -> Iterator[Entry]:
    """PIPAL, the training part with published scores: lines "name,Elo" in one file per reference in `Train_Label/`.

    The names end in distortion family and number (`A0001_03_12`); the number is no level, so `level` is None. Pictures
    are looked for in the folders that the four archives of distorted pictures unpack to, and in `Train_Dist/`.
    """
    labels = archive.glob("Train_Label/*.txt")
    if not labels:
        raise DataError(f"{archive.root / 'Train_Label'}: no .txt files; expected one per reference")
    folders = [folder for folder in _PIPAL_FOLDERS if archive.find(folder)]
    for path in labels:
        try:
            listed = lines(path)
        except DataError as error:
            archive.report("unreadable score file", path, str(error).removeprefix(f"{path}: "))
            continue
        for line in listed:
            name, _, score = (part.strip() for part in line.partition(","))
            reference, *rest = _stem(name).split("_")
            yield Entry(
                image=archive.place(*(f"{folder}/{name}" for folder in folders or _PIPAL_FOLDERS)),
                score=score,
                reference=f"Train_Ref/{reference}.bmp",
                distortion=f"family {rest[0]}" if rest else None,
                group=reference,
            )


def _type_and_level(name: str, types: tuple[str, ...]) -> tuple[str | None, int | None]:
    """What `I01_07_3.png` says of its distortion: names end in type and level."""
    match = re.search(r"_(\d+)_(\d+)\.\w+$", name)
    if match is None or not 1 <= int(match[1]) <= len(types):
        return None, None
    return types[int(match[1]) - 1], int(match[2])


def _in(folder: str, name: str) -> str:
    """The path of a file in a folder; '' when the score file names none."""
    return f"{folder}/{name}" if name else ""


def _stem(name: str) -> str:
    return PurePosixPath(name).stem
