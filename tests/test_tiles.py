"""Tiles cover a picture, blending keeps constants and places, and damage becomes boxes where it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mllm_iqa.errors import ConfigError
from mllm_iqa.regions import Region, family_probs, regions_of
from mllm_iqa.taxonomy import FAMILIES, KINDS
from mllm_iqa.tile_reading import TileReading
from mllm_iqa.tiles import Tile, blended, tiles_of
from mllm_iqa.types import ImageInfo


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(8, 64), st.data())
def test_tiles_cover_the_picture_and_are_of_one_size(height: int, width: int, side: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(4, side))
    tiles = tiles_of(height, width, side=side, stride=stride)
    seen = np.zeros((height, width), bool)
    for tile in tiles:
        assert tile.cut(seen).shape == (min(side, height), min(side, width))
        seen[tile.top : tile.bottom, tile.left : tile.right] = True
    assert seen.all()
    lefts = sorted({tile.left for tile in tiles})
    # Rounding to whole pixels may stretch one step by one.
    assert max(np.diff(lefts), default=0) <= stride + 1
    assert (lefts[0], lefts[-1] + min(side, width)) == (0, width)


@pytest.mark.parametrize("stride", [0, 33])
def test_tiles_with_gaps_are_refused(stride: int) -> None:
    with pytest.raises(ConfigError, match="between 1 and their side 32"):
        tiles_of(100, 100, side=32, stride=stride)


def test_a_constant_stays_itself_and_values_stay_between() -> None:
    tiles = tiles_of(90, 130, side=32, stride=16)
    assert np.allclose(blended(np.full(len(tiles), 2.5), tiles, height=90, width=130), 2.5)
    values = np.random.default_rng(0).uniform(size=(len(tiles), 3))
    out = blended(values, tiles, height=90, width=130)
    assert out.shape == (90, 130, 3) and out.dtype == np.float32
    assert (out >= values.min(0) - 1e-6).all() and (out <= values.max(0) + 1e-6).all()


def test_where_two_tiles_meet_each_weighs_by_its_window() -> None:
    tiles = (Tile(0, 0, 4, 1), Tile(2, 0, 6, 1))
    out = blended(np.array([0.0, 1.0]), tiles, height=1, width=6)[0]
    # Window of 4: 0.02 + 0.98 sin^2(pi (x + 1/2) / 4) = 0.1635, 0.8565, 0.8565, 0.1635.
    # Column 2: weights 0.8565 (first tile) and 0.1635 (second): 0.1635 / 1.02 = 0.1603; column 3 the other way round.
    assert out == pytest.approx([0, 0, 0.1603, 0.8397, 1, 1], abs=1e-4)


def test_an_unread_tile_counts_nowhere() -> None:
    tiles = (Tile(0, 0, 4, 4), Tile(2, 0, 6, 4), Tile(6, 0, 10, 4))
    out = blended(np.array([1.0, np.nan, np.nan]), tiles, height=4, width=10)
    assert (out[:, :4] == 1).all() and np.isnan(out[:, 4:]).all()


def reading(tiles: tuple[Tile, ...], inside: Tile, kind: str, severity: int, p: float = 0.9) -> TileReading:
    """Tiles whose middle lies in a part have a distortion, the others have none."""
    probs = np.zeros((len(tiles), 1 + len(KINDS)))
    severities = np.zeros(len(tiles), int)
    for i, t in enumerate(tiles):
        x, y = (t.left + t.right) / 2, (t.top + t.bottom) / 2
        hit = inside.left <= x < inside.right and inside.top <= y < inside.bottom
        probs[i, 1 + KINDS.index(kind)] = p if hit else 0.02
        severities[i] = severity if hit else 0
        probs[i, 0] = 1 - probs[i].sum()
    return TileReading(np.full(len(tiles), 3.0), probs, severities)


def boxes(read: TileReading, tiles: tuple[Tile, ...], image: ImageInfo) -> tuple[Region, ...]:
    damage = blended(1 - read.probs[:, 0], tiles, height=image.judged_height, width=image.judged_width)
    return regions_of(read, tiles, image, damage=damage)


def test_damage_in_one_part_becomes_one_box_there() -> None:
    tiles = tiles_of(192, 256, side=32, stride=16)
    image = ImageInfo("x", 512, 384, 256, 192)  # judged at half the size
    (found,) = boxes(reading(tiles, Tile(64, 32, 160, 128), "lens blur", 4), tiles, image)
    assert (found.kind, found.family, found.severity) == ("lens blur", "blur", 4)
    left, top, right, bottom = found.box  # in pixels of the picture, twice those of the map
    assert abs(left - 128) <= 32 and abs(top - 64) <= 32 and abs(right - 320) <= 32 and abs(bottom - 256) <= 32
    assert 0.5 < found.probability <= 0.9 and 0.1 < found.share < 0.3
    assert str(found).startswith("lens blur (serious, p=0.")
    assert found.to_dict()["box"] == [left, top, right, bottom]


def test_two_parts_and_two_families_stay_apart_and_the_worst_comes_first() -> None:
    tiles = tiles_of(192, 256, side=32, stride=16)
    image = ImageInfo("x", 256, 192, 256, 192)
    left = reading(tiles, Tile(0, 0, 70, 192), "lens blur", 2)
    right = reading(tiles, Tile(170, 0, 256, 192), "lens blur", 5)
    hit = (left.severities > 0)[:, None]
    both = TileReading(left.mos, np.where(hit, left.probs, right.probs), np.maximum(left.severities, right.severities))
    found = boxes(both, tiles, image)
    assert [r.severity for r in found] == [5, 2]
    assert found[0].box[0] > found[1].box[2]


def test_a_clean_picture_has_no_region_and_a_damaged_one_is_covered() -> None:
    tiles = tiles_of(96, 96, side=32, stride=16)
    image = ImageInfo("x", 96, 96, 96, 96)
    assert boxes(reading(tiles, Tile(0, 0, 0, 0), "lens blur", 3), tiles, image) == ()
    (found,) = boxes(reading(tiles, Tile(0, 0, 96, 96), "low contrast", 3), tiles, image)
    assert found.box == (0, 0, 96, 96) and found.share == 1


def test_kinds_sum_up_to_families() -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(1 + len(KINDS)), size=4)
    assert np.allclose(family_probs(probs).sum(1) + probs[:, 0], 1)
    assert family_probs(probs)[:, FAMILIES.index("blur")] == pytest.approx(
        probs[
            :,
            [
                1 + i
                for i, k in enumerate(KINDS)
                if k in ("gaussian blur", "lens blur", "motion blur", "zoom blur", "glass blur", "jitter")
            ],
        ].sum(1)
    )
