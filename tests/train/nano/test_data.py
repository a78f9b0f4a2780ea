"""Reading a bank: which crop comes when, which views a photograph gives, and what is refused."""

import threading
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mllm_iqa.data_build.bank import SCHEMA, shard_rows
from mllm_iqa.train.nano.data import Crop, CropShards, Photo, PhotoView, photo_batch, prefetched, read_photos

from mllm_iqa.errors import DataError, ImageError
from mllm_iqa.images import load_image

SIDE = 32
SIZE = f"{SIDE}px"
GROUPS, SHARDS = 3, 2


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    """The rows of a bank of two shards of three groups (of three crops and a reference)."""
    noise = np.random.default_rng(0).integers(0, 256, size=(80, 80, 3), dtype=np.uint8)
    return [row for number in range(SHARDS) for row in shard_rows([noise], SIDE, GROUPS, 1, number)]


@pytest.fixture(scope="module")
def bank(rows: list[dict[str, object]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bank")
    per_shard = len(rows) // SHARDS
    for number in range(SHARDS):
        table = pa.Table.from_pylist(rows[number * per_shard : (number + 1) * per_shard], schema=SCHEMA)
        pq.write_table(table, folder / f"train-{SIZE}-{number:04d}.parquet")
    return folder


def same(crop: Crop, row: dict[str, object]) -> bool:
    return (
        crop.pixels.tobytes() == row["pixels"]
        and crop.pixels.shape == (row["height"], row["width"], 3)
        and [list(pair) for pair in zip(row["kinds"], row["severities"], strict=True)]  # type: ignore[call-overload]
        == [list(f) for f in crop.findings]
        and crop.mos == np.float32(row["mos"])
        and (crop.group, crop.is_reference) == (row["group"], row["is_reference"])
    )


def test_crops_come_in_order_without_their_references(bank: Path, rows: list[dict[str, object]]) -> None:
    shards = CropShards(bank, "train", SIZE)
    distorted = [row for row in rows if not row["is_reference"]]
    assert len(shards) == len(distorted) == SHARDS * GROUPS * 3
    crops = [crop for number in range(6) for crop in shards.batch(number, 3)]
    assert all(same(crop, row) for crop, row in zip(crops, distorted, strict=True))


def test_crops_come_with_their_references_where_asked(bank: Path, rows: list[dict[str, object]]) -> None:
    shards = CropShards(bank, "train", SIZE, with_references=True)
    assert len(shards) == len(rows) == SHARDS * GROUPS * 4
    crops = [crop for number in range(6) for crop in shards.batch(number, 4)]
    assert all(same(crop, row) for crop, row in zip(crops, rows, strict=True))
    assert [c.is_reference for c in shards.batch(2, 4)] == [False, False, False, True]
    assert len({c.group for c in shards.batch(2, 4)}) == 1


def test_batches_go_round_and_round(bank: Path) -> None:
    shards = CropShards(bank, "train", SIZE)  # 18 crops
    # Batches of 4 cross the shards' border and the end: batch 4 is crops 16, 17, 0, 1.
    once = [c.pixels.tobytes() for c in shards.batch(0, 18)]
    assert [c.pixels.tobytes() for c in shards.batch(4, 4)] == [once[16], once[17], once[0], once[1]]
    assert [c.pixels.tobytes() for c in shards.batch(100, 18)] == once
    assert len(set(once)) > 9


def test_a_batch_depends_on_its_number_alone(bank: Path) -> None:
    forward = [[c.pixels.tobytes() for c in CropShards(bank, "train", SIZE).batch(n, 5)] for n in range(4)]
    shards = CropShards(bank, "train", SIZE)
    backward = [[c.pixels.tobytes() for c in shards.batch(n, 5)] for n in (3, 2, 1, 0)]
    assert forward == backward[::-1]


@pytest.mark.parametrize(("split", "size"), [("val", SIZE), ("train", "96px"), ("train", "32x32px")])
def test_shards_that_are_not_there_are_named_with_the_command(bank: Path, split: str, size: str) -> None:
    with pytest.raises(DataError, match=rf"no {split} shards of {size}; run `mllm-iqa data bank`"):
        CropShards(bank, split, size)


# Photographs


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Photo]:
    """Eight photographs of 100 x 100 px whose red and green say where a pixel came from, blue which one it is."""
    folder = tmp_path_factory.mktemp("photos")
    y, x = np.mgrid[:100, :100].astype(np.uint8)
    made = []
    for n in range(8):
        path = folder / f"{n}.png"
        PIL.Image.fromarray(np.stack([y, x, np.full_like(x, 10 * n)], axis=-1)).save(path)
        made.append(Photo(path, 1.0 + n / 2, "ss01"))
    return made


def write_table(bank: Path, photos: list[Photo]) -> None:
    bank.mkdir(exist_ok=True)
    rows = [
        {"path": str(p.path), "mos": p.mos, "dataset": "biq2021", "subset": p.subset, "split": ("train", "val")[n % 2]}
        for n, p in enumerate(photos)
    ]
    pq.write_table(pa.Table.from_pylist(rows), bank / "photos.parquet")


def test_photographs_of_a_split_are_read(tmp_path: Path, photos: list[Photo]) -> None:
    write_table(tmp_path, photos)
    assert read_photos(tmp_path, "train") == photos[::2]
    assert read_photos(tmp_path, "val") == photos[1::2]
    assert read_photos(tmp_path, None) == photos


def test_a_bank_without_a_table_is_refused_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"photos\.parquet: not found; run `mllm-iqa data bank`"):
        read_photos(tmp_path, "train")


def test_missing_photographs_are_counted_and_the_first_is_named(tmp_path: Path, photos: list[Photo]) -> None:
    gone = [Photo(tmp_path / f"gone-{n}.png", 3.0, "ss01") for n in range(4)]
    write_table(tmp_path / "bank", [*photos, *gone])
    with pytest.raises(DataError, match=r"2 photographs of .* are missing, the first: .*gone-0\.png"):
        read_photos(tmp_path / "bank", "train")


@pytest.mark.parametrize("content", [None, b"not an image"])
def test_an_unreadable_photograph_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "broken.png").write_bytes(content)
    broken = Photo(tmp_path / "broken.png", 3.0, "ss01")
    with pytest.raises(ImageError, match=r"broken\.png: (cannot be opened|is not a complete picture)"):
        photo_batch([broken], size=32, count=1, seed=0, number=0, share_whole=1.0)


def views(
    photos: list[Photo], *, number: int = 0, seed: int = 0, share_whole: float = 0.5, size: int = 48
) -> list[PhotoView]:
    return photo_batch(photos, size=size, count=6, seed=seed, number=number, share_whole=share_whole)


def test_a_view_belongs_to_its_photograph(photos: list[Photo]) -> None:
    for number in range(5):
        batch = views(photos, number=number)
        assert len({v.index for v in batch}) == len(batch) == 6  # none twice in one batch
        for view in batch:
            assert view.pixels.shape == (48, 48, 3)
            assert view.pixels.dtype == np.uint8
            assert view.pixels.flags.c_contiguous
            assert np.unique(view.pixels[..., 2]).tolist() == [10 * view.index]
            assert view.mos == photos[view.index].mos


def test_a_batch_of_views_depends_on_seed_and_number(photos: list[Photo]) -> None:
    def key(**kwargs: int) -> list[tuple[int, bytes, bool]]:
        return [(v.index, v.pixels.tobytes(), v.whole) for v in views(photos, **kwargs)]  # type: ignore[arg-type]

    assert key(number=3) == key(number=3)
    assert key(number=3) != key(number=4)
    assert key(number=3, seed=1) != key(number=3)


def upright(pixels: np.ndarray) -> np.ndarray:
    return pixels if int(pixels[0, -1, 1]) > int(pixels[0, 0, 1]) else pixels[:, ::-1]


def test_whole_views_show_everything_and_crops_a_part(photos: list[Photo]) -> None:
    whole = [v for number in range(5) for v in views(photos, number=number, share_whole=1.0)]
    assert all(v.whole for v in whole)
    for view in whole:
        # 100 px reduced to 48: a corner lies in the middle of the outermost 100 / 48 = 2.08 px.
        corners = upright(view.pixels)
        assert np.abs(corners[0, 0, :2] - 0.54).max() <= 1
        assert np.abs(corners[-1, -1, :2] - 98.46).max() <= 1

    crops = [v for number in range(10) for v in views(photos, number=number, share_whole=0.0)]
    assert not any(v.whole for v in crops)
    spans = [int(upright(v.pixels)[-1, 0, 0]) - int(upright(v.pixels)[0, 0, 0]) for v in crops]
    # 47 px at full size, 47 / .75 = 62.7 at three quarters; both occur, and both ways round.
    assert {min(abs(s - 47), abs(s - 62.7)) <= 1.3 for s in spans} == {True}
    assert 0.25 < sum(s == 47 for s in spans) / len(spans) < 0.75
    assert 0.25 < sum(upright(v.pixels) is v.pixels for v in crops) / len(crops) < 0.75


def test_a_crop_at_full_size_is_an_exact_window(photos: list[Photo]) -> None:
    exact = 0
    for view in views(photos, share_whole=0.0):
        pixels = upright(view.pixels)
        top, left = int(pixels[0, 0, 0]), int(pixels[0, 0, 1])
        window = load_image(photos[view.index].path).pixels[top : top + 48, left : left + 48]
        exact += np.array_equal(pixels, window)
    assert exact > 0


def test_a_photograph_too_small_for_a_crop_is_shown_whole(photos: list[Photo]) -> None:
    # Three quarters of 100 px are 75, less than 80.
    assert all(v.whole for v in views(photos, share_whole=0.0, size=80))
    assert not any(v.whole for v in views(photos, share_whole=0.0, size=75))


@pytest.mark.parametrize("size", [(48, 100), (100, 48), (34, 40)], ids=str)
def test_views_of_any_photograph_have_one_size(tmp_path: Path, size: tuple[int, int]) -> None:
    PIL.Image.new("RGB", size, (200, 100, 50)).save(tmp_path / "narrow.png")
    photo = Photo(tmp_path / "narrow.png", 3.0, "ss01")
    (view,) = photo_batch([photo], size=48, count=1, seed=0, number=0, share_whole=0.0)
    assert view.whole
    assert view.pixels.shape == (48, 48, 3)
    assert np.unique(view.pixels.reshape(-1, 3), axis=0).tolist() == [[200, 100, 50]]


def test_share_whole_is_a_share(photos: list[Photo]) -> None:
    drawn = [v.whole for number in range(30) for v in views(photos, number=number, share_whole=0.7)]
    # 180 draws: standard deviation sqrt(.7 * .3 / 180) = .034, five of which are .17.
    assert sum(drawn) / len(drawn) == pytest.approx(0.7, abs=0.17)


# Preparing ahead


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (4, 9), (0, 2), (5, 5)])
def test_prefetched_gives_every_batch_in_order(start: int, stop: int) -> None:
    assert list(prefetched(lambda n: n * n, start, stop)) == [n * n for n in range(start, stop)]


def test_prefetched_stays_ahead_by_no_more_than_asked() -> None:
    made: list[int] = []
    third = threading.Event()

    def make(number: int) -> int:
        made.append(number)
        if number == 2:
            third.set()
        return number

    batches = prefetched(make, 0, 100, ahead=2)
    assert next(batches) == 0
    assert third.wait(10), "nothing was prepared in advance"  # batch 2 without anyone asking for batch 1
    time.sleep(0.05)
    assert made == [0, 1, 2]
    batches.close()  # type: ignore[attr-defined]


def test_prefetched_raises_where_the_broken_batch_stands() -> None:
    def make(number: int) -> int:
        if number == 3:
            raise DataError("shard 3 is broken")
        return number

    seen = []
    with pytest.raises(DataError, match="shard 3"):
        for batch in prefetched(make, 0, 10):
            seen.append(batch)
    assert seen == [0, 1, 2]
