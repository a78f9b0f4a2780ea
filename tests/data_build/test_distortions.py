"""Every distortion: what all of them promise, then what the published 35 make of simple pictures at their parameters.

What the others make of them stands in `test_further_distortions.py`.
"""

import io
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from mllm_iqa.data_build.distortions import DISTORTIONS, DQ495K, apply
from mllm_iqa.data_build.distortions.ladder import at, to_uint8, to_unit

import mllm_iqa
from mllm_iqa.images import load_image
from mllm_iqa.taxonomy import FAMILY_OF, FURTHER_KINDS, KINDS

Textured = Callable[..., np.ndarray]

EXAMPLE = Path(mllm_iqa.__file__).parent / "examples" / "coffee.jpg"
NAMES = tuple(DISTORTIONS)
RANDOM = {
    "blur.motion_blur",
    "blur.glass_blur",
    "blur.jitter",
    "noise.gaussian_noise",
    "noise.color_noise",
    "noise.speckle_noise",
    "noise.correlated_noise",
    "noise.poisson_noise",
    "noise.impulse_noise",
    "sensor.low_light_noise",
    "lens.dirt",
    "white_balance.color_cast",
    "air.haze",
    "transmission.displaced_blocks",
    "transmission.shifted_rows",
}


def run(name: str, image: np.ndarray, severity: float, seed: int = 0) -> np.ndarray:
    return apply(name, image, severity, np.random.default_rng(seed))


def flat(*color: int, height: int = 64, width: int = 64) -> np.ndarray:
    """One colour everywhere; one number = that grey."""
    return np.full((height, width, 3), color, np.uint8)


def halves(left: int, right: int, side: int = 64) -> np.ndarray:
    """Left half one grey, right half another."""
    image = flat(left, height=side, width=side)
    image[:, side // 2 :] = right
    return image


# What all of them promise


def test_the_table_is_the_taxonomy() -> None:
    assert len(DQ495K) == 35
    assert tuple(DISTORTIONS)[:35] == DQ495K
    assert {DISTORTIONS[name].kind for name in DQ495K} == set(KINDS)
    assert {d.kind for d in DISTORTIONS.values()} == {*KINDS, *FURTHER_KINDS}
    assert all(name == d.name and d.family == FAMILY_OF[d.kind] for name, d in DISTORTIONS.items())


@pytest.mark.parametrize(("severity", "spoken"), [(0.01, 1), (1.4, 1), (1.6, 2), (3, 3), (4.6, 5), (5, 5)])
def test_a_finding_has_the_rounded_severity(severity: float, spoken: int) -> None:
    for name, distortion in DISTORTIONS.items():
        # All of the mild band of JPEG lies below severity 1 of JPEG: quality 30 and up against 25.
        assert distortion.spoken(severity) == (1 if name == "compression.jpeg_mild" else spoken)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_and_nothing_else(name: str, textured: Textured) -> None:
    image = textured(48, 40)
    before = image.copy()
    first = run(name, image, 3)
    assert np.array_equal(first, run(name, image, 3))
    assert np.array_equal(first, run(name, image, 3, seed=1)) == (name not in RANDOM)
    assert np.array_equal(image, before), "the input was modified"


@pytest.mark.parametrize("name", NAMES)
def test_module_level_randomness_has_no_effect(name: str, textured: Textured) -> None:
    image = textured(40, 40)
    outputs = []
    for seed in (0, 1):
        np.random.seed(seed)
        cv2.setRNGSeed(seed)
        outputs.append(run(name, image, 4))
    assert np.array_equal(*outputs)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(32, 32), (33, 47), (160, 120)], ids=lambda s: f"{s[0]}x{s[1]}")
def test_shape_and_type_are_kept(name: str, size: tuple[int, int], textured: Textured) -> None:
    image = textured(*size)
    for severity in (0.01, 1, 2.5, 5):
        out = run(name, image, severity)
        assert out.shape == image.shape
        assert out.dtype == np.uint8
        assert out.flags.c_contiguous
    assert not np.array_equal(run(name, image, 5), image)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("grey", [0, 128, 255])
def test_a_flat_picture_is_no_special_case(name: str, grey: int) -> None:
    # No division by a spread or mean of zero (warnings are errors), and no colour out of nowhere.
    out = run(name, flat(grey), 5)
    assert out.shape == (64, 64, 3)
    if name not in RANDOM:
        # WebP at its lowest quality does not get black quite even; vignetting is uneven by design.
        uneven = {"compression.webp": 3, "lens.vignetting": 255}.get(name, 1)
        assert np.ptp(out.reshape(-1, 3), axis=0).max() <= uneven
        assert np.ptp(out.astype(int), axis=-1).max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_a_view_into_a_larger_picture_gives_the_same(name: str, textured: Textured) -> None:
    large = textured(64, 64)
    view = large[8:56, 50:9:-1]
    assert np.array_equal(run(name, view, 3), run(name, np.ascontiguousarray(view), 3))


@pytest.mark.parametrize("name", NAMES)
def test_more_severe_is_further_from_the_original(name: str, textured: Textured) -> None:
    # At the published severities, without exception. (Between them a rounded parameter may step back: pixelation
    # with a share that does not divide the picture, for one.)
    # Where all is texture there is nothing to band: half of what there is, then, which leaves smooth parts.
    image = textured(160, 120) if name != "quantization.banding" else cv2.GaussianBlur(textured(160, 120), (0, 0), 4)
    away = [float(np.abs(run(name, image, s, seed=7).astype(int) - image).mean()) for s in (1, 2, 3, 4, 5)]
    assert all(a < b for a, b in pairwise(away)), np.round(away, 2)
    assert away[0] > 0.5


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """The middle of a shipped example picture, 176 x 208."""
    pixels = load_image(EXAMPLE).pixels
    return np.ascontiguousarray(pixels[100:276, 160:368])


@pytest.mark.parametrize("name", NAMES)
def test_more_severe_is_further_from_a_photograph(name: str, photograph: np.ndarray) -> None:
    severities = (1, 2, 3, 4, 5) if name in DQ495K else (0.5, 1, 2, 3, 4, 5)
    away = [float(np.abs(run(name, photograph, s, seed=7).astype(int) - photograph).mean()) for s in severities]
    assert all(a < b for a, b in pairwise(away)), np.round(away, 2)


@pytest.mark.parametrize("name", ["blur.gaussian", "gaussian blur", "", "BLUR.JITTER"])
def test_an_unknown_name_is_refused_with_the_known_ones(name: str, textured: Textured) -> None:
    with pytest.raises(ValueError, match=r"unknown distortion .*blur\.gaussian_blur.*quantization\.equal_count"):
        run(name, textured(32, 32), 1)


@pytest.mark.parametrize("severity", [0, -1, 5.01, math.nan, math.inf])
def test_a_severity_off_the_scale_is_refused(severity: float, textured: Textured) -> None:
    with pytest.raises(ValueError, match=r"severity must lie in \(0, 5\]"):
        run("blur.jitter", textured(32, 32), severity)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((32, 32), np.uint8),
        np.zeros((32, 32, 1), np.uint8),
        np.zeros((32, 32, 4), np.uint8),
        np.zeros((32, 32, 3), np.float32),
        np.zeros((32, 32, 3), np.uint16),
        np.zeros((31, 64, 3), np.uint8),
        np.zeros((64, 31, 3), np.uint8),
    ],
    ids=lambda i: f"{i.dtype}-{i.shape}",
)
def test_another_type_or_shape_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="must be uint8") as caught:
        run("blur.jitter", image, 1)
    assert str(image.dtype) in str(caught.value)
    assert str(image.shape) in str(caught.value)


# The scale


def test_parameters_are_interpolated_between_severities() -> None:
    ladder = (0.0, 10.0, 20.0, 40.0, 80.0, 160.0)
    assert [at(s, ladder) for s in range(6)] == list(ladder)
    assert at(2.25, ladder) == 25.0  # a quarter of the way from 20 to 40
    assert at(4.5, ladder) == 120.0


def test_unit_and_bytes_round_trip() -> None:
    tones = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_uint8(to_unit(tones)), tones)
    # -1 and 2 are clipped; .2 * 255 = 51 exactly; .5 * 255 = 127.5 goes to the even 128.
    assert to_uint8(np.array([-1.0, 0.2, 0.5, 2.0])).tolist() == [0, 51, 128, 255]


# Blur


@pytest.mark.parametrize(("severity", "sigma"), [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (1.5, 1.5)])
def test_gaussian_blur_of_a_line_is_the_gaussian(severity: float, sigma: float) -> None:
    image = flat(0, height=65, width=65)
    image[:, 32] = 255
    row = run("blur.gaussian_blur", image, severity)[32, :, 0].astype(float)
    x = np.arange(65) - 32
    expected = 255 * np.exp(-0.5 * (x / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    # A grey level for rounding and the half of one: OpenCV cuts 8-bit kernels at 3 sigma and computes in fixed point.
    np.testing.assert_allclose(row, expected, atol=1.5)


def test_gaussian_blur_of_a_point_is_round() -> None:
    image = flat(0, height=65, width=65)
    image[32, 32] = 255
    out = run("blur.gaussian_blur", image, 1)[..., 1]
    # 255 / (2 pi) = 40.6 at the centre, times exp(-1/2) = 24.6 beside it, exp(-1) = 14.9 at the corner.
    for (dy, dx), grey in {(0, 0): 40.6, (0, 1): 24.6, (1, 0): 24.6, (1, 1): 14.9}.items():
        assert abs(float(out[32 + dy, 32 + dx]) - grey) <= 1.01
    assert np.array_equal(out, out.T)


def test_lens_blur_of_a_point_is_a_disk() -> None:
    image = flat(0, height=65, width=65)
    image[32, 32] = 255
    out = run("blur.lens_blur", image, 1)[..., 0].astype(int)
    # Radius 2: weight min(1, 2.5 - distance). 1 centre + 4 at distance 1 + 4 at sqrt 2 weigh 1 each, 4 at 2 weigh
    # .5, 8 at sqrt 5 weigh .264, those at sqrt 8 nothing: 9 + 2 + 2.111 = 13.111, so 255 / 13.111 = 19.4.
    assert out[32, 32] == out[31, 32] == out[31, 31] == 19
    assert out[32, 34] == 10  # 9.7
    assert out[31, 34] == 5  # 5.1
    assert out[30, 30] == out[32, 35] == 0


@pytest.mark.parametrize(("severity", "radius"), [(2, 3), (3, 4), (4, 6), (5, 8)])
def test_lens_blur_reaches_its_radius(severity: int, radius: int) -> None:
    image = flat(0, height=65, width=65)
    image[:, :32] = 255
    row = run("blur.lens_blur", image, severity)[32, :, 0]
    # An edge is softened up to the radius and no further: columns 31 and 31 + radius are radius apart.
    assert row[31 + radius] > 0
    assert row[32 + radius] == 0
    assert row[32 - radius - 1] == 255


def test_motion_blur_is_one_sided_and_of_its_length() -> None:
    image = flat(0, height=65, width=65)
    image[32, 32] = 255
    for severity, length in ((1, 5), (2, 10)):
        for seed in range(5):
            out = run("blur.motion_blur", image, severity, seed)[..., 0].astype(float)
            y, x = np.nonzero(out)
            distance = np.hypot(y - 32, x - 32)
            assert length - 1.5 < distance.max() < length + 1.5
            # The centre of mass of a one-sided streak lies well off the point it started from.
            mass = out[y, x] / out.sum()
            assert math.hypot((mass * (y - 32)).sum(), (mass * (x - 32)).sum()) > length / 4


def test_zoom_blur_keeps_the_centre_and_smears_along_the_radius() -> None:
    image = flat(0, height=65, width=65)
    image[32, 32] = 255
    image[32, 52] = 255
    out = run("blur.zoom_blur", image, 5)[..., 0]
    # A point 20 px from the centre is smeared to 20 * 1.21 = 24.2 px, outwards only and along its radius.
    assert out[32, 32] > 128
    y, x = np.nonzero(np.where(np.arange(65) > 42, out, 0) > 2)
    assert x.min() == 52
    assert x.max() in (56, 57)
    assert np.abs(y - 32).max() <= 1


@pytest.mark.parametrize(("name", "reach", "share"), [("blur.jitter", 3, 0.7), ("blur.glass_blur", 4, 0.2)])
def test_pixels_are_displaced_within_reach(name: str, reach: int, share: float) -> None:
    # On a ramp of one grey level per pixel the change in tone is the displacement. Severity 3: jitter shifts by up
    # to 3 px; glass shuffles twice by up to 2 px, and its second blur averages most of that away again.
    ramp = np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    moved = np.abs(run(name, ramp, 3).astype(int) - ramp)[:, 20:-20]
    assert moved.max() <= reach
    assert moved.max() >= reach - 2
    assert moved.any(axis=-1).mean() > share


# Noise, on a grey of 128 / 255 = .502, where nothing is clipped


def noise(name: str, severity: float) -> np.ndarray:
    """The noise on 256 x 256 mid-grey pixels, in units of full scale."""
    grey = flat(128, height=256, width=256)
    return (run(name, grey, severity).astype(float) - 128) / 255


@pytest.mark.parametrize(
    ("name", "severity", "std"),
    [
        ("noise.gaussian_noise", 1, 0.05),
        ("noise.gaussian_noise", 2, 0.10),
        ("noise.gaussian_noise", 1.5, 0.075),
        ("noise.speckle_noise", 1, 0.502 * 0.14),
        ("noise.speckle_noise", 3, 0.502 * 0.28),
        ("noise.correlated_noise", 1, 0.08),
        ("noise.correlated_noise", 2, 0.11),
        ("noise.poisson_noise", 1, math.sqrt(0.502 / 80)),  # variance of a Poisson count over peak^2
        ("noise.poisson_noise", 3, math.sqrt(0.502 / 40)),
    ],
)
def test_noise_has_the_published_spread(name: str, severity: float, std: float) -> None:
    sample = noise(name, severity)
    # 196,608 values (a ninth as many independent ones where correlated): the spread is known to under 1 %.
    assert sample.std() == pytest.approx(std, rel=0.015)
    assert abs(sample.mean()) < 0.002


def test_color_noise_is_stronger_in_chroma() -> None:
    grey = flat(128, height=256, width=256)
    ycc = cv2.cvtColor(run("noise.color_noise", grey, 2), cv2.COLOR_RGB2YCrCb).astype(float) / 255
    # Severity 2: luma .06, chroma .06 * 1.45 = .087.
    np.testing.assert_allclose(ycc.std(axis=(0, 1)), [0.06, 0.087, 0.087], rtol=0.03)


def test_only_correlated_noise_is_correlated() -> None:
    # A 3x3 box shares two of its three columns with the next pixel's: correlation 2/3, and none three pixels on.
    for name, expected in (("noise.correlated_noise", (2 / 3, 1 / 3, 0.0)), ("noise.gaussian_noise", (0.0, 0.0, 0.0))):
        sample = noise(name, 1)[..., 0]
        found = [np.corrcoef(sample[:, :-d].ravel(), sample[:, d:].ravel())[0, 1] for d in (1, 2, 3)]
        np.testing.assert_allclose(found, expected, atol=0.03)


@pytest.mark.parametrize(("severity", "share"), [(1, 0.01), (2, 0.03), (3, 0.05), (4, 0.07), (5, 0.10)])
def test_impulse_noise_hits_its_share(severity: int, share: float) -> None:
    out = run("noise.impulse_noise", flat(128, height=256, width=256), severity)
    assert set(np.unique(out)) == {0, 128, 255}
    # Half pepper, half salt: binomial over 196,608 values, so within 5 standard deviations.
    sigma = math.sqrt(share / 2 / out.size)
    assert (out == 0).mean() == pytest.approx(share / 2, abs=5 * sigma)
    assert (out == 255).mean() == pytest.approx(share / 2, abs=5 * sigma)


# Compression


@pytest.mark.parametrize(("severity", "quality"), [(1, 25), (3, 12), (5, 5)])
def test_jpeg_is_what_pillow_makes_of_it(severity: int, quality: int, textured: Textured) -> None:
    image = textured(96, 96)

    def pillow(quality: int) -> np.ndarray:
        buffer = io.BytesIO()
        PIL.Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
        return np.array(PIL.Image.open(buffer)).astype(int)

    away = {
        q: np.abs(run("compression.jpeg", image, severity) - pillow(q)).mean() for q in range(quality - 2, quality + 3)
    }
    # Two builds of libjpeg may round a coefficient differently here and there, no more.
    assert min(away, key=lambda q: away[q]) == quality
    assert away[quality] < 0.5


@pytest.mark.parametrize(("severity", "decibels"), [(1, 29), (2, 27.5), (3, 26), (4, 24.5), (5, 23)])
def test_jpeg2000_comes_close_to_its_target(severity: int, decibels: float, textured: Textured) -> None:
    image = textured(160, 160)
    error = ((run("compression.jpeg2000", image, severity).astype(float) - image) ** 2).mean()
    assert 10 * math.log10(255**2 / error) == pytest.approx(decibels, abs=1.0)


# Exposure, contrast, saturation: one tone or colour each, worked out by hand


@pytest.mark.parametrize(
    ("name", "severity", "grey"),
    [
        ("exposure.brighten_shift_rgb", 4, 169),  # 100 + .27 * 255 = 168.85
        ("exposure.darken_shift_rgb", 4, 31),  # 100 - 68.85 = 31.15
        ("exposure.brighten_shift_hsv", 2, 151),  # 100 + .2 * 255
        ("exposure.darken_shift_hsv", 1.5, 62),  # 100 - .15 * 255 = 61.75
        ("exposure.brighten_gamma_hsv", 1, 132),  # (100/255)^.7 = e^(-.93609 * .7) = .51931; * 255 = 132.4
        ("exposure.brighten_gamma_rgb", 5, 193),  # e^(-.93609 * .3) = .75516; * 255 = 192.6
        ("exposure.darken_gamma_hsv", 1, 63),  # e^(-.93609 * 1.5) = .24558; * 255 = 62.6
        ("exposure.darken_gamma_rgb", 1, 69),  # e^(-.93609 * 1.4) = .26968; * 255 = 68.8
    ],
)
def test_exposure_of_a_grey(name: str, severity: float, grey: int) -> None:
    assert np.unique(run(name, flat(100), severity)).tolist() == [grey]


@pytest.mark.parametrize(
    ("name", "rgb"),
    [
        # .2 * 255 = 51 on every channel, against +51 on the largest with the others in proportion (200 -> 251).
        ("exposure.brighten_shift_rgb", (251, 151, 101)),
        ("exposure.brighten_shift_hsv", (251, 126, 63)),
    ],
)
def test_shifting_rgb_washes_out_and_shifting_value_keeps_the_hue(name: str, rgb: tuple[int, int, int]) -> None:
    severity = {"exposure.brighten_shift_rgb": 3, "exposure.brighten_shift_hsv": 2}[name]
    np.testing.assert_allclose(run(name, flat(200, 100, 50), severity)[5, 5], rgb, atol=1)


@pytest.mark.parametrize(
    ("name", "severity", "dark", "light"),
    [
        ("contrast.strengthen_scale", 5, 25, 225),  # 125 -+ 25 * 4
        ("contrast.strengthen_scale", 2, 82, 168),  # 125 -+ 25 * 1.7 = 82.5, 167.5
        ("contrast.weaken_scale", 5, 120, 130),  # 125 -+ 25 * .2
        ("contrast.strengthen_stretch", 5, 25, 220),  # 255 / (1 + 1.25^10 = 9.3132) = 24.7; / (1 + .16151) = 219.5
        ("contrast.weaken_stretch", 5, 122, 132),  # 255 / (1 + 1.25^.4 = 1.09336) = 121.8; / (1 + .92967) = 132.1
    ],
)
def test_contrast_of_two_greys(name: str, severity: int, dark: int, light: int) -> None:
    out = run(name, halves(100, 150), severity)
    np.testing.assert_allclose([out[0, 0, 0], out[0, -1, 0]], [dark, light], atol=0.5001)
    assert len(np.unique(out)) == 2


@pytest.mark.parametrize(
    ("name", "severity", "before", "after"),
    [
        ("saturation.weaken_hsv", 5, (200, 100, 50), (200, 200, 200)),  # saturation 0 at the same value
        ("saturation.weaken_ycc", 5, (200, 100, 50), (124, 124, 124)),  # luma .299*200 + .587*100 + .114*50 = 124.2
        ("saturation.strengthen_hsv", 1, (200, 150, 150), (200, 50, 50)),  # saturation .25 * 3: 200 * (1 - .75)
        # luma .299*140 + .701*120 = 126.0; deviations from it doubled: 126 + 2 * 14 and 126 - 2 * 6
        ("saturation.strengthen_ycc", 1, (140, 120, 120), (154, 114, 114)),
        ("saturation.weaken_hsv", 3, (200, 100, 100), (200, 160, 160)),  # saturation .5 * .4 = .2
    ],
)
def test_saturation_of_a_color(
    name: str, severity: int, before: tuple[int, int, int], after: tuple[int, int, int]
) -> None:
    np.testing.assert_allclose(run(name, flat(*before), severity)[3, 3], after, atol=1)


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith("saturation.")])
def test_saturation_leaves_grey_alone(name: str) -> None:
    np.testing.assert_allclose(run(name, halves(60, 190), 5), halves(60, 190), atol=1)


# Detail


@pytest.mark.parametrize(("severity", "amount"), [(1, 2), (2, 2.8), (3, 4)])
def test_oversharpening_overshoots_at_an_edge(severity: int, amount: float) -> None:
    out = run("detail.oversharpen", halves(100, 140), severity)[32, :, 0].astype(float)
    # Blurred with sigma 1 the first pixel right of the edge keeps (1 + .3989) / 2 = .6995 of the step, so it lies
    # 40 * .3005 = 12.02 below its own side: that, times the amount, is the overshoot on either side.
    overshoot = 12.02 * amount
    np.testing.assert_allclose(out[31:33], [100 - overshoot, 140 + overshoot], atol=1)
    assert (out[5], out[-5]) == (100, 140)


@pytest.mark.parametrize(("severity", "block"), [(1, 2), (4, 4), (5, 5)])
def test_pixelation_makes_blocks_of_the_mean(severity: int, block: int, textured: Textured) -> None:
    image = textured(120, 160)
    out = run("detail.pixelate", image, severity)
    tiles = out.reshape(120 // block, block, 160 // block, block, 3)
    assert (np.ptp(tiles, axis=(1, 3)) == 0).all()
    means = image.reshape(tiles.shape).astype(float).mean(axis=(1, 3))
    np.testing.assert_allclose(tiles[:, 0, :, 0], means, atol=0.5001)


# Quantization


@pytest.mark.parametrize(
    ("name", "tones"),
    [("quantization.otsu", (15, 11, 8, 5, 3)), ("quantization.equal_count", (24, 16, 8, 6, 4))],
)
def test_tones_per_channel(name: str, tones: tuple[int, ...], textured: Textured) -> None:
    image = textured(128, 128)
    for severity, count in enumerate(tones, start=1):
        out = run(name, image, severity)
        assert [len(np.unique(out[..., c])) for c in range(3)] == [count] * 3


def test_colors_of_a_median_cut_palette(textured: Textured) -> None:
    image = textured(128, 128)
    for severity, count in enumerate((20, 15, 10, 6, 3), start=1):
        assert len(np.unique(run("quantization.median_cut", image, severity).reshape(-1, 3), axis=0)) == count


def test_otsu_finds_the_clusters() -> None:
    # Three pairs of tones, three levels: each pair goes to its mean.
    tones = np.array([10, 12, 100, 102, 200, 202], np.uint8)
    image = np.resize(tones, (36, 36))[..., None].repeat(3, axis=2)
    out = run("quantization.otsu", image, 5)
    assert {(int(a), int(b)) for a, b in zip(image[..., 0].flat, out[..., 0].flat, strict=True)} == {
        (10, 11),
        (12, 11),
        (100, 101),
        (102, 101),
        (200, 201),
        (202, 201),
    }


def test_otsu_is_the_best_of_all_cuts() -> None:
    # Every way of cutting eight tones in three, by brute force: none has a smaller squared error.
    rng = np.random.default_rng(3)
    tones = np.array([0, 3, 40, 41, 90, 160, 170, 255], np.uint8)
    image = rng.choice(tones, size=(40, 40), p=[0.3, 0.1, 0.1, 0.05, 0.05, 0.1, 0.1, 0.2])[..., None].repeat(3, axis=2)
    values = image[..., 0].ravel().astype(float)

    def error(first: int, second: int) -> float:
        parts = [values[values < first], values[(values >= first) & (values < second)], values[values >= second]]
        return sum(float(((p - p.mean()) ** 2).sum()) for p in parts)

    best = min(error(int(a), int(b)) for i, a in enumerate(tones[1:], 1) for b in tones[i + 1 :])
    out = run("quantization.otsu", image, 5)[..., 0].ravel()
    found = sum(float(((p - p.mean()) ** 2).sum()) for p in (values[out == tone] for tone in np.unique(out)))
    assert found == pytest.approx(best, rel=1e-9)


def test_equal_count_cuts_a_ramp_in_quarters() -> None:
    # Tones 0..255 equally often, four levels: 0..63 has mean 31.5, which rounds to the even 32, and so on.
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 32, axis=0).repeat(3, axis=2)
    out = run("quantization.equal_count", ramp, 5)
    assert out[0, ::64, 0].tolist() == [32, 96, 160, 224]
    assert np.unique(out, return_counts=True)[1].tolist() == [64 * 32 * 3] * 4
