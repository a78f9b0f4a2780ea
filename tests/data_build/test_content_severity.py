"""What a severity is worth in one picture: order, bounds, the arithmetic by hand, and any distortion at all."""

import math
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mllm_iqa.data_build.content_severity import (
    Correction,
    corrected_damage,
    pseudo_mos_of_picture,
    stored_correction,
    typical_damage,
)
from mllm_iqa.data_build.distortions import DQ495K, apply
from mllm_iqa.data_build.fr_metrics import METRICS, distances
from mllm_iqa.data_build.severity import human_sources, pseudo_mos, severity_table
from mllm_iqa.data_build.severity_map import damage, damage_of_mos, mos_of_damage

from mllm_iqa.errors import DataError

BLUR, JPEG = "blur.gaussian_blur", "compression.jpeg"
Textured = Callable[..., np.ndarray]
needs_piq = pytest.mark.skipif(
    find_spec("piq") is None, reason="needs piq: pip install --no-deps 'piq>=0.8,<0.9' (the Makefile does)"
)


# The correction, without pictures


def test_the_stored_correction_is_whole() -> None:
    stored = stored_correction()
    assert set(human_sources()) <= set(stored.typical)
    assert {term.metric for term in stored.terms} <= set(METRICS)
    assert all(term.weight > 0 and term.power > 0 for term in stored.terms)
    assert 0 < stored.slope <= 1
    assert 0 < stored.pair_factor < 2


@pytest.mark.parametrize("name", human_sources())
def test_a_typical_picture_is_worth_the_human_mean(name: str) -> None:
    stored = stored_correction()
    for severity in range(1, 6):
        z = corrected_damage([(name, severity)], stored.typical[name][severity - 1], stored)
        assert mos_of_damage(z) == pytest.approx(severity_table()[name][severity], abs=1e-9)


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(sorted(human_sources())),
    severities=st.tuples(st.floats(0.001, 5), st.floats(0.001, 5)),
    measured=st.tuples(st.floats(0, 6), st.floats(0, 6)),
)
def test_order_in_severity_is_kept_wherever_the_metrics_keep_it(
    name: str, severities: tuple[float, float], measured: tuple[float, float]
) -> None:
    (low, high), (less, more) = sorted(severities), sorted(measured)
    stored = stored_correction()
    mild, strong = (corrected_damage([(name, s)], z, stored) for s, z in ((low, less), (high, more)))
    assert 0 <= mild <= strong * (1 + 1e-9)


def test_the_correction_by_hand() -> None:
    # Gaussian blur at 2 has a human MOS of 1.87: z = -ln(.87 / 3.6). Typical there .5, this picture twice that.
    typical = {name: (0.25, 0.5, 1.0, 2.0, 4.0) for name in (BLUR, JPEG)}
    correction = Correction((), typical, 0.1, 0.8)
    z = corrected_damage([(BLUR, 2)], 1.0, correction)
    assert z == pytest.approx(-math.log(0.87 / 3.6) * 2**0.1)
    assert corrected_damage([(BLUR, 2)], 0.5, correction) == pytest.approx(-math.log(0.87 / 3.6))
    # Two: human damages add, and JPEG at 3 has 2.55; typical .8 (.5 + 1) = 1.2, of which 2.4 is twice.
    both = -math.log(0.87 / 3.6) - math.log(1.55 / 3.6)
    assert corrected_damage([(BLUR, 2), (JPEG, 3)], 2.4, correction) == pytest.approx(both * 2**0.1)
    # Severity 0 is no distortion.
    assert corrected_damage([(BLUR, 2), (JPEG, 0)], 1.0, correction) == pytest.approx(z)


def test_the_slope_gives_way_where_metrics_outgrow_people() -> None:
    # From 4 to 5 people's damage of a blur grows by the factor z(1.30) / z(1.49) = 1.24, the typical one by 8: with
    # slope 1 a picture whose measured damage stays the same from 4 to 5 would get much better.
    steep = Correction((), {BLUR: (0.1, 0.2, 0.4, 0.5, 4.0)}, 1.0, 1.0)
    same = corrected_damage([(BLUR, 4)], 0.5, steep)
    assert corrected_damage([(BLUR, 5)], 0.5, steep) == pytest.approx(same)
    z = damage_of_mos(np.array([1.49, 1.30]))
    slope = math.log(z[1] / z[0]) / math.log(8)
    assert corrected_damage([(BLUR, 5)], 2.0, steep) == pytest.approx(float(z[1]) * (2.0 / 4.0) ** slope)


def test_between_severities_typical_damage_follows_people() -> None:
    stored = stored_correction()
    ladder = [typical_damage(BLUR, s, stored) for s in (0.1, 0.5, 1, 1.5, 2, 5)]
    assert all(a < b for a, b in pairwise(ladder))
    assert ladder[2] == pytest.approx(stored.typical[BLUR][0])
    # Below 1 in proportion: human damage at .5 over that at 1.
    share = damage_of_mos(pseudo_mos([(BLUR, 0.5)])) / damage_of_mos(pseudo_mos([(BLUR, 1)]))
    assert ladder[1] == pytest.approx(ladder[2] * share)


@pytest.mark.parametrize("distortions", [[], [(BLUR, 0)], [("compression.webp", 3)], [("blur.jitter", 2), (BLUR, 2)]])
def test_without_a_human_row_the_metrics_decide(distortions: list[tuple[str, float]]) -> None:
    assert corrected_damage(distortions, 0.7, stored_correction()) == 0.7


def test_a_picture_that_does_not_change_is_not_worse() -> None:
    assert corrected_damage([("saturation.weaken_hsv", 3)], 0.0, stored_correction()) == 0


def test_no_slope_is_the_table() -> None:
    stored = replace(stored_correction(), slope=0.0)
    assert mos_of_damage(corrected_damage([(JPEG, 2.5)], 3.0, stored)) == pytest.approx(pseudo_mos([(JPEG, 2.5)]))


# Pictures


@needs_piq
def test_an_untouched_picture_keeps_its_mos(textured: Textured) -> None:
    image = textured(48, 64)
    assert pseudo_mos_of_picture([], image, image) == pytest.approx(4.6, abs=0.01)
    assert pseudo_mos_of_picture([(BLUR, 1)], image, image, clean_mos=3.8) == pytest.approx(3.8, abs=0.01)


@needs_piq
@pytest.mark.parametrize("name", [BLUR, JPEG, "noise.gaussian_noise", "exposure.darken_gamma_rgb", "blur.jitter"])
def test_a_picture_gets_worse_with_severity(textured: Textured, name: str) -> None:
    image = textured(80, 96)
    ladder = [
        pseudo_mos_of_picture([(name, s)], apply(name, image, s, np.random.default_rng(1)), image)
        for s in (0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
    ]
    assert all(a > b for a, b in pairwise(ladder)), ladder
    assert ladder[-1] >= 1 and ladder[0] <= 4.6
    if name in human_sources():
        assert ladder == pytest.approx([pseudo_mos([(name, s)]) for s in (0.5, 1, 2, 3, 4, 5)], abs=1.5)


@needs_piq
def test_blur_costs_more_where_there_is_detail(textured: Textured) -> None:
    detailed = textured(96, 96)
    plain = apply(BLUR, detailed, 5.0, np.random.default_rng(0))
    cost = [
        pseudo_mos_of_picture([(BLUR, 2)], apply(BLUR, image, 2.0, np.random.default_rng(0)), image)
        for image in (detailed, plain)
    ]
    assert cost[0] < cost[1] - 0.1


@needs_piq
def test_any_distortion_is_judged(textured: Textured) -> None:
    image = textured(64, 64)
    hazy = np.clip(image * 0.5 + 100, 0, 255).astype(np.uint8)
    stored = stored_correction()
    z = damage(distances(hazy, image, metrics=[t.metric for t in stored.terms]), stored.terms)
    assert pseudo_mos_of_picture([("haze", 2)], hazy, image) == pytest.approx(float(mos_of_damage(z)))
    # A worse original: 1 + 2.4 times the share of quality left.
    assert pseudo_mos_of_picture([("haze", 2)], hazy, image, clean_mos=3.4) == pytest.approx(1 + 2.4 * math.exp(-z))


@needs_piq
def test_the_result_is_a_function_of_its_arguments(textured: Textured) -> None:
    image = textured(40, 40)
    worse = apply(JPEG, image, 3.0, np.random.default_rng(0))
    assert pseudo_mos_of_picture([(JPEG, 3)], worse, image) == pseudo_mos_of_picture([(JPEG, 3)], worse, image)


@pytest.mark.parametrize("severity", [-0.1, 5.1, math.nan])
def test_a_severity_off_the_scale_is_refused_by_name(severity: float) -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    with pytest.raises(DataError, match=r"'haze' must lie in \[0, 5\]"):
        pseudo_mos_of_picture([("haze", severity)], image, image)


@pytest.mark.parametrize("mos", [0.9, 5.1, math.nan])
def test_a_clean_mos_off_the_scale_is_refused(mos: float) -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    with pytest.raises(DataError, match=r"clean_mos must lie in \[1, 5\]"):
        pseudo_mos_of_picture([], image, image, clean_mos=mos)


def test_rows_by_analogy_are_no_human_rows() -> None:
    without = {name for name in severity_table() if name not in human_sources()}
    assert without == {"blur.zoom_blur", "blur.glass_blur", "blur.jitter", "compression.jpeg2000"}
    assert set(human_sources()) < set(DQ495K)
