"""Synthetic training pictures: what is drawn how often, where regions come from, and that the labels fit."""

import hashlib
import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from mllm_iqa.data_build.crops import (
    SHARE_CLEAN,
    SHARE_COMPOSITE,
    Labelled,
    distort_region,
    distort_whole,
    draw_distortions,
    draw_region,
    draw_whole,
)
from mllm_iqa.data_build.distortions import DISTORTIONS, DQ495K, apply
from mllm_iqa.data_build.severity import CLEAN_MOS, pseudo_mos

from mllm_iqa.images import pad_to_multiple
from mllm_iqa.taxonomy import FAMILIES

Textured = Callable[..., np.ndarray]
DRAWS = 6000
# What happens to a picture, in order: light, then colour, then optics, then the sensor, then the file.
STAGES = (
    {"brighten", "darken", "contrast strengthen", "contrast weaken"},
    {"saturate strengthen", "saturate weaken"},
    {"blur"},
    {"noise"},
    {"compression"},
)


@pytest.fixture(scope="module")
def draws() -> list[tuple[tuple[str, float], ...]]:
    rng = np.random.default_rng(0)
    return [draw_distortions(rng) for _ in range(DRAWS)]


def stage(name: str) -> int:
    return next(i for i, families in enumerate(STAGES) if DISTORTIONS[name].family in families)


def five_sigma(share: float, draws: int) -> float:
    return 5 * math.sqrt(share * (1 - share) / draws)


def test_shares_of_clean_single_and_double(draws: list[tuple[tuple[str, float], ...]]) -> None:
    count = Counter(map(len, draws))
    assert set(count) == {0, 1, 2}
    assert count[0] / DRAWS == pytest.approx(SHARE_CLEAN, abs=five_sigma(SHARE_CLEAN, DRAWS))
    assert count[2] / DRAWS == pytest.approx(SHARE_COMPOSITE, abs=five_sigma(SHARE_COMPOSITE, DRAWS))


def test_each_word_for_a_severity_is_as_frequent_as_the_others(draws: list[tuple[tuple[str, float], ...]]) -> None:
    singles = [severity for drawn in draws if len(drawn) == 1 for _, severity in drawn]
    assert 0.6 <= min(singles) < 0.65
    assert max(singles) == 5.0
    for word in range(1, 6):
        # A step of 1 of the 4.9 drawn from, but for the first word: 0.6 to 1.5.
        share = (0.9 if word == 1 else 1.0) / 4.9
        found = sum(round(severity) == word for severity in singles) / len(singles)
        assert found == pytest.approx(share, abs=5 * math.sqrt(share * (1 - share) / len(singles)))


def test_severities_of_two_fill_their_range(draws: list[tuple[tuple[str, float], ...]]) -> None:
    severities = [severity for drawn in draws if len(drawn) == 2 for _, severity in drawn]
    assert 0.8 <= min(severities) < 0.85
    assert 4.45 < max(severities) <= 4.5
    # The mean of a uniform draw, within five standard errors (3.7 / sqrt 12 each).
    assert np.mean(severities) == pytest.approx(2.65, abs=5 * 3.7 / math.sqrt(12 * len(severities)))


def test_two_distortions_come_from_two_stages_in_order(draws: list[tuple[tuple[str, float], ...]]) -> None:
    pairs = [(stage(drawn[0][0]), stage(drawn[1][0])) for drawn in draws if len(drawn) == 2]
    assert all(first < second for first, second in pairs)
    assert len(set(pairs)) == 5 * 4 / 2  # every pair of stages occurs


def test_every_implementation_is_drawn(draws: list[tuple[tuple[str, float], ...]]) -> None:
    assert {name for drawn in draws for name, _ in drawn} == set(DQ495K)


def test_the_bank_of_the_shipped_model_is_drawn_as_it_was() -> None:
    # Taken when nano 8's bank was drawn: same seed, same bank.
    rng = np.random.default_rng(7)
    digest = hashlib.sha256()
    for _ in range(3000):
        digest.update(repr(draw_distortions(rng)).encode())
    digest.update(str(rng.integers(2**32)).encode())
    assert digest.hexdigest() == "756d30d520b072036181e7e6a5afcabcbf13c63f91ddfad2b268d89678c39e3e"


def test_families_are_drawn_evenly(draws: list[tuple[tuple[str, float], ...]]) -> None:
    singles = Counter(DISTORTIONS[drawn[0][0]].family for drawn in draws if len(drawn) == 1)
    total = singles.total()
    for family in FAMILIES:
        assert singles[family] / total == pytest.approx(1 / 12, abs=five_sigma(1 / 12, total)), family


def test_draws_depend_on_the_seed_alone() -> None:
    first, again, other = ([draw_distortions(np.random.default_rng(seed)) for _ in range(3)] for seed in (5, 5, 6))
    assert first == again
    assert first != other


def positions(height: int, width: int) -> np.ndarray:
    """A picture whose red and green say where each pixel came from."""
    y, x = np.mgrid[:height, :width].astype(np.uint8)
    return np.stack([y, x, np.zeros_like(x)], axis=-1)


def test_a_region_is_a_window_mirrored_or_reduced() -> None:
    image = positions(200, 240)
    rng = np.random.default_rng(1)
    native = mirrored = 0
    corners = set()
    for _ in range(300):
        region = draw_region(image, 64, rng)
        assert region.shape == (96, 96, 3)  # 64 and a margin of 16 on every side
        assert region.flags.c_contiguous
        upright = region if int(region[0, -1, 1]) > int(region[0, 0, 1]) else region[:, ::-1]
        top, left = int(upright[0, 0, 0]), int(upright[0, 0, 1])
        if np.array_equal(upright, image[top : top + 96, left : left + 96]):
            native += 1
            mirrored += upright is not region
            corners.add((top, left))
        else:
            # Reduced: it spans more of the photograph than its own 96 px, and at most twice as much.
            assert 95 <= int(upright[-1, 0, 0]) - top <= 2 * 96
    # 35 % are reduced, half of the rest mirrored; five standard deviations over 300.
    assert native / 300 == pytest.approx(0.65, abs=five_sigma(0.65, 300))
    assert mirrored / native == pytest.approx(0.5, abs=five_sigma(0.5, native))
    assert len(corners) > native / 2  # from all over


def test_a_region_of_a_small_photograph_has_what_margin_there_is() -> None:
    rng = np.random.default_rng(0)
    assert {draw_region(positions(80, 120), 64, rng).shape for _ in range(20)} == {(80, 80, 3)}
    assert {draw_region(positions(64, 64), 64, rng).shape for _ in range(20)} == {(64, 64, 3)}


@pytest.mark.parametrize(("height", "width"), [(321, 481), (352, 512), (600, 700)])
def test_a_whole_picture_is_padded_to_its_size(height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    sides = set()
    for _ in range(40):
        region = draw_whole(positions(height, width), (352, 512), rng)
        sides.add(region.shape[:2])
        assert 321 <= region.shape[0] <= min(352, height)
        assert 481 <= region.shape[1] <= min(512, width)
        assert distort_whole(region, (), rng).pixels.shape == (352, 512, 3)
    assert len(sides) == 1 if height == 321 else len(sides) > 20


def test_a_whole_picture_is_distorted_to_its_border_and_then_padded(textured: Textured) -> None:
    region = textured(70, 90)
    made = distort_whole(region, (("detail.pixelate", 5.0),), np.random.default_rng(0))
    alone = apply("detail.pixelate", region, 5.0, np.random.default_rng(0))
    assert np.array_equal(made.pixels[:70, :90], alone)
    # As a model's intake pads: the picture goes on mirrored.
    assert np.array_equal(made.pixels, pad_to_multiple(alone, 32))
    assert made.findings == (("pixelation", 5),)
    assert made.mos == pseudo_mos([("detail.pixelate", 5.0)])


def test_the_cut_lies_in_the_middle_on_the_grid_of_codecs() -> None:
    rng = np.random.default_rng(0)
    region = positions(96, 96)
    for _ in range(5):
        # Room 96 - 64 = 32, half of it 16, a multiple of 8 either way.
        assert np.array_equal(distort_region(region, 64, (), rng).pixels, region[16:80, 16:80])
    # Room 28, half of it 14: rounded down to 8 in 70 % of the draws, else left at 14.
    offsets = Counter(int(distort_region(positions(92, 92), 64, (), rng).pixels[0, 0, 0]) for _ in range(400))
    assert set(offsets) == {8, 14}
    assert offsets[8] / 400 == pytest.approx(0.7, abs=five_sigma(0.7, 400))


def test_distortions_are_applied_in_the_order_given(textured: Textured) -> None:
    region = textured(96, 96)
    before = region.copy()
    distortions = (("noise.gaussian_noise", 2.0), ("compression.jpeg", 3.5))
    crop = distort_region(region, 64, distortions, np.random.default_rng(9))
    rng = np.random.default_rng(9)
    by_hand = apply("compression.jpeg", apply("noise.gaussian_noise", region, 2.0, rng), 3.5, rng)
    assert np.array_equal(crop.pixels, by_hand[16:80, 16:80])
    assert crop.distortions == distortions
    assert crop.mos == pseudo_mos(distortions)
    assert np.array_equal(region, before)


def test_an_undistorted_crop_is_clean() -> None:
    crop = distort_region(positions(96, 96), 64, (), np.random.default_rng(0))
    assert crop.mos == CLEAN_MOS
    assert crop.findings == ()


def test_a_region_too_small_for_the_crop_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 64 px on each side, got 96x60"):
        distort_region(np.zeros((60, 96, 3), np.uint8), 64, (), np.random.default_rng(0))


def test_findings_name_kinds_most_harmful_first() -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    # Slight underexposure (4.3) does less harm than catastrophic JPEG (1.5), whatever the order of application.
    crop = Labelled(pixels, (("exposure.darken_gamma_rgb", 1.0), ("compression.jpeg", 5.0)), 1.4)
    assert crop.findings == (("JPEG compression", 5), ("underexposure", 1))
    crop = Labelled(pixels, (("blur.jitter", 4.0), ("compression.jpeg", 1.0)), 1.4)
    assert crop.findings == (("jitter", 4), ("JPEG compression", 1))


@pytest.mark.parametrize(("severity", "spoken"), [(0.3, 1), (0.6, 1), (1.4, 1), (1.6, 2), (3.4, 3), (4.6, 5), (5.0, 5)])
def test_findings_round_the_severity(severity: float, spoken: int) -> None:
    crop = Labelled(np.zeros((32, 32, 3), np.uint8), (("blur.jitter", severity),), 2.0)
    assert crop.findings == (("jitter", spoken),)
