"""The distortions that DQ-495K lacks: what their parameters make of simple pictures, worked out by hand."""

import io
import math
from collections.abc import Callable

import numpy as np
import PIL.features
import PIL.Image
import pytest
from mllm_iqa.data_build.distortions import apply
from mllm_iqa.data_build.distortions.linear_light import from_linear, to_linear

from mllm_iqa.errors import MissingDependencyError

Textured = Callable[..., np.ndarray]


def run(name: str, image: np.ndarray, severity: float, seed: int = 0) -> np.ndarray:
    return apply(name, image, severity, np.random.default_rng(seed))


def flat(*color: int, height: int = 64, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), color, np.uint8)


def step(left: int, right: int, height: int = 64, width: int = 64) -> np.ndarray:
    image = flat(left, height=height, width=width)
    image[:, width // 2 :] = right
    return image


# Linear light


def test_linear_light_by_hand_and_back() -> None:
    tones = np.arange(256, dtype=np.uint8)
    # 10 / 255 = .0392 lies on the straight part: / 12.92 = .003035. 188 / 255 = .73725: ((.73725 + .055) / 1.055)^2.4
    # = .75095^2.4 = e^(2.4 * -.28642) = .50289.
    assert to_linear(tones)[[0, 10, 188, 255]].tolist() == pytest.approx([0, 0.003035, 0.50289, 1], abs=2e-5)
    assert np.array_equal(from_linear(to_linear(tones)), tones)
    assert from_linear(np.array([-1.0, 2.0])).tolist() == [0, 255]


# Compression


@pytest.mark.parametrize(("severity", "quality"), [(1, 85), (3, 55), (5, 30)])
def test_mild_jpeg_has_the_quality_it_says(severity: int, quality: int, textured: Textured) -> None:
    image = textured(96, 96)

    def away(quality: int) -> float:
        buffer = io.BytesIO()
        PIL.Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
        coded = np.array(PIL.Image.open(buffer)).astype(int)
        return float(np.abs(run("compression.jpeg_mild", image, severity) - coded).mean())

    assert min(range(quality - 3, quality + 4), key=away) == quality


def test_the_mild_band_ends_before_the_published_one_begins(textured: Textured) -> None:
    image = textured(96, 96)
    error = [
        np.abs(run(name, image, severity).astype(int) - image).mean()
        for name, severity in (("compression.jpeg_mild", 5), ("compression.jpeg", 1))
    ]
    assert error[0] < error[1]


@pytest.mark.parametrize("name", ["WEBP", "AVIF"])
def test_a_missing_codec_is_named_with_what_to_do(
    name: str, monkeypatch: pytest.MonkeyPatch, textured: Textured
) -> None:
    # A Pillow without the codec cannot be had here; what it says of itself decides.
    monkeypatch.setattr(PIL.features, "check", lambda feature: feature != name.lower())
    with pytest.raises(MissingDependencyError, match=rf"{name} compression needs .*pip install 'pillow>=11\.3'"):
        run(f"compression.{name.lower()}", textured(32, 32), 1)


# Banding


@pytest.mark.parametrize(("severity", "tone"), [(1, 8), (5, 32)])
def test_banding_steps_a_ramp(severity: int, tone: int) -> None:
    ramp = np.repeat(np.repeat(np.arange(256, dtype=np.uint8), 4)[None, :, None], 64, axis=0).repeat(3, axis=2)
    out = run("quantization.banding", ramp, severity)
    # A slope of a quarter of a tone per pixel is smooth: what is left are multiples of the step, 255 being the last.
    tones, counts = np.unique(out[:, 40:-40], return_counts=True)
    usual = tones[counts > counts.max() / 2]
    assert set(usual % tone) <= {0, 255 % tone}
    assert np.ptp(out.astype(int), axis=-1).max() == 0, "grey became colored"


def test_banding_keeps_texture() -> None:
    # Checks of 60 grey levels in one half vary by 30 about their mean, far more than a step of 8; the other half is a
    # ramp of 50 levels over 100 px.
    image = np.repeat(np.repeat(np.linspace(60, 110, 200), 1)[None, :, None], 64, axis=0).repeat(3, axis=2)
    y, x = np.mgrid[:64, :200]
    image[:, :100] += 60 * ((x + y) % 2)[:, :100, None]
    image = image.astype(np.uint8)
    out = run("quantization.banding", image, 1)
    assert np.array_equal(out[:, :90], image[:, :90])
    assert len(np.unique(out[:, 110:])) < len(np.unique(image[:, 110:])) / 2


# Low light


def raw_noise(grey: int, severity: float) -> np.ndarray:
    """Noise on a flat grey in linear light, and where it was clipped nothing is left of it."""
    return to_linear(run("sensor.low_light_noise", flat(grey, height=256, width=256), severity)) - to_linear(
        np.array(grey, np.uint8)
    )


def test_low_light_noise_has_the_spread_of_its_electrons() -> None:
    # 188 is .5029 linear. Severity 2: 600 electrons, so the variance of one raw value is (.5029 * 600 + 2^2) / 600^2
    # = 8.493e-4, its spread .02914. Green is known at half of the pixels and the mean of four neighbors at the others:
    # variance (1 + 1/4) / 2. Red is known at a quarter, the mean of two at half and of four at a quarter of them:
    # (1 + 2 * 1/2 + 1/4) / 4.
    noise = raw_noise(188, 2)
    expected = 0.02914 * np.sqrt([0.5625, 0.625, 0.5625])
    np.testing.assert_allclose(noise.std(axis=(0, 1)), expected, rtol=0.02)
    assert np.abs(noise.mean(axis=(0, 1))).max() < 2e-3


def test_low_light_noise_is_correlated_and_colored() -> None:
    noise = raw_noise(188, 2)
    for channel in range(3):
        sample = noise[..., channel]
        near = np.corrcoef(sample[:, :-1].ravel(), sample[:, 1:].ravel())[0, 1]
        far = np.corrcoef(sample[:, :-4].ravel(), sample[:, 4:].ravel())[0, 1]
        assert near > 0.3
        assert abs(far) < 0.03
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 2].ravel())[0, 1]) < 0.03


def test_low_light_noise_is_strongest_in_the_shadows() -> None:
    spread = [run("sensor.low_light_noise", flat(g, height=128, width=128), 3).std() for g in (30, 100, 200)]
    assert spread[0] > spread[1] > spread[2]


# Resampling


def test_bicubic_upscaling_is_that_of_pillow(textured: Textured) -> None:
    image = textured(96, 120)
    small = PIL.Image.fromarray(image).resize((40, 32), PIL.Image.Resampling.BICUBIC)
    assert np.array_equal(
        run("resampling.bicubic", image, 3), np.array(small.resize((120, 96), PIL.Image.Resampling.BICUBIC))
    )


@pytest.mark.parametrize(("severity", "tones"), [(1, 2), (3, 2), (5, 4)])
def test_an_upscaled_edge_is_a_ramp(severity: int, tones: int) -> None:
    # Bilinear enlargement interpolates between the centers of two areas, 2, 3, 4 px apart. With an even factor they
    # lie between pixels, so that as many pixels as the factor are on the way; with an odd one they lie on pixels.
    row = run("resampling.upscaled", step(0, 240, 48, 48), severity)[24, :, 0]
    between = (row > 0) & (row < 240)
    assert between.sum() == tones
    assert (np.diff(row.astype(int)) >= 0).all()


def test_upscaling_leaves_no_grid(textured: Textured) -> None:
    # Unlike pixelation, neighbors differ: no 4 x 4 square of one tone anywhere.
    out = run("resampling.upscaled", textured(96, 96), 5)
    assert (np.ptp(out.reshape(24, 4, 24, 4, 3), axis=(1, 3)) > 0).any(axis=-1).mean() > 0.99


# Ringing


@pytest.mark.parametrize(("severity", "cutoff"), [(1, 0.6), (3, 0.36), (5, 0.18)])
def test_ringing_ripples_with_the_cutoff(severity: int, cutoff: float) -> None:
    row = run("ringing.low_pass", step(100, 150, 64, 256), severity)[32, :, 0].astype(float)
    # Overshoot on the bright side beyond Gibbs' 9 % of the step (4.5 levels), undershoot on the dark one.
    assert row.max() - 150 > 4.5
    assert 100 - row.min() > 4.5
    # Ripples far from the edge have a period of 2 / cutoff px.
    tail = np.where((np.arange(256) > 140) & (np.arange(256) < 220), row - 150, 0)
    spectrum = np.abs(np.fft.rfft(tail - tail[141:220].mean() * (tail != 0)))
    assert 2 * spectrum[5:].argmax() + 10 == pytest.approx(256 * cutoff, rel=0.12)


def test_ringing_comes_not_from_the_other_border() -> None:
    image = flat(100, height=64, width=256)
    image[:, :40] = 200
    assert np.abs(run("ringing.low_pass", image, 1)[:, -40:].astype(int) - 100).max() <= 1


# Lens


def test_aberration_moves_red_out_and_blue_in_and_leaves_green() -> None:
    image = flat(0, height=201, width=201)
    for x in (40, 100, 160):
        image[:, x - 1 : x + 2] = 240
    out = run("lens.chromatic_aberration", image, 5)
    assert np.array_equal(out[..., 1], image[..., 1])
    center = [
        [float((out[100, w, c] * np.arange(201)[w]).sum() / out[100, w, c].sum()) for c in range(3)]
        for w in (slice(30, 51), slice(90, 111), slice(150, 171))
    ]
    # 60 px from the center 2.8 % are 1.68 px, out for red and in for blue; nothing moves in the center itself.
    np.testing.assert_allclose(center, [[38.32, 40, 41.68], [100, 100, 100], [161.68, 160, 158.32]], atol=0.1)


@pytest.mark.parametrize(("severity", "corner"), [(1, 0.55), (3, 0.2), (5, 0.04)])
def test_vignetting_leaves_its_share_in_the_corners(severity: int, corner: float) -> None:
    left = to_linear(run("lens.vignetting", flat(255, height=97, width=129), severity))[..., 0]
    for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        assert left[y, x] == pytest.approx(corner, rel=0.03)
    assert left[48, 64] == 1
    # cos^4: with t = 1 at the corner, 1 / (1 + (corner^-.5 - 1) r^2)^2; the right border is r^2 = 129^2/(129^2+97^2).
    r2 = 129**2 / (129**2 + 97**2)
    assert left[48, -1] == pytest.approx(1 / (1 + r2 * (corner**-0.5 - 1)) ** 2, rel=0.03)


def test_dirt_is_in_places_and_the_rest_is_untouched() -> None:
    clean = flat(180, height=240, width=320)
    for severity, least, most in ((1, 0.02, 0.25), (5, 0.1, 0.7)):
        changed = (run("lens.dirt", clean, severity, seed=3) != clean).any(axis=-1)
        assert least < changed.mean() < most
    out = run("lens.dirt", clean, 5, seed=3)
    # The darkest spot scatters .9 of its light, of which .4 come back: 1 - .9 * .6 = .46 of the linear 180 = .4564.
    assert to_linear(out).min() == pytest.approx(0.46 * 0.4564, rel=0.05)
    assert out.max() == 180


# Color, air


def test_color_cast_keeps_the_luminance_of_grey_and_takes_the_stops_it_says() -> None:
    directions = set()
    for seed in range(8):
        red, green, blue = to_linear(run("white_balance.color_cast", flat(120), 3, seed))[5, 5].astype(float)
        # Rounding to bytes moves each channel by up to half a level of 120, 1 %.
        assert 0.2126 * red + 0.7152 * green + 0.0722 * blue == pytest.approx(0.18782, rel=0.012)
        stops = math.log2(red / green), math.log2(blue / green)
        assert math.hypot(*stops) == pytest.approx(0.8, abs=0.06)
        directions.add(stops)
    assert len(directions) == 8


def test_haze_veils_the_top_most_and_black_more_than_white() -> None:
    black = to_linear(run("air.haze", flat(0, height=120, width=160), 3))
    assert black[:20].mean() > 1.5 * black[-20:].mean() > 0
    # Linear in the scene: white minus black is what is left of the contrast, t = exp(-.35 d), the same for all colors.
    white = to_linear(run("air.haze", flat(255, height=120, width=160), 3))
    left = white - black
    assert np.ptp(left, axis=-1).max() < 0.02
    depth = -np.log(left.mean(axis=-1)) / 0.35
    assert depth[:20].mean() == pytest.approx(0.95, abs=0.2)
    assert depth[-20:].mean() == pytest.approx(0.4, abs=0.2)
    # Seen through all of the air, everything is its light: between .6 * .94 and .8.
    assert 0.564 <= (black / (1 - left)).mean() <= 0.8


# Transmission


@pytest.mark.parametrize(("severity", "share"), [(1, 0.04), (3, 0.15), (5, 0.4)])
def test_damage_lies_on_the_grid_of_blocks(severity: int, share: float, textured: Textured) -> None:
    image = textured(256, 320)
    # What is not damaged has gone through 8-bit YCbCr and back: a level or two off.
    off = np.abs(run("transmission.displaced_blocks", image, severity).astype(int) - image).max(axis=-1) > 2
    blocks = off.reshape(16, 16, 20, 16).mean(axis=(1, 3))
    assert ((blocks == 0) | (blocks > 0.3)).all()
    # 16 rows of 5 packets: rounded to whole ones.
    assert (blocks > 0).mean() == pytest.approx(round(share * 80) / 80, abs=1e-9)


def test_rows_slip_as_wholes_and_lose_nothing(textured: Textured) -> None:
    image = textured(96, 200)
    slipped = 0
    for severity, reach in ((1, 6), (5, 32)):
        out = run("transmission.shifted_rows", image, severity)
        slips = []
        for before, after in zip(image, out, strict=True):
            by = next(s for s in range(-reach, reach + 1) if np.array_equal(np.roll(before, s, axis=0), after))
            slips.append(by)
        assert np.count_nonzero(slips) > slipped
        slipped = np.count_nonzero(slips)
    assert slipped > 96 / 3


# Smoothing


def test_oversmoothing_wipes_texture_and_keeps_edges() -> None:
    rng = np.random.default_rng(0)
    image = step(60, 200, 96, 96).astype(int) + rng.integers(-8, 9, (96, 96, 1))
    out = run("smoothing.oversmooth", image.astype(np.uint8), 3).astype(float)
    # Texture of .019 of full scale against a threshold of .075: a window of 9 x 9 leaves less than a quarter of it.
    assert out[10:-10, 10:35].std() < image[10:-10, 10:35].std() / 4
    # The edge of .55 of full scale keeps nine tenths of its height within two pixels.
    across = out[10:-10].mean(axis=(0, 2))
    assert across[49] - across[46] > 0.9 * 140
