import numpy as np
import pytest
from mllm_iqa.data_build.records.regions import ACROSS, DIAGONAL, DOWN, PARTS, describe_region


def masked(top: int, left: int, bottom: int, right: int, height: int = 90, width: int = 120) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize("row", range(3))
@pytest.mark.parametrize("column", range(3))
def test_each_ninth_has_its_name(row: int, column: int) -> None:
    region = describe_region(masked(30 * row, 40 * column, 30 * row + 30, 40 * column + 40))
    assert region.words == PARTS[row][column]
    # Thirds of the sides: 0, 333.3, 666.7, 1000.
    ends = [0, 333, 667, 1000]
    assert region.box == (ends[column], ends[row], ends[column + 1], ends[row + 1])


def test_one_pixel_has_a_box() -> None:
    # Column 60 of 120 and row 9 of 90: 500 to 61/120 = 508, 100 to 10/90 = 111.
    assert describe_region(masked(9, 60, 10, 61)) == ("top", (500, 100, 508, 111))


def test_what_reaches_from_border_to_border_is_a_band() -> None:
    for third in range(3):
        assert describe_region(masked(30 * third, 0, 30 * third + 30, 120)).words == ACROSS[third]
        assert describe_region(masked(0, 40 * third, 90, 40 * third + 40)).words == DOWN[third]
    slanted = np.abs(np.subtract.outer(np.arange(90), np.arange(90))) < 10
    assert describe_region(slanted).words == DIAGONAL


def test_mirroring_the_mask_mirrors_the_box() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((50, 40)) < 0.01
        mask[tuple(rng.integers(0, 40, 2))] = True
        left, top, right, bottom = describe_region(mask).box
        mirrored = describe_region(mask[:, ::-1]).box
        assert mirrored == (1000 - right, top, 1000 - left, bottom)


def test_no_region_and_no_mask_are_refused() -> None:
    with pytest.raises(ValueError, match="the mask is empty"):
        describe_region(np.zeros((4, 4), dtype=bool))
    with pytest.raises(ValueError, match=r"must be bool \(H, W\), got uint8 \(4, 4\)"):
        describe_region(np.zeros((4, 4), dtype=np.uint8))
