"""The public sets at a glance: folders, score file, scale and direction, count, and whom to cite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from . import full_reference, no_reference, pairs
from .archive import Archive
from .entries import Entry, PairEntry
from .scale import Scale

Parse: TypeAlias = Callable[[Archive], Iterator[Entry] | Iterator[PairEntry]]


@dataclass(frozen=True, slots=True)
class Reader:
    """What there is to know of one set.

    Attributes:
        images: folders of the pictures, then of the references, below the root of the archive.
        scores: the score file.
        scale: mapped by a straight line onto 1..5; None for pairs (a probability) and unrated pictures.
        std: what the archive's deviation measures: "raters" = their spread, which becomes `Rated.std`; "mean" = the
            error of the mean or of an estimate, kept as `original_std` only; "" = none.
        count: entries of the whole archive; None where the publications do not agree on one.
        split: where the official split comes from; "" = there is none.
        citation: authors, venue and year.
        family: prefix of the group names, shared by sets with the same references.
    """

    parse: Parse
    images: str
    scores: str
    scale: Scale | None
    std: str
    count: int | None
    split: str
    citation: str
    family: str


_JOD = Scale(-7.5, 7.5)
"""PIQ23 counts just-objectionable differences around 0 in every scene: a line that keeps 0 at 3, wide enough for all
published scores. A difference of one JOD is the same everywhere; levels compare inside a scene only."""

_ELO = Scale(900, 1850)
"""Elo scores have no ends: a line between round numbers that enclose all published ones (917 to 1836)."""

_REALIGNED_DMOS = Scale(-3, 112, higher_is_better=False)
"""Realignment pushed LIVE's DMOS beyond 0 and 100; these ends enclose all published ones, so that none is clipped."""

_REALIGNED_MOS = Scale(-10, 100)
"""CID2013 rates from 0 to 100 and realigns its six image sets, which pushed scores down to -9.5."""

_PIQ_SPLIT = "Test split/Scene Split.csv"
_PIQ = "Chahine et al., CVPR 2023"
_KADIS = "Lin, Hosu and Saupe, QoMEX 2019"
_FLIVE = "Ying et al., CVPR 2020"
_FLIVE_SPLIT = "labels640.csv, labels=640_padded.csv"

READERS: dict[str, Reader] = {
    # name: parse, images; references, scores, scale, std, count, split, citation, family
    "kadid10k": Reader(
        full_reference.kadid10k, "images; images", "dmos.csv", Scale(1, 5), "raters", 10_125, "",
        "Lin, Hosu and Saupe, QoMEX 2019", "kadid10k",
    ),
    "tid2013": Reader(
        full_reference.tid, "distorted_images; reference_images", "mos_with_names.txt", Scale(0, 9), "mean", 3_000, "",
        "Ponomarenko et al., Signal Processing: Image Communication 2015", "tid",
    ),
    "tid2008": Reader(
        full_reference.tid, "distorted_images; reference_images", "mos_with_names.txt", Scale(0, 9), "mean", 1_700, "",
        "Ponomarenko et al., Advances of Modern Radioelectronics 2009", "tid",
    ),
    "csiq": Reader(
        full_reference.csiq, "dst_imgs/<distortion>; src_imgs", "csiq.DMOS.xlsx",
        Scale(0, 1, higher_is_better=False), "raters", 866, "",
        "Larson and Chandler, J. Electronic Imaging 2010", "csiq",
    ),
    "live": Reader(
        full_reference.live, "jp2k, jpeg, wn, gblur, fastfading; refimgs", "dmos_realigned.mat",
        _REALIGNED_DMOS, "mean", 779, "",
        "Sheikh, Sabir and Bovik, IEEE Trans. Image Processing 2006", "live",
    ),
    "live-md": Reader(
        full_reference.live_md, "Part 1/blurjpeg, Part 2/blurnoise", "Part 1/Scores.mat, Part 2/Scores.mat",
        Scale(0, 100, higher_is_better=False), "", 450, "",
        "Jayaraman et al., Asilomar 2012", "live-md",
    ),
    "pipal": Reader(
        full_reference.pipal, "Distortion_1 .. Distortion_4; Train_Ref", "Train_Label/<reference>.txt",
        _ELO, "", 23_200, "",
        "Gu et al., ECCV 2020", "pipal",
    ),
    "live-challenge": Reader(
        no_reference.live_challenge, "Images", "Data/AllMOS_release.mat", Scale(0, 100), "raters", 1_162, "",
        "Ghadiyaram and Bovik, IEEE Trans. Image Processing 2016", "live-challenge",
    ),
    "koniq10k": Reader(
        no_reference.koniq10k, "1024x768", "koniq10k_scores_and_distributions.csv", Scale(1, 5), "raters", 10_073,
        "koniq10k_distributions_sets.csv, column set",
        "Hosu et al., IEEE Trans. Image Processing 2020", "koniq10k",
    ),
    "spaq": Reader(
        no_reference.spaq, "TestImage", "Annotations/MOS and Image attribute scores.xlsx", Scale(0, 100), "", 11_125,
        "", "Fang et al., CVPR 2020", "spaq",
    ),
    "flive": Reader(
        no_reference.flive, "database/<source>", "labels_image.csv", Scale(0, 100), "", 39_810, _FLIVE_SPLIT,
        _FLIVE, "flive",
    ),
    "flive-patches": Reader(
        no_reference.flive_patches, "database/patches", "labels_patch.csv", Scale(0, 100), "", 119_430, _FLIVE_SPLIT,
        _FLIVE, "flive",
    ),
    "ava": Reader(
        no_reference.ava, "images", "AVA.txt", Scale(1, 10), "raters", 255_530,
        "aesthetics_image_lists/generic_test.jpgl",
        "Murray, Marchesotti and Perronnin, CVPR 2012", "ava",
    ),
    "piq23": Reader(
        partial(no_reference.piq23, attribute="Overall"), "Overall", "Scores/Scores_Overall.csv", _JOD, "mean", 5_116,
        _PIQ_SPLIT, _PIQ, "piq23",
    ),
    "piq23-details": Reader(
        partial(no_reference.piq23, attribute="Details"), "Details", "Scores/Scores_Details.csv", _JOD, "mean", 5_116,
        _PIQ_SPLIT, _PIQ, "piq23",
    ),
    "piq23-exposure": Reader(
        partial(no_reference.piq23, attribute="Exposure"), "Exposure", "Scores/Scores_Exposure.csv", _JOD, "mean",
        5_116, _PIQ_SPLIT, _PIQ, "piq23",
    ),
    "uhd-iqa": Reader(
        no_reference.uhd_iqa, "training, validation, test", "uhd-iqa-metadata.csv", Scale(0, 1), "", 6_073,
        "the folders", "Hosu et al., ECCV Workshops 2024", "uhd-iqa",
    ),
    "biq2021": Reader(
        no_reference.biq2021, "Images", "Train (Images and MOS).csv, Test (Images and MOS).csv", Scale(0, 1), "",
        12_000, "the two files", "Ahmed and Asif, J. Electronic Imaging 2022", "biq2021",
    ),
    "agiqa-3k": Reader(
        no_reference.agiqa_3k, "the root", "data.csv", Scale(0, 5), "raters", 2_982, "",
        "Li et al., IEEE Trans. Circuits and Systems for Video Technology 2023", "agiqa-3k",
    ),
    "cid2013": Reader(
        no_reference.cid2013, "IS1/co1 .. IS6/co8", "CID2013 data - version 12112014.xlsx", _REALIGNED_MOS, "", 474, "",
        "Virtanen et al., IEEE Trans. Image Processing 2015", "cid2013",
    ),
    "bapps": Reader(
        pairs.bapps, "dataset/2afc/<split>/<kind>", "dataset/2afc/<split>/<kind>/judge", None, "", None, "the folders",
        "Zhang et al., CVPR 2018", "bapps",
    ),
    "pieapp": Reader(
        pairs.pieapp, "distorted_images/<split>/<reference>; reference_images/<split>",
        "labels/<split>/<reference>_pairwise_labels.csv", None, "", None, "the folders",
        "Prashnani et al., CVPR 2018", "pieapp",
    ),
    "kadis700k": Reader(
        pairs.kadis700k, "dist_imgs; ref_imgs", "kadis700k_ref_imgs.csv", None, "", 700_000, "", _KADIS, "kadis700k",
    ),
    "kadis700k-references": Reader(
        pairs.kadis700k_references, "ref_imgs", "kadis700k_ref_imgs.csv", None, "", 140_000, "", _KADIS, "kadis700k",
    ),
}  # fmt: skip
"""Name -> facts of every set that `read` knows."""
