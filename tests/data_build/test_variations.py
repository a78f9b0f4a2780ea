"""Variations of the published damage: every kind has some, they are pure, drawn anew, and change as much as asked."""

from importlib.resources import files

import numpy as np
import pytest
from mllm_iqa.data_build.crops import distort_region, distort_whole
from mllm_iqa.data_build.distortions import DISTORTIONS, DQ495K, apply
from mllm_iqa.data_build.second_set import MAKERS
from mllm_iqa.data_build.variations import VARIATIONS, change, vary

from mllm_iqa.images import load_image
from mllm_iqa.taxonomy import KINDS

# How far the change may be from the published one's: cells and levels are whole numbers.
COARSE = {"pixelation": 0.6, "posterization": 0.6, "JPEG2000 compression": 0.2}


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    example = files("mllm_iqa") / "examples" / "coffee.jpg"
    return np.ascontiguousarray(load_image(str(example)).pixels[40:168, 60:220])


def test_every_kind_has_some_and_none_is_the_test_sets() -> None:
    assert sorted(VARIATIONS) == sorted(KINDS)
    code = {make for choices in VARIATIONS.values() for make, _, _ in choices}
    assert not code & {make for make, _, _ in MAKERS.values()}
    assert not any(make.__module__.startswith("mllm_iqa.data_build.second_set") for make in code)


@pytest.mark.parametrize("name", DQ495K)
def test_it_changes_the_picture_as_much_as_the_published_one(name: str, photo: np.ndarray) -> None:
    kind, before = DISTORTIONS[name].kind, photo.copy()
    for seed, severity in enumerate((1.5, 4.0)):
        out = vary(name, photo, severity, np.random.default_rng(seed))
        assert out.dtype == np.uint8 and out.shape == photo.shape
        np.testing.assert_array_equal(photo, before)
        np.testing.assert_array_equal(out, vary(name, photo, severity, np.random.default_rng(seed)))
        aimed = change(kind, photo, apply(name, photo, severity, np.random.default_rng(seed)))
        assert change(kind, photo, out) == pytest.approx(aimed, rel=COARSE.get(kind, 0.1), abs=0.3)


@pytest.mark.parametrize("kind", sorted(VARIATIONS))
def test_pictures_get_different_code(kind: str, photo: np.ndarray) -> None:
    name = next(name for name in DQ495K if DISTORTIONS[name].kind == kind)
    looks = {vary(name, photo, 3, np.random.default_rng(seed)).tobytes() for seed in range(8)}
    assert len(looks) > 3


@pytest.mark.parametrize("kind", sorted(VARIATIONS))
def test_the_smallest_picture_can_be_damaged(kind: str, photo: np.ndarray) -> None:
    name = next(name for name in DQ495K if DISTORTIONS[name].kind == kind)
    small = np.ascontiguousarray(photo[:32, :33])
    for seed in range(6):
        assert vary(name, small, 5, np.random.default_rng(seed)).shape == small.shape


def test_unknown_names_are_refused(photo: np.ndarray) -> None:
    with pytest.raises(ValueError, match="haze"):
        vary("air.haze", photo, 3, np.random.default_rng(0))
    with pytest.raises(ValueError, match="blurred"):
        vary("blurred", photo, 3, np.random.default_rng(0))


def test_a_share_of_the_training_pictures_is_varied(photo: np.ndarray) -> None:
    drawn = (("noise.impulse_noise", 3.0),)
    published = distort_whole(photo, drawn, np.random.default_rng(0))
    none = distort_whole(photo, drawn, np.random.default_rng(0), share_varied=0.0)
    every = distort_whole(photo, drawn, np.random.default_rng(0), share_varied=1.0)
    np.testing.assert_array_equal(published.pixels, none.pixels)
    assert not np.array_equal(published.pixels, every.pixels)
    assert published.findings == every.findings and published.mos == every.mos
    crop = distort_region(photo, 64, drawn, np.random.default_rng(0), share_varied=1.0)
    assert crop.pixels.shape == (64, 64, 3)
