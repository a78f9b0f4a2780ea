"""Reading photographs and splitting them, on small trees made here."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from mllm_iqa.data_build.sources import (
    Photo,
    clean_sources,
    perceptual_hash,
    read_biq2021,
    read_bsds500,
    read_rgb,
)

from mllm_iqa.errors import DataError, ImageError

Textured = Callable[..., np.ndarray]


@dataclass(frozen=True, slots=True)
class Entry:
    """One photograph of a made-up BIQ2021: `ss01_7.jpg` with its score on 0..1 and its pixels."""

    name: str
    score: str
    image: np.ndarray


def write_biq2021(root: Path, entries: Sequence[Entry]) -> Path:
    (root / "images").mkdir(parents=True)
    with (root / "labels.csv").open("w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        writer.writerow(["image", "mos_0to1", "subset"])
        for entry in entries:
            PIL.Image.fromarray(entry.image).save(root / "images" / entry.name, quality=95)
            writer.writerow([f"images/{entry.name}", entry.score, entry.name.split("_")[0]])
    return root


def distant(textured: Textured, count: int) -> list[np.ndarray]:
    """Pictures of which no two are near-duplicates."""
    images = [textured(64, 64, seed) for seed in range(count)]
    hashes = [perceptual_hash(i) for i in images]
    assert min((a ^ b).bit_count() for n, a in enumerate(hashes) for b in hashes[:n]) > 6
    return images


# Reading


def test_a_photograph_is_read_as_rgb(tmp_path: Path) -> None:
    path = tmp_path / "orange.png"
    PIL.Image.new("RGB", (50, 40), (250, 120, 10)).save(path)
    image = read_rgb(path)
    assert image.shape == (40, 50, 3)
    assert image.dtype == np.uint8
    assert np.unique(image.reshape(-1, 3), axis=0).tolist() == [[250, 120, 10]]
    assert image.flags.c_contiguous


def test_a_grey_file_is_read_as_three_channels(tmp_path: Path) -> None:
    PIL.Image.new("L", (50, 40), 77).save(tmp_path / "grey.png")
    assert np.unique(read_rgb(tmp_path / "grey.png")).tolist() == [77]
    assert read_rgb(tmp_path / "grey.png").shape == (40, 50, 3)


@pytest.mark.parametrize("content", [None, b"", b"not an image"])
def test_an_unreadable_photograph_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=r"broken\.jpg: (cannot be opened|is empty|is not a complete picture)"):
        read_rgb(path)


# BIQ2021


def test_scores_and_subsets_are_read(tmp_path: Path, textured: Textured) -> None:
    images = distant(textured, 3)
    scores = ("0", "0.25", "1")
    root = write_biq2021(tmp_path, [Entry(f"ss0{n + 1}_1.jpg", s, images[n]) for n, s in enumerate(scores)])
    photos = read_biq2021(root)
    # 1 + 4 x: 0 -> 1, .25 -> 2, 1 -> 5
    assert [(p.path.name, p.mos, p.dataset, p.subset) for p in photos] == [
        ("ss01_1.jpg", 1.0, "biq2021", "ss01"),
        ("ss02_1.jpg", 2.0, "biq2021", "ss02"),
        ("ss03_1.jpg", 5.0, "biq2021", "ss03"),
    ]
    assert all(p.path.is_file() for p in photos)


def test_no_labels_is_an_error_that_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"labels\.csv: not found; expected the BIQ2021 folder"):
        read_biq2021(tmp_path)


@pytest.mark.parametrize("score", ["1.01", "-0.2", "76.5", "nan"])
def test_a_score_out_of_range_is_named(tmp_path: Path, textured: Textured, score: str) -> None:
    image = textured(64, 64)
    root = write_biq2021(tmp_path, [Entry("ss01_1.jpg", "0.5", image), Entry("ss01_2.jpg", score, image)])
    with pytest.raises(DataError, match=rf"ss01_2\.jpg: mos_0to1 {score} is outside"):
        read_biq2021(root)


def test_a_missing_photograph_is_named_and_nothing_takes_its_place(tmp_path: Path, textured: Textured) -> None:
    images = distant(textured, 2)
    root = write_biq2021(tmp_path, [Entry(f"ss01_{n}.jpg", "0.5", image) for n, image in enumerate(images)])
    (root / "images" / "ss01_1.jpg").unlink()
    with pytest.raises(ImageError, match=r"ss01_1\.jpg: cannot be opened"):
        read_biq2021(root)


def blocks(textured: Textured, numbers: Sequence[int]) -> list[Entry]:
    return [Entry(f"ss01_{n}.jpg", "0.5", i) for n, i in zip(numbers, distant(textured, len(numbers)), strict=True)]


def test_a_block_of_fifty_numbers_never_straddles_the_splits(tmp_path: Path, textured: Textured) -> None:
    numbers = [50 * block + offset for block in range(12) for offset in (0, 7, 49)]
    photos = read_biq2021(write_biq2021(tmp_path, blocks(textured, numbers)), val_percent=50)
    splits = [{p.split for p in photos[3 * b : 3 * b + 3]} for b in range(12)]
    assert all(len(s) == 1 for s in splits), splits
    assert {"train"} in splits
    assert {"val"} in splits


def test_subsets_are_split_apart(tmp_path: Path, textured: Textured) -> None:
    # Number 7 of one subset has nothing to do with number 7 of another.
    images = distant(textured, 12)
    entries = [Entry(f"ss{n:02d}_7.jpg", "0.5", image) for n, image in enumerate(images)]
    assert {p.split for p in read_biq2021(write_biq2021(tmp_path, entries), val_percent=50)} == {"train", "val"}


def test_near_duplicates_share_a_split(tmp_path: Path, textured: Textured) -> None:
    numbers = [50 * block for block in range(8)]
    entries = blocks(textured, numbers)
    apart = {p.path.name: p.split for p in read_biq2021(write_biq2021(tmp_path / "a", entries), val_percent=50)}
    first = entries[0].name
    other = next(e.name for e in entries if apart[e.name] != apart[first])

    # The same eight blocks, but with a darker copy of the first picture in a block of the other split.
    copy = (entries[0].image * 0.9).astype(np.uint8)
    entries.append(Entry(f"ss01_{int(other[5:-4]) + 1}.jpg", "0.6", copy))
    bridged = {p.path.name: p.split for p in read_biq2021(write_biq2021(tmp_path / "b", entries), val_percent=50)}
    assert bridged[first] == bridged[other] == bridged[entries[-1].name]
    untouched = set(apart) - {first, other}
    assert {n: bridged[n] for n in untouched} == {n: apart[n] for n in untouched}


@pytest.mark.parametrize("bridge", ["chain", "star"])
def test_bridges_are_transitive(tmp_path: Path, textured: Textured, bridge: str) -> None:
    # Copies of each block's picture in the next block, or of all in the last one: one group of everything.
    entries = blocks(textured, [50 * block for block in range(8)])
    for block, entry in enumerate(entries[:-1]):
        into = block + 1 if bridge == "chain" else 7
        entries.append(Entry(f"ss01_{50 * into + block + 1}.jpg", "0.5", entry.image))
    photos = read_biq2021(write_biq2021(tmp_path, entries), val_percent=50)
    assert len({p.split for p in photos}) == 1


def test_the_split_of_a_name_never_changes(tmp_path: Path, textured: Textured) -> None:
    # Published numbers rest on these splits. `printf %s ss01-2 | sha256sum` as a number modulo 100 is 51, that of
    # ss01-3 is 6: below 12 is validation. Numbers 100..149 are block 2, from 150 on block 3.
    images = distant(textured, 4)
    entries = [Entry(f"ss01_{n}.jpg", "0.5", i) for n, i in zip((100, 149, 150, 199), images, strict=True)]
    assert [p.split for p in read_biq2021(write_biq2021(tmp_path, entries))] == ["train", "train", "val", "val"]


# BSDS500


def test_bsds500_has_no_scores_and_a_stable_split(tmp_path: Path, textured: Textured) -> None:
    for name in ("100075", "100080", "8023"):
        PIL.Image.fromarray(textured(32, 32)).save(tmp_path / f"{name}.jpg")
    (tmp_path / "readme.txt").write_text("not a photograph")
    photos = read_bsds500(tmp_path)
    # sha256 modulo 100, as above: 29, 80 and 12; below 20 is validation.
    assert [(p.path.stem, p.mos, p.dataset, p.split) for p in photos] == [
        ("100075", None, "bsds500", "train"),
        ("100080", None, "bsds500", "train"),
        ("8023", None, "bsds500", "val"),
    ]
    ends = [read_bsds500(tmp_path, val_percent=percent) for percent in (0, 100)]
    assert [{p.split for p in photos} for photos in ends] == [{"train"}, {"val"}]


@pytest.mark.parametrize("folder", [".", "absent"])
def test_no_bsds500_is_an_error(tmp_path: Path, folder: str) -> None:
    with pytest.raises(DataError, match=r"no \.jpg files; expected the BSDS500"):
        read_bsds500(tmp_path / folder)


# Clean sources


def test_what_counts_as_clean() -> None:
    def photo(mos: float | None, dataset: str, subset: str) -> Photo:
        return Photo(Path(f"{dataset}-{subset}-{mos}"), mos, dataset, subset, "train")

    clean = [photo(None, "bsds500", ""), photo(4.2, "biq2021", "ss03"), photo(4.9, "biq2021", "ss03")]
    dirty = [photo(4.19, "biq2021", "ss03"), photo(4.9, "biq2021", "ss01"), photo(None, "biq2021", "ss03")]
    assert clean_sources([*dirty, *clean]) == clean


# The hash


def test_the_hash_sees_the_same_picture(textured: Textured) -> None:
    image = textured(128, 128)
    original = perceptual_hash(image)
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert done
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None
    changed = {
        "itself": image.copy(),
        "half the size": cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA),
        "darker": (image * 0.8).astype(np.uint8),
        "JPEG": decoded,
    }
    assert {k: (perceptual_hash(v) ^ original).bit_count() <= 6 for k, v in changed.items()} == dict.fromkeys(
        changed, True
    )
    assert perceptual_hash(image.copy()) == original


def test_the_hash_tells_pictures_apart(textured: Textured) -> None:
    image = textured(128, 128)
    others = [textured(128, 128, 1), image[:, ::-1], image[::-1]]
    # 64 bits, half of them 1: unrelated pictures differ in about 32.
    assert all(18 <= (perceptual_hash(o) ^ perceptual_hash(image)).bit_count() <= 46 for o in others)
    assert 0 <= perceptual_hash(image) < 2**64
    assert perceptual_hash(image).bit_count() == 32
