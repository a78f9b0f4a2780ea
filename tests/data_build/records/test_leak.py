"""Planted copies and bursts are found, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from mllm_iqa.data_build.records.files import write_records
from mllm_iqa.data_build.records.leak import leaks
from mllm_iqa.data_build.records.near_duplicates import fingerprint, near_pairs
from mllm_iqa.data_build.records.schema import Answer, Image, Message, Part, Record

from mllm_iqa.cli import main

Textured = Callable[..., np.ndarray]


def shown(id: str, pixels: np.ndarray, *, group: str = "", source: str = "", quality: int = 95) -> Record:
    """A record about one picture."""
    data = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    message = Message("user", (Part("image"), Part("text", "?")))
    answer = Message("assistant", (Part("text", "!"),))
    return Record(
        *(id, "rate", ("rate.v2",), "en", "long", (Image(data, None),), (message, answer), Answer()),
        *((group or id,), (source or f"made/{id}",), "train", 0),
    )


@pytest.fixture(scope="module")
def photos(textured: Textured) -> list[np.ndarray]:
    return [textured(192, 256, seed) for seed in range(12)]


def found(first: list[Record], second: list[Record], folder: Path) -> list[tuple[str, str, str]]:
    write_records(first, folder / "first.parquet")
    write_records(second, folder / "second.parquet")
    return [(one.rule, one.first, one.second) for one in leaks(folder / "first.parquet", folder / "second.parquet")]


def test_different_photographs_do_not_leak(photos: list[np.ndarray], tmp_path: Path) -> None:
    first = [shown(f"a{n}", image) for n, image in enumerate(photos[:6])]
    second = [shown(f"b{n}", image) for n, image in enumerate(photos[6:])]
    assert found(first, second, tmp_path) == []
    assert main(["data", "leak", str(tmp_path / "first.parquet"), str(tmp_path / "second.parquet")]) == 0


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "the same": lambda image: image,
    "resized": lambda image: cv2.resize(image, (150, 112), interpolation=cv2.INTER_AREA),
    "enlarged": lambda image: cv2.resize(image, (400, 300), interpolation=cv2.INTER_CUBIC),
    "mirrored": lambda image: image[:, ::-1],
    "brightened": lambda image: np.clip(image.astype(int) + 12, 0, 255).astype(np.uint8),
    "blurred": lambda image: cv2.GaussianBlur(image, (0, 0), 1.0),
}


@pytest.mark.parametrize("copy", COPIES)
def test_a_planted_copy_is_found(
    copy: str, photos: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = [shown(f"a{n}", image) for n, image in enumerate(photos[:4])]
    second = [shown("b0", photos[7]), shown("b1", np.ascontiguousarray(COPIES[copy](photos[2])), quality=40)]
    assert found(first, second, tmp_path) == [("near-duplicate", "a2", "b1")]
    assert main(["data", "leak", str(tmp_path / "first.parquet"), str(tmp_path / "second.parquet")]) == 1
    out = capsys.readouterr().out
    assert out.startswith("near-duplicate: a2 and b1: made/a2 and made/b1, ")
    assert out.endswith("1 leaks\n")


def test_a_planted_burst_is_found_by_name_and_likeness(
    textured: Textured, photos: list[np.ndarray], tmp_path: Path
) -> None:
    scene = textured(220, 300, 50)
    frame, moved = scene[:192, :256], scene[5:197, 6:262]
    prints = [fingerprint(np.ascontiguousarray(image)) for image in (frame, moved)]
    (near,) = near_pairs([p for p in prints[:1] if p], [p for p in prints[1:] if p], bits=64)
    assert 6 < near.bits <= 20, "a frame of a burst is no near-duplicate by its hash alone"
    first = [shown("a", np.ascontiguousarray(frame), source="made/IMG_0100.jpg")]
    for name, rules in (("IMG_0102.jpg", ["burst"]), ("IMG_0190.jpg", []), ("DSC_0102.jpg", [])):
        second = [shown("b", np.ascontiguousarray(moved), source=f"made/{name}")]
        assert [rule for rule, _, _ in found(first, second, tmp_path)] == rules
    other = [shown("b", photos[0], source="made/IMG_0101.jpg")]
    assert found(first, other, tmp_path) == [], "neighbors in number alone are no burst"


def test_a_shared_group_or_photograph_is_found_whatever_the_pictures_show(
    photos: list[np.ndarray], tmp_path: Path
) -> None:
    first = [shown("a", photos[0], group="kadid10k/I01", source="kadid10k/I01_01.png")]
    assert found(first, [shown("b", photos[1], group="kadid10k/I01")], tmp_path) == [("group", "a", "b")]
    assert found(first, [shown("b", photos[1], source="kadid10k/I01_01.png")], tmp_path) == [("source", "a", "b")]


def test_flat_pictures_are_compared_by_name_alone(tmp_path: Path) -> None:
    flat = np.full((64, 64, 3), 128, np.uint8)
    assert fingerprint(flat) is None
    assert found([shown("a", flat)], [shown("b", flat)], tmp_path) == []


def test_near_pairs_are_those_of_a_plain_loop(photos: list[np.ndarray]) -> None:
    prints = [p for p in map(fingerprint, photos) if p is not None]
    mine, theirs = prints[:7], prints[5:]
    expected = {
        (i, j)
        for i, a in enumerate(mine)
        for j, b in enumerate(theirs)
        if min((a.hash ^ b.hash).bit_count(), (a.hash ^ b.mirrored).bit_count()) <= 24
    }
    assert {(near.first, near.second) for near in near_pairs(mine, theirs, bits=24)} == expected >= {(5, 0), (6, 1)}
