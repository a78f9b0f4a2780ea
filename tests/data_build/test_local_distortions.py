"""Damage to a part: the mask is what changed, regions are of the size asked for, and the seed decides."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from mllm_iqa.data_build.distortions import DISTORTIONS, apply
from mllm_iqa.data_build.distortions.local import LOCAL, SHARE, apply_local, region

Textured = Callable[..., np.ndarray]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("name", LOCAL)
def test_the_mask_is_what_changed(name: str, textured: Textured) -> None:
    image = cv2.GaussianBlur(textured(96, 128), (0, 0), 1.2)
    before = image.copy()
    result = apply_local(name, image, 4, rng(5))
    assert result.pixels.shape == image.shape
    assert result.pixels.dtype == np.uint8
    assert result.mask.shape == (96, 128)
    assert result.mask.dtype == np.bool_
    changed = (result.pixels != image).any(axis=-1)
    assert not (changed & ~result.mask).any(), "changed outside the mask"
    # Every pixel of the mask has changed ones on two sides, less than 25 px apart.
    near = cv2.dilate(changed.astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
    assert near[result.mask].all()
    assert 0 < result.mask.mean() < 0.6
    assert np.array_equal(image, before), "the input was modified"


@pytest.mark.parametrize("name", ["blur.lens_blur", "noise.impulse_noise", "lens.dirt"])
def test_the_seed_decides(name: str, textured: Textured) -> None:
    image = textured(64, 80)
    first, again, other = (apply_local(name, image, 3, rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.mask, again.mask)
    assert not np.array_equal(first.mask, other.mask)


def test_a_region_is_the_same_at_every_severity_and_for_every_distortion(textured: Textured) -> None:
    image = textured(96, 128)
    masks = [apply_local(n, image, s, rng(3)).mask for n, s in (("blur.jitter", 2), ("noise.gaussian_noise", 5))]
    # But for the faint rim, where a small change may round to none.
    assert (masks[0] != masks[1]).mean() < 0.05


def test_inside_the_damage_is_that_of_the_whole_picture(textured: Textured) -> None:
    image = textured(96, 128)
    result = apply_local("exposure.darken_shift_rgb", image, 3, rng(2))
    whole = apply("exposure.darken_shift_rgb", image, 3, rng(0))  # nothing random in it
    inside = cv2.erode(result.mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert inside.any()
    assert np.array_equal(result.pixels[inside], whole[inside])


def test_where_nothing_changes_the_mask_is_empty() -> None:
    grey = np.full((64, 64, 3), 90, np.uint8)
    result = apply_local("saturation.weaken_hsv", grey, 5, rng())
    assert not result.mask.any()
    assert np.array_equal(result.pixels, grey)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 128), (200, 40)])
def test_regions_have_the_share_asked_for(height: int, width: int) -> None:
    shares = []
    for seed in range(60):
        weight = region((height, width), rng(seed))
        assert weight.shape == (height, width)
        assert weight.dtype == np.float32
        assert (weight.min(), weight.max()) == (0, 1)
        shares.append(float((weight > 0.5).mean()))
    # A region of a small picture may miss its share by a ring of pixels.
    slack = 2 / min(height, width)
    assert SHARE[0] - slack <= min(shares)
    assert max(shares) <= SHARE[1] + slack
    assert np.std(shares) > 0.05  # they fill the range


def test_regions_are_of_one_piece_and_soft() -> None:
    touching = 0
    for seed in range(40):
        weight = region((96, 128), rng(seed))
        assert cv2.connectedComponents((weight > 0.5).astype(np.uint8))[0] == 2  # the outside, and one inside
        assert np.abs(np.diff(weight, axis=1)).max() < 0.8
        border = np.concatenate([weight[0], weight[-1], weight[:, 0], weight[:, -1]])
        touching += bool((border > 0.5).any())
    assert 5 < touching < 40  # bands reach the border, others need not


@pytest.mark.parametrize("name", sorted(set(DISTORTIONS) - set(LOCAL)))
def test_what_befalls_the_frame_has_no_local_version(name: str, textured: Textured) -> None:
    with pytest.raises(ValueError, match=rf"{name} befalls the whole frame.*blur\.gaussian_blur"):
        apply_local(name, textured(32, 32), 1, rng())


def test_an_unknown_name_is_refused(textured: Textured) -> None:
    with pytest.raises(ValueError, match=r"unknown distortion 'blur\.jiter'"):
        apply_local("blur.jiter", textured(32, 32), 1, rng())
